#include "base/bytes.h"

#include <gtest/gtest.h>

#include <limits>

namespace atl {
namespace {

TEST(Bytes, sizes_are_written_with_one_decimal_and_binary_units) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(3ULL << 30), "3.0 GiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<uint64_t>::max()), "16777216.0 TiB");
}

TEST(Bytes, sizes_are_read_in_both_kinds_of_units) {
  EXPECT_EQ(parse_bytes("0").value(), 0);
  EXPECT_EQ(parse_bytes("512M").value(), 512ULL << 20);
  EXPECT_EQ(parse_bytes(" 1.5 GiB ").value(), 3ULL << 29);
  EXPECT_EQ(parse_bytes("10GB").value(), 10'000'000'000);
  EXPECT_EQ(parse_bytes("7 kB").value(), 7000);
  EXPECT_EQ(parse_bytes("7B").value(), 7);
  EXPECT_EQ(parse_bytes("2T").value(), 2ULL << 40);
}

TEST(Bytes, what_is_no_size_is_refused_and_shown) {
  for (const char* text :
       {"", "  ", "x", "-1", "1.2.3", "5 mb", "1 GiBs", "nan", "inf", "1e30", "99999999T"}) {
    const auto result = parse_bytes(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
    EXPECT_NE(result.error().to_string().find(std::string("\"") + text + "\""), std::string::npos);
  }
}

TEST(Bytes, every_written_size_reads_back_within_its_decimal) {
  for (uint64_t bytes = 1; bytes < uint64_t{1} << 60; bytes = bytes * 3 + 1) {
    const double back = static_cast<double>(parse_bytes(format_bytes(bytes)).value());
    EXPECT_NEAR(back / static_cast<double>(bytes), 1, 0.05) << bytes;
  }
}

TEST(Duration, is_written_as_people_say_it) {
  const auto text = [](double seconds) {
    return format_duration(std::chrono::duration<double>(seconds));
  };
  EXPECT_EQ(text(0), "0 ms");
  EXPECT_EQ(text(0.0424), "42 ms");
  EXPECT_EQ(text(0.0999), "0.1 s");
  EXPECT_EQ(text(3.21), "3.2 s");
  EXPECT_EQ(text(9.96), "10 s");
  EXPECT_EQ(text(59.4), "59 s");
  EXPECT_EQ(text(59.6), "1 min 0 s");
  EXPECT_EQ(text(250), "4 min 10 s");
  EXPECT_EQ(text(3599.7), "1 h 0 min");
  EXPECT_EQ(text(7500), "2 h 5 min");
  EXPECT_EQ(text(200'000), "2 d 7 h");
  EXPECT_EQ(text(-1), "0 s");
  EXPECT_EQ(text(std::numeric_limits<double>::quiet_NaN()), "0 s");
  EXPECT_EQ(text(std::numeric_limits<double>::infinity()), "for ever");
}

TEST(Count, takes_the_plural_but_for_one) {
  EXPECT_EQ(format_count(0, "step"), "0 steps");
  EXPECT_EQ(format_count(1, "step"), "1 step");
  EXPECT_EQ(format_count(2, "step"), "2 steps");
  EXPECT_EQ(format_count(1, "category", "categories"), "1 category");
  EXPECT_EQ(format_count(4, "category", "categories"), "4 categories");
}

}  // namespace
}  // namespace atl
