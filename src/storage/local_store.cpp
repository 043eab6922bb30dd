#include "storage/local_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/unique_fd.h"
#include "storage/directory_listing.h"
#include "storage/file_bytes.h"
#include "storage/key.h"

namespace atl::storage {
namespace {

// From here on a file is mapped. Reading 1 MiB from the page cache takes 40 us and mapping it 2, so
// weights and annotations are mapped; images stay below, where both are cheap (64 KiB: 2 us each)
// and where a file that somebody truncates under us gives an error instead of SIGBUS.
constexpr uint64_t kMapFromBytes = 1 << 20;

// A put() that still writes touches its temporary file all the time; one this old is dead.
constexpr time_t kLeftoverAge_s = 600;

// No such object: for the system's other ways of saying so, too ("a/b" where "a" is a file).
tl::unexpected<Error> fail_open(std::string_view what, const std::string& path) {
  if (errno == ENOTDIR) errno = ENOENT;
  return fail_on(what, path);
}

tl::unexpected<Error> not_an_object(std::string_view what, const std::string& path, mode_t mode) {
  if (S_ISDIR(mode)) {
    return fail(ErrorCode::kNotFound, fmt::format("{} {}: it is a directory", what, path));
  }
  return fail(ErrorCode::kIo, fmt::format("{} {}: it is not a regular file", what, path));
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

struct OpenFile {
  UniqueFd fd;
  struct stat status;
};

Result<OpenFile> open_object(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_open("reading", path);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return fail_on("reading", path);
  if (!S_ISREG(status.st_mode)) return not_an_object("reading", path, status.st_mode);
  return OpenFile{std::move(fd), status};
}

Result<Blob> read_bytes(int fd, uint64_t offset, uint64_t size_bytes, const std::string& path) {
  const std::shared_ptr<std::byte[]> buffer(new std::byte[size_bytes]);  // not zeroed first
  uint64_t got = 0;
  while (got < size_bytes) {
    const ssize_t n =
        ::pread(fd, buffer.get() + got, size_bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_on("reading", path);
    if (n == 0) {
      return fail(ErrorCode::kIo,
                  fmt::format("reading {}: it became shorter meanwhile", path),
                  "something else writes to it; run it again when that is done");
    }
    got += static_cast<uint64_t>(n);
  }
  return Blob(buffer, std::span<const std::byte>(buffer.get(), size_bytes));
}

Result<void> sync_directory(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_on("syncing", directory);
  // Some network file systems cannot sync a directory and say so with EINVAL; they need it not.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return fail_on("syncing", directory);
  return {};
}

// A file of put() on its way; removed again unless it has been renamed.
class TemporaryFile {
 public:
  static Result<TemporaryFile> create(const std::string& directory) {
    static std::atomic<uint64_t> counter = 0;
    for (;;) {
      auto path = fmt::format("{}/{}{}-{}", directory, kTemporaryPrefix, ::getpid(), ++counter);
      UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (!fd && errno == EEXIST) continue;  // left by an older process with our number
      if (!fd) return fail_on("writing into", directory);
      // Tells remove_leftovers_once() that we live; where a file system has no locks, age decides.
      ::flock(fd.get(), LOCK_EX | LOCK_NB);
      return TemporaryFile(std::move(path), std::move(fd));
    }
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  int fd() const { return fd_.get(); }
  Result<void> rename_to(const std::string& target) {
    if (::fsync(fd_.get()) != 0) return fail_on("syncing", target);
    if (::rename(path_.c_str(), target.c_str()) != 0) return fail_on("writing", target);
    path_.clear();
    return {};
  }

 private:
  TemporaryFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

}  // namespace

Result<void> make_directories(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0777) == 0) return sync_directory(parent_of(directory));
  if (errno == ENOENT) {
    ATOLL_TRY(make_directories(parent_of(directory)));
    if (::mkdir(directory.c_str(), 0777) == 0) return sync_directory(parent_of(directory));
  }
  const int error_number = errno;
  struct stat status;
  if (::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  return fail_errno("making the directory " + directory,
                    error_number == EEXIST ? ENOTDIR : error_number);
}

LocalStore::LocalStore(std::string root) : root_(std::move(root)) {
  while (root_.size() > 1 && root_.ends_with('/')) root_.pop_back();
}

std::string LocalStore::path_of(std::string_view key) const {
  return fmt::format("{}{}{}", root_, root_ == "/" ? "" : "/", key);
}

Result<ObjectInfo> LocalStore::head(std::string_view key) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return fail_open("looking at", path);
  if (!S_ISREG(status.st_mode)) return not_an_object("looking at", path, status.st_mode);
  return file_info(std::string(key), status);
}

Result<Blob> LocalStore::get(std::string_view key) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  const auto file = ATOLL_TRY(open_object(path));
  const auto size_bytes = static_cast<uint64_t>(file.status.st_size);
  if (size_bytes >= kMapFromBytes) return map_file(file.fd.get(), size_bytes, path);
  return read_bytes(file.fd.get(), 0, size_bytes, path);
}

Result<Blob> LocalStore::get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  const auto file = ATOLL_TRY(open_object(path));
  const auto end = static_cast<uint64_t>(file.status.st_size);
  offset = std::min(offset, end);
  return read_bytes(file.fd.get(), offset, std::min(size_bytes, end - offset), path);
}

Result<void> LocalStore::put(std::string_view key,
                             std::span<const std::span<const std::byte>> parts) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  const std::string directory = parent_of(path);
  ATOLL_TRY_CONTEXT(make_directories(directory), "writing " + path);
  remove_leftovers_once(directory);
  auto file = ATOLL_TRY_CONTEXT(TemporaryFile::create(directory), "writing " + path);
  for (const auto part : parts) ATOLL_TRY(write_all(file.fd(), part, path));
  ATOLL_TRY(file.rename_to(path));
  return sync_directory(directory);
}

