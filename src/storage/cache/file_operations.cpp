#include "storage/cache/file_operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

namespace atl::storage {

int FileOperations::open(int directory, const std::string& name, int flags) {
  return ::openat(directory, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
}

int FileOperations::make_directory(int directory, const std::string& name) {
  return ::mkdirat(directory, name.c_str(), 0700);
}

int FileOperations::status(int fd, struct stat* status) { return ::fstat(fd, status); }

int FileOperations::status_at(int directory, const std::string& name, struct stat* status) {
  return ::fstatat(directory, name.c_str(), status, AT_SYMLINK_NOFOLLOW);
}

ssize_t FileOperations::read(int fd, const struct iovec* parts, int count, uint64_t offset) {
  return ::preadv(fd, parts, count, static_cast<off_t>(offset));
}

ssize_t FileOperations::write(int fd, const struct iovec* parts, int count, uint64_t offset) {
  return ::pwritev(fd, parts, count, static_cast<off_t>(offset));
}

int FileOperations::close(int fd) { return ::close(fd); }

int FileOperations::rename(int from_directory,
                           const std::string& from,
                           int to_directory,
                           const std::string& to) {
  return ::renameat(from_directory, from.c_str(), to_directory, to.c_str());
}

int FileOperations::link(int from_directory,
                         const std::string& from,
                         int to_directory,
                         const std::string& to) {
  return ::linkat(from_directory, from.c_str(), to_directory, to.c_str(), 0);
}

int FileOperations::remove(int directory, const std::string& name) {
  return ::unlinkat(directory, name.c_str(), 0);
}

int FileOperations::file_system(int fd, struct statvfs* status) { return ::fstatvfs(fd, status); }

}  // namespace atl::storage
