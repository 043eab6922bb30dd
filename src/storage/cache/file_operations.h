// The system calls of the cache, behind a seam, so that tests can let any one of them fail. As in POSIX:
// -1 and errno. Names are relative to an open directory; nothing follows a symbolic link, and opening
// does not wait for the other end of a pipe.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <string>

namespace atl::storage {

// Thread safe.
class FileOperations {
 public:
  virtual ~FileOperations() = default;
  virtual int open(int directory, const std::string& name, int flags);  // files are made 0600
  virtual int make_directory(int directory, const std::string& name);   // 0700
  virtual int status(int fd, struct stat* status);
  virtual int status_at(int directory, const std::string& name, struct stat* status);
  virtual ssize_t read(int fd, const struct iovec* parts, int count, uint64_t offset);
  // Whether the kernel holds all of the file's first bytes in its page cache.
  virtual bool is_in_page_cache(int fd, uint64_t bytes);
  // Reads pass the page cache by from here on (O_DIRECT): whole pages into whole pages. Not every file system can.
  virtual int set_direct(int fd, bool direct);
  virtual ssize_t write(int fd, const struct iovec* parts, int count, uint64_t offset);
  virtual int close(int fd);  // of files that were written to: here some file systems report
  virtual int rename(int from_directory,
                     const std::string& from,
                     int to_directory,
                     const std::string& to);
  virtual int link(int from_directory,
                   const std::string& from,
                   int to_directory,
                   const std::string& to);
  virtual int remove(int directory, const std::string& name);
  virtual int file_system(int fd, struct statvfs* status);
};

}  // namespace atl::storage
