#include "storage/cache/file_operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace atl::storage {
namespace {

constexpr uint64_t kPageBytes = 4096;

}  // namespace

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

bool FileOperations::is_in_page_cache(int fd, uint64_t bytes) {
  // A map that nobody looks into, so that a file that is cut short meanwhile does no harm.
  void* const address = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return false;
  std::vector<unsigned char> pages((bytes + kPageBytes - 1) / kPageBytes);
  const bool known = ::mincore(address, bytes, pages.data()) == 0;
  ::munmap(address, bytes);
  return known && std::ranges::all_of(pages, [](unsigned char page) { return (page & 1) != 0; });
}

int FileOperations::set_direct(int fd, bool direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  return ::fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
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
