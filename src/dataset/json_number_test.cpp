#include "dataset/json_number.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <string>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

void expect_nearest(const std::string& text) {
  const auto number = json_number(text);
  ASSERT_TRUE(number) << text;
  // The bits, so that -0 is not 0.
  EXPECT_EQ(std::bit_cast<uint64_t>(*number),
            std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)))
      << text;
}

TEST(JsonNumber, is_the_nearest_double_for_any_number_of_digits) {
  for (const char* text : {"0",
                           "-0",
                           "-0.0",
                           "1",
                           "10",
                           "0.5",
                           "9007199254740993",
                           "123e5",
                           "1E-7",
                           "0.81540726676487195129",
                           "0.1000000000000000055511151231257827",
                           "100000000000000000000000000",
                           "123.45600000000000000000000001",
                           "1.7976931348623157e308",
                           "4.9406564584124654e-324",
                           "0.0000000000000000000000000000000000001"}) {
    expect_nearest(text);
  }
  KeyedRandom random({5});
  for (int i = 0; i < 20000; ++i) {
    std::string text = random.below(2) == 0 ? "-" : "";
    text += std::to_string(random.next() >> random.below(64));
    if (random.below(4) != 0) {
      text += '.';
      for (auto digits = 1 + random.below(30); digits > 0; --digits) {
        text += static_cast<char>('0' + random.below(10));
      }
    }
    if (random.below(3) == 0) {
      text += fmt::format("e{}", static_cast<int>(random.below(300)) - 150);
    }
    expect_nearest(text);
    expect_nearest(fmt::format("{}", random.uniform() * 1000));
    expect_nearest(fmt::format("{:.25f}", random.uniform()));
  }
}

TEST(JsonNumber, keeps_to_the_grammar) {
  for (const char* text : {"",
                           "-",
                           "+1",
                           "01",
                           "-01",
                           ".5",
                           "1.",
                           "1.e5",
                           "1e",
                           "1e+",
                           "NaN",
                           "Infinity",
                           "0x10",
                           "1e999",
                           "1 2",
                           "1,"}) {
    EXPECT_FALSE(json_number(text)) << text;
  }
  EXPECT_EQ(json_number("2.5 \n\r\t"), 2.5);
  const std::string_view list = "17.25,3";
  const auto number = read_json_number(list.data(), list.data() + list.size());
  ASSERT_TRUE(number);
  EXPECT_EQ(number->value, 17.25);
  EXPECT_EQ(number->end, list.data() + 5);
}

}  // namespace
}  // namespace atl::dataset
