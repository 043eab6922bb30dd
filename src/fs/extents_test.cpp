#include "fs/extents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/keyed_random.h"

namespace atl::fs {
namespace {

TEST(Extents, ranges_that_touch_become_one) {
  Extents extents;
  extents.add({0, 5});
  extents.add({10, 12});
  extents.add({5, 10});
  EXPECT_TRUE(extents.covers({0, 12}));
  EXPECT_FALSE(extents.covers({0, 13}));
  EXPECT_EQ(extents.bytes(), 12U);
  extents.clip(11);
  EXPECT_FALSE(extents.covers({0, 12}));
  EXPECT_TRUE(extents.covers({3, 11}));
  extents.clip(0);
  EXPECT_TRUE(extents.empty());
}

TEST(Extents, they_agree_with_a_plain_array_of_bytes) {
  constexpr uint64_t kSize = 64;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Extents extents;
    std::vector<bool> plain(kSize);
    for (uint64_t i = 0; i < 60; ++i) {
      const uint64_t begin = hash_key({seed, i, 0}) % kSize;
      const uint64_t end = begin + hash_key({seed, i, 1}) % (kSize - begin + 1);
      if (hash_key({seed, i, 2}) % 8 == 0) {
        extents.clip(begin);
        for (uint64_t at = begin; at < kSize; ++at) plain[at] = false;
      } else {
        extents.add({begin, end});
        for (uint64_t at = begin; at < end; ++at) plain[at] = true;
      }
      std::vector<bool> found(kSize);
      uint64_t expected = 0;
      for (const auto& [range, present] : extents.pieces({0, kSize})) {
        ASSERT_EQ(range.begin, expected);
        ASSERT_LT(range.begin, range.end);
        expected = range.end;
        for (uint64_t at = range.begin; at < range.end; ++at) found[at] = present;
      }
      ASSERT_EQ(expected, kSize);
      ASSERT_EQ(found, plain);
      ASSERT_EQ(Extents::parse(extents.text()), extents);
    }
  }
}

TEST(Extents, text_that_is_not_theirs_is_refused) {
  EXPECT_FALSE(Extents::parse("short"));
  EXPECT_FALSE(Extents::parse(std::string(16, '\0')));  // an empty range
  Extents one;
  one.add({1, 2});
  EXPECT_FALSE(Extents::parse(one.text() + one.text()));  // out of order
}

}  // namespace
}  // namespace atl::fs
