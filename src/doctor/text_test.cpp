#include "doctor/text.h"

#include <gmock/gmock.h>

namespace atl::doctor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Text, lines_and_words_are_divided) {
  EXPECT_THAT(lines_of("a b\n\nc"), ElementsAre("a b", "", "c"));
  EXPECT_THAT(lines_of(""), IsEmpty());
  EXPECT_THAT(words_of(" a\t b  "), ElementsAre("a", "b"));
  EXPECT_THAT(words_of(" \t"), IsEmpty());
}

TEST(Text, a_field_is_found_by_its_whole_name) {
  const std::string_view text =
      "MemTotalX: 1\nMemTotal:\t 24 kB \nflags\t\t: fpu avx\nMemTotal: 3\n";
  EXPECT_EQ(field_of(text, "MemTotal"), "24 kB");
  EXPECT_EQ(field_of(text, "flags"), "fpu avx");
  EXPECT_EQ(field_of(text, "Mem"), "");
}

TEST(Text, a_number_is_nothing_but_digits) {
  EXPECT_EQ(number_of("42"), 42u);
  for (const char* text : {"", " 42", "42 ", "-1", "+1", "4x", "99999999999999999999"}) {
    EXPECT_FALSE(number_of(text)) << text;
  }
}

}  // namespace
}  // namespace atl::doctor
