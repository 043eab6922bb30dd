#include "storage/namespace/key_guess.h"

#include <gtest/gtest.h>

#include "base/keyed_random.h"

namespace atl::storage {
namespace {

TEST(KeyGuess, a_step_in_a_place_is_the_next_character_there) {
  EXPECT_EQ(key_ahead("many/013/000413", 7), "many/014");
  EXPECT_EQ(key_ahead("many/013/000413", 6), "many/02");
  EXPECT_EQ(key_ahead("many/093", 6), "many/0:");  // as far as "many/1", where all are numbers
  EXPECT_EQ(key_ahead("many", 4), std::nullopt);
  EXPECT_EQ(key_ahead("a~", 1), std::nullopt);
  EXPECT_EQ(key_ahead("\xc3\xa9", 1), std::nullopt);
}

TEST(KeyGuess, the_middle_is_that_of_digits_and_letters) {
  EXPECT_EQ(key_between("many/2", "many/8", 7), "many/5");
  EXPECT_EQ(key_between("many/a", "many/z", 7), "many/n");
  EXPECT_EQ(key_between("many/", "many/8", 7), "many/4");
  EXPECT_EQ(key_between("a#", "a'", 7), "a%");
}

TEST(KeyGuess, where_nothing_lies_between_the_next_place_tells) {
  EXPECT_EQ(key_between("many/013/000", "many/1", 7), "many/06");
  EXPECT_EQ(key_between("many/093/000", "many/1", 7), "many/097");
  EXPECT_EQ(key_between("many/0c", "many/1", 7), "many/0o");
  EXPECT_EQ(key_between("many/0-c", "many/1", 7), "many/0-o");
}

TEST(KeyGuess, is_no_longer_than_a_page_reaches) {
  EXPECT_EQ(key_between("many/013/000", "many/014", 7), std::nullopt);
  EXPECT_EQ(key_between("many/013/000", "many/014", 9), "many/013/5");
  EXPECT_EQ(key_between("many/099/999", "many/1", 7), std::nullopt);
  EXPECT_EQ(key_between("a", "a", 7), std::nullopt);
  EXPECT_EQ(key_between("a", "a\xff", 7), "aV");
  EXPECT_EQ(key_between("az", "a\xff", 7), "a|");
}

// Whatever the bytes: strictly between, and something that a LIST can begin behind.
TEST(KeyGuess, lies_between_whatever_the_keys_are) {
  KeyedRandom random({5});
  int guesses = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string keys[2];
    for (std::string& key : keys) {
      const uint64_t size = random.below(6);
      const uint64_t alphabet = i % 2 == 0 ? 256 : 3;
      for (uint64_t k = 0; k < size; ++k) key += static_cast<char>('0' + random.below(alphabet));
    }
    if (keys[0] == keys[1]) continue;
    if (keys[0] > keys[1]) keys[0].swap(keys[1]);
    const size_t place = random.below(6);
    if (const auto between = key_between(keys[0], keys[1], place)) {
      ++guesses;
      EXPECT_GT(*between, keys[0]);
      EXPECT_LT(*between, keys[1]);
      EXPECT_LE(between->size(), place + 1);
      EXPECT_LT(static_cast<unsigned char>(between->back()), 0x7f);
    }
    if (const auto ahead = key_ahead(keys[0], place)) {
      EXPECT_GT(*ahead, keys[0]);
    }
  }
  EXPECT_GT(guesses, 1000);
}

}  // namespace
}  // namespace atl::storage
