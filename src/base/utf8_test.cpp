#include "base/utf8.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace atl {
namespace {

std::string encode(uint32_t code) {
  const auto tail = [&](unsigned shift) {
    return static_cast<char>(0x80U | (code >> shift & 0x3fU));
  };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xc0U | code >> 6U), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xe0U | code >> 12U), tail(6), tail(0)};
  return {static_cast<char>(0xf0U | code >> 18U), tail(12), tail(6), tail(0)};
}

TEST(Utf8, every_character_is_read_with_its_length_and_surrogates_and_what_is_above_are_none) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const std::string text = encode(code);
    const bool is_character = code < 0xd800 || (code >= 0xe000 && code <= 0x10ffff);
    const auto character = first_character(text + "x");
    ASSERT_EQ(character.bytes, is_character ? text.size() : 0) << std::hex << code;
    ASSERT_EQ(is_utf8(text), is_character) << std::hex << code;
    if (is_character) {
      ASSERT_EQ(character.code, code);
    }
  }
}

// Two bytes can spell only the characters up to 7FF, each in one way.
TEST(Utf8, of_all_pairs_of_bytes_those_are_text_that_spell_one_or_two_characters) {
  size_t texts = 0;
  for (unsigned pair = 0; pair < 0x10000; ++pair) {
    const std::array<char, 2> bytes = {static_cast<char>(pair >> 8U), static_cast<char>(pair)};
    if (is_utf8({bytes.data(), 2})) ++texts;
  }
  EXPECT_EQ(texts, 0x80 * 0x80 + (0x800 - 0x80));
}

TEST(Utf8, overlong_and_cut_sequences_are_no_text) {
  for (const char* text : {"\xc0\x80",
                           "\xe0\x9f\xbf",
                           "\xf0\x8f\xbf\xbf",
                           "\xf4\x90\x80\x80",
                           "a\xad",
                           "\xe2\x82",
                           "\xf0\x9f\x98",
                           "\xff",
                           "\xe2"
                           "x\xac"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80"));
  EXPECT_EQ(first_character("").bytes, 0U);
}

TEST(Utf8, what_is_printed_stays_on_one_line_and_is_text) {
  EXPECT_EQ(printable("na\xc3\xafve \xe2\x82\xac"), "na\xc3\xafve \xe2\x82\xac");
  EXPECT_EQ(printable("a\nb\x1b[31m\x7f"), "a b [31m ");
  EXPECT_EQ(printable("a\xc2\x9b m"), "a  m") << "C1 has an escape, too";
  EXPECT_EQ(printable("a\xff\xe2\x82z"), "a???z");
  EXPECT_EQ(printable("\xe2\x82\xac 5\n", /*unicode=*/false), "? 5 ");
}

}  // namespace
}  // namespace atl
