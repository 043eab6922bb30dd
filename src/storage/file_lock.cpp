#include "storage/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/rest.h"
#include "storage/file_bytes.h"
#include "storage/local_store.h"

namespace atl::storage {
namespace {

// A person sees no difference, and a processor no work.
constexpr std::chrono::milliseconds kLockInterval{20};

// Whether the path still leads to the open file: whoever held the lock has removed it.
bool is_at(const std::string& path, int fd) {
  struct stat open_file;
  struct stat file;
  return ::fstat(fd, &open_file) == 0 && ::stat(path.c_str(), &file) == 0 &&
         open_file.st_dev == file.st_dev && open_file.st_ino == file.st_ino;
}

}  // namespace

Result<FileLock> FileLock::take(const std::string& path,
                                const std::stop_token& stop,
                                const std::function<void()>& on_wait) {
  if (const size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0) {
    ATOLL_TRY(make_directories(path.substr(0, slash)));
  }
  bool waited = false;
  for (;;) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!fd) return fail_on("opening", path);
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) return fail_on("locking", path);
      if (!waited && on_wait) on_wait();
      waited = true;
      if (!rest(kLockInterval, stop)) return fail(ErrorCode::kCancelled, "stopped");
    }
    if (is_at(path, fd.get())) return FileLock(path, std::move(fd));
  }
}

FileLock::~FileLock() {
  // Still locked, so that nobody who takes a new file of this name is robbed of it.
  if (fd_) ::unlink(path_.c_str());
}

}  // namespace atl::storage
