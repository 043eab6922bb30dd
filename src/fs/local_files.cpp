#include "fs/local_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace atl::fs {
namespace {

tl::unexpected<FsError> failed(std::string_view what, const std::string& where) {
  const int number = errno;
  return fail_fs(number, fmt::format("{} {}: {}", what, where, std::strerror(number)));
}

}  // namespace

OpenLocalFile::~OpenLocalFile() {
  if (!apart_.empty()) ::unlink(apart_.c_str());
}

std::string LocalFiles::path_of(InodeNumber inode) const {
  return fmt::format("{}/{:016x}", directory_, inode);
}

FsResult<LocalFile> LocalFiles::open_file(const std::string& path, int flags) const {
  constexpr mode_t kOwnerOnly = 0600;
  if (const int number = fault("open")) return fail_fs(number, "open " + path);
  UniqueFd fd(::open(path.c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, kOwnerOnly));
  if (!fd) return failed("opening", path);
  return std::make_shared<const OpenLocalFile>(std::move(fd));
}

FsResult<LocalFile> LocalFiles::create(InodeNumber inode) const {
  // Another file, not that one cut: a handle may still have that.
  const std::string path = path_of(inode);
  ::unlink(path.c_str());
  return open_file(path, O_CREAT | O_EXCL);
}

FsResult<LocalFile> LocalFiles::open(InodeNumber inode) const {
  return open_file(path_of(inode), 0);
}

// tidy() removes what a crash leaves of these.
FsResult<LocalFile> LocalFiles::make_temporary(bool nameless) const {
  std::string path = directory_ + "/XXXXXX";
  if (const int number = fault("open")) return fail_fs(number, "open " + path);
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return failed("making a file in", directory_);
  if (nameless) {
    ::unlink(path.c_str());
    path.clear();
  }
  return std::make_shared<const OpenLocalFile>(std::move(fd), std::move(path));
}

FsResult<LocalFile> LocalFiles::create_nameless() const { return make_temporary(true); }

FsResult<LocalFile> LocalFiles::create_apart() const { return make_temporary(false); }

FsResult<void> LocalFiles::place(const LocalFile& file, InodeNumber inode) const {
  if (!file->apart_.empty()) {
    const std::string path = path_of(inode);
    if (const int number = fault("rename")) return fail_fs(number, "rename to " + path);
    if (::rename(file->apart_.c_str(), path.c_str()) != 0) return failed("renaming to", path);
    file->apart_.clear();
    file->place_unsynced_ = true;
  }
  if (!file->place_unsynced_) return {};
  if (const int number = fault("fsync")) return fail_fs(number, "fsync of " + directory_);
  const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some network file systems cannot sync a directory and say so with EINVAL; they need it not.
  if (!directory || (::fsync(directory.get()) != 0 && errno != EINVAL)) {
    return failed("syncing", directory_);
  }
  file->place_unsynced_ = false;
  return {};
}

uint64_t LocalFiles::remove(InodeNumber inode) const {
  const std::string path = path_of(inode);
  struct stat status {};
  const bool there = ::lstat(path.c_str(), &status) == 0;
  // One that stays is removed at the next start.
  if (!there || fault("unlink") != 0 || ::unlink(path.c_str()) != 0) return 0;
  constexpr uint64_t kBytesPerBlock = 512;  // whatever the file system's own are
  return static_cast<uint64_t>(status.st_blocks) * kBytesPerBlock;
}

FsResult<void> LocalFiles::tidy(const std::function<bool(InodeNumber)>& keep) const {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> entries(::opendir(directory_.c_str()));
  if (!entries) return failed("reading", directory_);
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    InodeNumber inode = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), inode, 16);
    const bool ours = error == std::errc() && end == name.data() + name.size() && name.size() == 16;
    if (!ours || !keep(inode)) ::unlink(fmt::format("{}/{}", directory_, name).c_str());
  }
  return {};
}

FsResult<uint64_t> LocalFiles::size(const LocalFile& file) const {
  if (const int number = fault("fstat")) return fail_fs(number, "fstat in " + directory_);
  struct stat status {};
  if (::fstat(file->get(), &status) != 0) return failed("looking at a file in", directory_);
  return static_cast<uint64_t>(status.st_size);
}

FsResult<uint64_t> LocalFiles::read(const LocalFile& file,
                                    uint64_t offset,
                                    std::span<std::byte> into) const {
  if (const int number = fault("pread")) return fail_fs(number, "pread in " + directory_);
  uint64_t got = 0;
  while (got < into.size()) {
    const ssize_t n = ::pread(
        file->get(), into.data() + got, into.size() - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("reading in", directory_);
    if (n == 0) break;
    got += static_cast<uint64_t>(n);
  }
  return got;
}

FsResult<uint64_t> LocalFiles::write(const LocalFile& file,
                                     uint64_t offset,
                                     std::span<const std::byte> bytes) const {
  if (const int number = fault("pwrite")) return fail_fs(number, "pwrite in " + directory_);
  uint64_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(
        file->get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && done > 0) break;
    if (n < 0) return failed("writing in", directory_);
    done += static_cast<uint64_t>(n);
  }
  return done;
}

FsResult<void> LocalFiles::set_size(const LocalFile& file, uint64_t size_bytes) const {
  if (const int number = fault("ftruncate")) return fail_fs(number, "ftruncate in " + directory_);
  if (::ftruncate(file->get(), static_cast<off_t>(size_bytes)) != 0) {
    return failed("setting a size in", directory_);
  }
  return {};
}

FsResult<void> LocalFiles::sync(const LocalFile& file) const {
  if (const int number = fault("fdatasync")) return fail_fs(number, "fdatasync in " + directory_);
  if (::fdatasync(file->get()) != 0) return failed("syncing a file in", directory_);
  return {};
}

}  // namespace atl::fs
