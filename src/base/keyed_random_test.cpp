#include "base/keyed_random.h"

#include <gtest/gtest.h>

#include <set>

namespace atl {
namespace {

// The first outputs of SplitMix64 seeded with 0, as published with the algorithm.
TEST(KeyedRandom, mix64_matches_the_published_sequence) {
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ULL), 0x6e789e6aa1b965f4ULL);
}

TEST(KeyedRandom, the_same_key_gives_the_same_numbers_and_another_gives_others) {
  KeyedRandom first({1, 2, 3});
  KeyedRandom again({1, 2, 3});
  KeyedRandom swapped({2, 1, 3});
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = first.next();
    EXPECT_EQ(value, again.next());
    EXPECT_NE(value, swapped.next());
  }
}

TEST(KeyedRandom, uniform_fills_its_interval_evenly) {
  std::vector<int> histogram(10);
  double sum = 0;
  for (uint64_t image = 0; image < 10000; ++image) {
    const double value = KeyedRandom({7, image}).uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++histogram[static_cast<size_t>(value * 10)];
    sum += value;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
  for (const int count : histogram) EXPECT_NEAR(count, 1000, 150);
}

TEST(KeyedRandom, below_reaches_every_value_and_never_the_bound) {
  std::set<uint64_t> seen;
  KeyedRandom random(5);
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(7));
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(KeyedRandom, normal_has_mean_zero_and_variance_one) {
  KeyedRandom random(11);
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < 20000; ++i) {
    const double value = random.normal();
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 20000, 0, 0.03);
  EXPECT_NEAR(squares / 20000, 1, 0.05);
}

}  // namespace
}  // namespace atl
