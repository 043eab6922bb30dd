// When a request that failed is tried again.
//
// Full jitter (M. Brooker, "Exponential backoff and jitter", AWS architecture blog): the n-th wait is drawn
// evenly from [0, min(max_delay, first_delay * 2^n)], so that clients that failed together do not come back
// together.
//
// One budget for all requests of a client: a bucket of tokens that fills by the clock. A further try takes
// one and waits until it is there. So any number of readers of a dead endpoint ask it no oftener than the
// budget fills, and all go on once it is back.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace atl::storage {

struct RetryOptions {
  std::chrono::milliseconds first_delay{100};
  std::chrono::milliseconds max_delay{5000};
  // After so long no further try is begun; one that is under way may end.
  std::chrono::milliseconds deadline{120'000};
  double budget = 200;  // tries at once
  double budget_per_second = 20;
  // A server that has never answered is given up after so many tries: its name is probably mistyped.
  int tries_at_first = 4;
};

// Thread safe.
class Retries {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Retries(RetryOptions options, uint64_t seed);

  const RetryOptions& options() const { return options_; }
  // How long to wait before the try that follows `failures` failed ones, at least 1.
  std::chrono::milliseconds delay(int failures, Clock::time_point now);

 private:
  std::chrono::milliseconds turn(Clock::time_point now);  // mutex_ held

  const RetryOptions options_;
  std::mutex mutex_;
  uint64_t random_state_;
  double tokens_;  // negative: so many tries are waiting for theirs
  Clock::time_point filled_at_;
};

}  // namespace atl::storage
