// What the files of the table of use share: the places as they lie in memory and in the file, and its lock.
#pragma once

#include <sys/file.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

#include "storage/cache/usage_table.h"

namespace atl::storage {

inline constexpr uint64_t kPageBytes = 4096;

inline bool lock_file(int fd, int how) {
  while (::flock(fd, how) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

struct UsageTable::Slot {
  std::atomic<uint64_t> id;  // 0: free
  std::atomic<uint64_t> value;
};

struct UsageTable::Shared {
  uint64_t magic;
  uint64_t slots;
  uint32_t unit_shift;  // the clock's bytes to units of age
  uint32_t capacity;    // in such units
  std::atomic<uint64_t> in_order;
  std::atomic<uint64_t> used_pages;
  std::atomic<uint64_t> clock_bytes;
  std::atomic<uint64_t> halved_at_bytes;
  std::atomic<uint64_t> draws;
  std::atomic<uint64_t> recounted_at_ms;
  ReuseCounts reuse;
};

class UsageTable::Lock {
 public:
  explicit Lock(UsageTable& table) : hold_(table.mutex_), fd_(table.lock_.get()) {
    if (fd_ >= 0) lock_file(fd_, LOCK_EX);
  }
  ~Lock() {
    if (fd_ >= 0) lock_file(fd_, LOCK_UN);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::lock_guard<std::mutex> hold_;
  int fd_;
};

}  // namespace atl::storage
