// The signals of a launcher as a descriptor.
#pragma once

#include <signal.h>

#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace atl::job {

// Blocks them in this thread; its end gives them their old meaning again.
class LaunchSignals {
 public:
  static Result<LaunchSignals> start();
  LaunchSignals(LaunchSignals&& other) noexcept;
  LaunchSignals& operator=(LaunchSignals&&) = delete;
  ~LaunchSignals();

  int fd() const { return fd_.get(); }
  std::optional<int> next();                             // the number; nullopt: none waits
  const sigset_t& mask_before() const { return mask_; }  // for the ranks

 private:
  LaunchSignals() = default;

  UniqueFd fd_;
  sigset_t mask_{};
  struct sigaction pipe_ {};
  struct sigaction child_ {};
};

}  // namespace atl::job