Result<void> LocalStore::append(std::string_view key, std::span<const std::byte> bytes) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  ATOLL_TRY_CONTEXT(make_directories(parent_of(path)), "writing " + path);
  const std::lock_guard lock(append_mutex_);
  const UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666));
  if (!fd) return fail_on("writing", path);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return fail_on("writing", path);
  if (!S_ISREG(status.st_mode)) return not_an_object("writing", path, status.st_mode);
  auto written = write_all(fd.get(), bytes, path);
  // On a full disk a part may have been written; the next line must not be glued to it.
  if (!written && ::ftruncate(fd.get(), status.st_size) != 0) {
    return fail_on("taking back what was half written to", path);
  }
  appended_.emplace(key);
  return written;
}

Result<void> LocalStore::flush() {
  std::set<std::string> keys;
  {
    const std::lock_guard lock(append_mutex_);
    keys.swap(appended_);
  }
  while (!keys.empty()) {
    const std::string path = path_of(*keys.begin());
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    const bool gone = !fd && errno == ENOENT;
    Result<void> synced;
    if (!gone && (!fd || ::fsync(fd.get()) != 0)) synced = fail_on("syncing", path);
    if (!gone && synced) synced = sync_directory(parent_of(path));
    if (!synced) {
      const std::lock_guard lock(append_mutex_);
      appended_.merge(keys);
      return synced;
    }
    keys.erase(keys.begin());
  }
  return {};
}

Result<void> LocalStore::list(std::string_view prefix,
                              const std::function<bool(const ObjectInfo&)>& visit) {
  ATOLL_TRY_CONTEXT(check_prefix(prefix), root_);
  return list_directory(root_, prefix, visit);
}

Result<void> LocalStore::remove(std::string_view key) {
  ATOLL_TRY_CONTEXT(check_key(key), root_);
  const std::string path = path_of(key);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  struct stat status;
  if (errno == EISDIR || (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))) return {};
  return fail_on("removing", path);
}

Result<Claim> LocalStore::claim() { return claim_directory(root_, ::flock); }

// A lock on the directory itself leaves no file behind, and the system takes it back from whoever
// dies.
Result<Claim> claim_directory(const std::string& directory,
                              const std::function<int(int, int)>& lock) {
  auto fd =
      std::make_shared<UniqueFd>(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!*fd) return fail_open("opening", directory);
  int locked = 0;
  do {
    locked = lock(fd->get(), LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked == 0) return Claim{std::move(fd), {}};
  if (errno == EWOULDBLOCK) {
    return fail(ErrorCode::kInvalidInput,
                directory + ": another run is writing there",
                "wait for it or stop it, or choose another directory");
  }
  // NFS makes a lock on a file's bytes of it, which a directory has not: EBADF. Others have none.
  return Claim{nullptr,
               fmt::format("{} cannot be locked ({}): see to it that no second run writes there",
                           directory,
                           std::strerror(errno))};
}

void LocalStore::remove_leftovers_once(const std::string& directory) {
  {
    const std::lock_guard lock(cleaned_mutex_);
    if (!cleaned_.insert(directory).second) return;
  }
  const Directory entries(::opendir(directory.c_str()));
  if (!entries) return;  // tidying is no reason to fail
  while (const dirent* entry = ::readdir(entries.get())) {
    if (!std::string_view(entry->d_name).starts_with(kTemporaryPrefix)) continue;
    const std::string path = fmt::format("{}/{}", directory, entry->d_name);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat status;
    if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    const bool old = std::time(nullptr) - status.st_mtim.tv_sec > kLeftoverAge_s;
    if (old && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
}

}  // namespace atl::storage
