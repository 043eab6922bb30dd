#include "storage/s3/retry.h"

#include <gtest/gtest.h>

#include <set>

namespace atl::storage {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Retries, waits_are_drawn_from_the_whole_of_a_doubling_range) {
  RetryOptions options;
  options.first_delay = milliseconds(100);
  options.max_delay = milliseconds(350);
  options.budget = 1e9;
  Retries retries(options, 1);
  const auto now = Retries::Clock::now();
  for (const auto& [failures, most] :
       {std::pair(1, 100), std::pair(2, 200), std::pair(3, 350), std::pair(500, 350)}) {
    milliseconds least_seen{1'000'000};
    milliseconds most_seen{0};
    for (int i = 0; i < 2000; ++i) {
      const milliseconds wait = retries.delay(failures, now);
      least_seen = std::min(least_seen, wait);
      most_seen = std::max(most_seen, wait);
    }
    EXPECT_LE(most_seen.count(), most);
    EXPECT_GT(most_seen.count(), most * 95 / 100);
    EXPECT_LT(least_seen.count(), most * 5 / 100);
  }
}

TEST(Retries, a_dead_endpoint_is_asked_no_oftener_than_the_budget_fills) {
  RetryOptions options;
  options.first_delay = milliseconds(0);
  options.max_delay = milliseconds(0);
  options.budget = 10;
  options.budget_per_second = 5;
  Retries retries(options, 1);
  const auto now = Retries::Clock::now() + seconds(1);
  int within_two_seconds = 0;
  for (int i = 0; i < 1000; ++i) {
    if (retries.delay(1, now) <= seconds(2)) ++within_two_seconds;
  }
  EXPECT_EQ(within_two_seconds, 10 + 2 * 5);
}

TEST(Retries, the_budget_comes_back_with_time_and_not_beyond_its_size) {
  RetryOptions options;
  options.first_delay = milliseconds(0);
  options.max_delay = milliseconds(0);
  options.budget = 3;
  options.budget_per_second = 1;
  Retries retries(options, 1);
  auto now = Retries::Clock::now() + seconds(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(retries.delay(1, now).count(), 0);
  EXPECT_EQ(retries.delay(1, now).count(), 1000);
  now += std::chrono::hours(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(retries.delay(1, now).count(), 0);
  EXPECT_EQ(retries.delay(1, now).count(), 1000);
}

}  // namespace
}  // namespace atl::storage
