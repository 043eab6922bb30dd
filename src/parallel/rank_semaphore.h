// For tests: how one forked rank waits for another (parallel/forked_ranks.h).
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "base/unique_fd.h"

namespace atl::parallel {

// To be made before the ranks are.
class RankSemaphore {
 public:
  RankSemaphore() : fd_(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC)) {
    if (!fd_) std::abort();
  }
  void release() const {
    const uint64_t one = 1;
    if (::write(fd_.get(), &one, sizeof one) != sizeof one) std::abort();
  }
  void acquire() const {
    uint64_t one = 0;
    while (::read(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }

 private:
  UniqueFd fd_;
};

}  // namespace atl::parallel
