#include "storage/s3/retry.h"

#include <algorithm>

namespace atl::storage {

namespace {

// splitmix64 (S. Vigna).
uint64_t next_random(uint64_t& state) {
  uint64_t x = state += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Retries::Retries(RetryOptions options, uint64_t seed)
    : options_(options), random_state_(seed), tokens_(options.budget), filled_at_(Clock::now()) {}

std::chrono::milliseconds Retries::delay(int failures, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  // 2^20 times the first delay is beyond every sensible maximum.
  const int doublings = std::clamp(failures - 1, 0, 20);
  const int64_t most =
      std::min<int64_t>(options_.max_delay.count(), options_.first_delay.count() << doublings);
  const auto jitter = std::chrono::milliseconds(
      next_random(random_state_) % static_cast<uint64_t>(std::max<int64_t>(most, 0) + 1));
  return std::max(jitter, turn(now));
}

std::chrono::milliseconds Retries::turn(Clock::time_point now) {
  if (now > filled_at_) {
    const double seconds = std::chrono::duration<double>(now - filled_at_).count();
    tokens_ = std::min(options_.budget, tokens_ + seconds * options_.budget_per_second);
    filled_at_ = now;
  }
  tokens_ -= 1;
  if (tokens_ >= 0) return std::chrono::milliseconds(0);
  return std::chrono::ceil<std::chrono::milliseconds>(
      std::chrono::duration<double>(-tokens_ / options_.budget_per_second));
}

}  // namespace atl::storage
