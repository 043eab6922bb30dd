#include "dataset/tfrecord_example.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = TfFeature::Kind;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// A field of wire type 2; below 128 bytes.
std::string field(int number, std::string_view content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} +
         std::string(content);
}
std::string entry(std::string_view name, std::string_view feature) {
  return field(1, field(1, name) + field(2, feature));
}
std::string example(std::string_view entries) { return field(1, entries); }

TfExample parsed(const std::string& data) {
  auto result = TfExample::parse(bytes_of(data));
  EXPECT_TRUE(result.has_value()) << result.error().to_string();
  return result ? *std::move(result) : TfExample();
}

TEST(TfExample, what_is_written_comes_back) {
  TfExampleWriter writer;
  const std::string big(300, 'p');
  const std::string_view strings[] = {"", "two", big};
  const float floats[] = {0.0F, -1.5F, std::numeric_limits<float>::infinity(), 3e-38F};
  const int64_t integers[] = {0, -1, 127, 128, INT64_MIN, INT64_MAX};
  writer.add_bytes("strings", strings);
  writer.add_floats("floats", floats);
  writer.add_integers("integers", integers);
  writer.add("one", "value");
  writer.add("seven", 7);
  writer.add_bytes("no strings", {});
  writer.add_floats("no floats", {});
  writer.add_integers("no integers", {});
  const std::string data = writer.finish();
  const TfExample back = parsed(data);
  EXPECT_EQ(back.features().size(), 8U);
  EXPECT_THAT(back.find("strings")->bytes, ElementsAre("", "two", big));
  EXPECT_THAT(back.find("floats")->floats, testing::ElementsAreArray(floats));
  EXPECT_THAT(back.find("integers")->integers, testing::ElementsAreArray(integers));
  EXPECT_THAT(back.find("one")->bytes, ElementsAre("value"));
  EXPECT_THAT(back.find("seven")->integers, ElementsAre(7));
  EXPECT_EQ(back.find("no strings")->kind, Kind::kBytes);
  EXPECT_EQ(back.find("no floats")->kind, Kind::kFloats);
  EXPECT_EQ(back.find("no integers")->kind, Kind::kIntegers);
  EXPECT_EQ(back.find("no integers")->size(), 0U);
  EXPECT_EQ(back.find("another"), nullptr);
}

TEST(TfExample, strings_are_views_into_the_record) {
  TfExampleWriter writer;
  writer.add("image", "pixels");
  const std::string data = writer.finish();
  const TfExample back = parsed(data);
  const auto value = back.find("image")->bytes.at(0);
  EXPECT_GE(value.data(), data.data());
  EXPECT_LE(value.data() + value.size(), data.data() + data.size());
}

TEST(TfExample, numbers_may_be_packed_or_not_and_mixed) {
  const std::string one_by_one = std::string("\x08\x01\x08\x02", 4) + field(1, "\x03\x04");
  const std::string data = example(entry("n", field(3, one_by_one)));
  EXPECT_THAT(parsed(data).find("n")->integers, ElementsAre(1, 2, 3, 4));
  const std::string floats = std::string("\x0d\x00\x00\x80\x3f", 5) +
                             field(1, std::string("\x00\x00\x00\x40\x00\x00\x40\x40", 8));
  const std::string float_data = example(entry("f", field(2, floats)));
  EXPECT_THAT(parsed(float_data).find("f")->floats, ElementsAre(1.0F, 2.0F, 3.0F));
}

TEST(TfExample, pieces_are_joined_and_the_last_of_a_name_wins) {
  const std::string a = entry("a", field(1, field(1, "old")));
  const std::string b = entry("b", field(1, field(1, "x")) + field(1, field(1, "y")));
  const std::string a_again = entry("a", field(1, field(1, "new")));
  const std::string data = example(a + b) + example(a_again);
  const TfExample back = parsed(data);
  EXPECT_EQ(back.features().size(), 2U);
  EXPECT_THAT(back.find("a")->bytes, ElementsAre("new"));
  EXPECT_THAT(back.find("b")->bytes, ElementsAre("x", "y"));
  // Of a feature's kinds, too.
  const std::string two_kinds =
      example(entry("c", field(1, field(1, "bytes")) + field(3, field(1, "\x05"))));
  const TfExample last_kind = parsed(two_kinds);
  EXPECT_EQ(last_kind.find("c")->kind, Kind::kIntegers);
  EXPECT_EQ(last_kind.find("c")->size(), 1U);
}

