// File operations that fail on request, for tests: the n-th call, every call of a kind, or all from some
// call on.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <mutex>

#include "storage/cache/file_operations.h"

namespace atl::storage {

// Thread safe.
class FaultyFiles : public FileOperations {
 public:
  enum class Call {
    kOpen,
    kMake,
    kStatus,
    kRead,
    kDirect,
    kWrite,
    kClose,
    kRename,
    kLink,
    kRemove,
    kSystem
  };
  // Given each call and how many there were before; an errno that it returns is the call's, 0: none.
  using Fault = std::function<int(Call call, uint64_t before)>;

  void set_fault(Fault fault) {
    const std::lock_guard lock(mutex_);
    fault_ = std::move(fault);
    calls_ = 0;
  }
  uint64_t calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  // What file_system() tells, in bytes free; 0: the truth.
  std::atomic<uint64_t> free_bytes{0};

  int open(int directory, const std::string& name, int flags) override {
    return fails(Call::kOpen) ? -1 : FileOperations::open(directory, name, flags);
  }
  int make_directory(int directory, const std::string& name) override {
    return fails(Call::kMake) ? -1 : FileOperations::make_directory(directory, name);
  }
  int status(int fd, struct stat* status) override {
    return fails(Call::kStatus) ? -1 : FileOperations::status(fd, status);
  }
  int status_at(int directory, const std::string& name, struct stat* status) override {
    return fails(Call::kStatus) ? -1 : FileOperations::status_at(directory, name, status);
  }
  ssize_t read(int fd, const struct iovec* parts, int count, uint64_t offset) override {
    return fails(Call::kRead) ? -1 : FileOperations::read(fd, parts, count, offset);
  }
  bool is_in_page_cache(int fd, uint64_t bytes) override {
    return !fails(Call::kDirect) && FileOperations::is_in_page_cache(fd, bytes);
  }
  int set_direct(int fd, bool direct) override {
    return fails(Call::kDirect) ? -1 : FileOperations::set_direct(fd, direct);
  }
  ssize_t write(int fd, const struct iovec* parts, int count, uint64_t offset) override {
    if (!fails(Call::kWrite)) return FileOperations::write(fd, parts, count, offset);
    // As a full disk does it: half of the first part gets through.
    const int error = errno;
    const iovec half{parts->iov_base, parts->iov_len / 2};
    FileOperations::write(fd, &half, 1, offset);
    errno = error;
    return -1;
  }
  int close(int fd) override {
    const bool failed = fails(Call::kClose);
    const int error = errno;
    const int result = FileOperations::close(fd);
    if (!failed) return result;
    errno = error;
    return -1;
  }
  int rename(int from_directory,
             const std::string& from,
             int to_directory,
             const std::string& to) override {
    return fails(Call::kRename) ? -1
                                : FileOperations::rename(from_directory, from, to_directory, to);
  }
  int link(int from_directory,
           const std::string& from,
           int to_directory,
           const std::string& to) override {
    return fails(Call::kLink) ? -1 : FileOperations::link(from_directory, from, to_directory, to);
  }
  int remove(int directory, const std::string& name) override {
    return fails(Call::kRemove) ? -1 : FileOperations::remove(directory, name);
  }
  int file_system(int fd, struct statvfs* status) override {
    if (fails(Call::kSystem)) return -1;
    const int result = FileOperations::file_system(fd, status);
    if (free_bytes > 0) status->f_bavail = free_bytes / status->f_frsize;
    return result;
  }

 private:
  bool fails(Call call) {
    const std::lock_guard lock(mutex_);
    const uint64_t before = calls_++;
    const int error = fault_ ? fault_(call, before) : 0;
    if (error == 0) return false;
    errno = error;
    return true;
  }

  mutable std::mutex mutex_;
  Fault fault_;
  uint64_t calls_ = 0;
};

}  // namespace atl::storage