TEST(TfExample, unknown_fields_are_passed_over) {
  const std::string unknown = field(9, "later") + std::string("\x50\x07", 2) +
                              std::string(
                                  "\x59"
                                  "12345678",
                                  9) +
                              std::string(
                                  "\x65"
                                  "1234",
                                  5);
  const std::string data =
      unknown + example(unknown + entry("a", unknown + field(1, unknown + field(1, "v"))));
  EXPECT_THAT(parsed(data).find("a")->bytes, ElementsAre("v"));
}

TEST(TfExample, a_feature_without_a_value_has_no_kind) {
  const std::string data = example(entry("a", "") + field(1, field(1, "b")));
  const TfExample back = parsed(data);
  EXPECT_EQ(back.find("a")->kind, Kind::kNone);
  EXPECT_EQ(back.find("b")->kind, Kind::kNone);
  EXPECT_TRUE(parsed("").features().empty());
}

struct Malformed {
  const char* why;
  std::string data;
};

TEST(TfExample, what_is_no_example_is_refused_with_the_byte) {
  const std::string ten_bytes(9, '\xff');
  const Malformed cases[] = {
      {"announced",
       "\x0a\x05"
       "abc"},
      {"cut off", "\x0a"},
      {"cut off", "\x08\xff"},
      {"more than 64 bits", "\x08" + ten_bytes + "\x02"},
      {"more than 64 bits", "\x08" + ten_bytes + "\xff\x01"},
      {"number 0", std::string("\x02\x00", 2)},
      {"wire type 3", "\x0b"},
      {"wire type 7", "\x0f"},
      {"features that are none", "\x08\x01"},
      {"a feature that is none", example("\x08\x01")},
      {"a feature that is none", example(field(1, "\x10\x01"))},
      {"a list that is none", example(entry("a", "\x08\x01"))},
      {"bytes that are none", example(entry("a", field(1, "\x08\x01")))},
      {"a float that is none", example(entry("a", field(2, "\x08\x01")))},
      {"an integer that is none",
       example(entry("a",
                     field(3,
                           "\x0d"
                           "1234")))},
      {"floats of 5 bytes", example(entry("a", field(2, field(1, "12345"))))},
      {"cut off", example(entry("a", field(3, field(1, "\x80"))))},
  };
  for (const auto& [why, data] : cases) {
    const auto result = TfExample::parse(bytes_of(data));
    ASSERT_FALSE(result.has_value()) << why;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(result.error().message, HasSubstr(why));
    EXPECT_THAT(result.error().message, HasSubstr("at byte"));
  }
}

TEST(TfExample, no_prefix_and_no_changed_byte_reads_outside_the_record) {
  TfExampleWriter writer;
  const std::string_view strings[] = {"abc", ""};
  const int64_t integers[] = {-1, 300};
  const float floats[] = {1.0F, 2.0F};
  writer.add_bytes("s", strings);
  writer.add_integers("i", integers);
  writer.add_floats("f", floats);
  const std::string data = writer.finish();
  for (size_t size = 1; size < data.size(); ++size) {
    // On the heap and of that size, so that the sanitizer sees a read behind it.
    const std::vector<char> prefix(data.begin(), data.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(TfExample::parse(std::as_bytes(std::span(prefix))).has_value()) << size;
  }
  KeyedRandom random({3});
  for (int round = 0; round < 5000; ++round) {
    std::vector<char> changed(data.begin(), data.end());
    changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    const auto result = TfExample::parse(std::as_bytes(std::span(changed)));
    if (!result) continue;
    for (const auto& [name, feature] : result->features()) {
      EXPECT_LE(feature.size(), data.size());
    }
  }
}

}  // namespace
}  // namespace atl::dataset
