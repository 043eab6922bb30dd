#include "dataset/tfrecord.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"

namespace atl::dataset {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Walk {
  std::vector<std::string> records;
  std::vector<uint64_t> offsets;
  std::optional<Error> error;
  uint64_t lost_bytes = 0;
};

Walk walk(std::string_view file) {
  Walk result;
  TfrecordReader reader(bytes_of(file));
  while (true) {
    auto entry = reader.next();
    if (!entry) {
      result.error = entry.error();
      EXPECT_EQ(entry.error().code, ErrorCode::kCorrupt);
      // Behind a break there is nothing more.
      const auto after = reader.next();
      EXPECT_TRUE(after.has_value() && !after->has_value());
      break;
    }
    if (!*entry) break;
    EXPECT_TRUE(check_tfrecord_data(**entry).has_value());
    result.records.push_back(text_of((*entry)->data));
    result.offsets.push_back((*entry)->offset);
  }
  result.lost_bytes = reader.lost_bytes();
  return result;
}

TEST(Tfrecord, a_frame_is_as_another_writer_has_it) {
  std::string hex;
  for (const char c : frame_tfrecord("hello")) {
    hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  // Of the PyPI package tfrecord 1.14.6: length, its checksum, the data, their checksum.
  EXPECT_EQ(hex,
            "0500000000000000"
            "eab2043e"
            "68656c6c6f"
            "bb1f1c19");
}

TEST(Tfrecord, records_come_back_with_their_offsets) {
  const std::string big(100'000, 'x');
  std::vector<std::byte> file;
  for (const std::string_view record : {std::string_view("one"), std::string_view(big), {}}) {
    append_tfrecord(file, bytes_of(record));
  }
  const auto all = walk(text_of(file));
  EXPECT_FALSE(all.error.has_value());
  EXPECT_EQ(all.records, (std::vector<std::string>{"one", big, ""}));
  EXPECT_EQ(all.offsets, (std::vector<uint64_t>{0, 19, 19 + 16 + 100'000}));
  EXPECT_EQ(text_of(file).substr(0, 19), frame_tfrecord("one"));
}

TEST(Tfrecord, an_empty_file_has_no_record) {
  const auto all = walk("");
  EXPECT_FALSE(all.error.has_value());
  EXPECT_TRUE(all.records.empty());
}

TEST(Tfrecord, a_tail_cut_off_anywhere_loses_that_record_alone) {
  const std::string first = frame_tfrecord("first");
  const std::string second = frame_tfrecord("second");
  for (size_t kept = 1; kept < second.size(); ++kept) {
    const auto all = walk(first + second.substr(0, kept));
    EXPECT_EQ(all.records, std::vector<std::string>{"first"}) << kept;
    ASSERT_TRUE(all.error.has_value()) << kept;
    EXPECT_THAT(all.error->message, HasSubstr("cut off"));
    EXPECT_EQ(all.lost_bytes, kept);
  }
}

TEST(Tfrecord, damaged_data_cost_one_record_and_the_next_is_found) {
  std::string file = frame_tfrecord("first") + frame_tfrecord("second");
  file[14] ^= 1;
  TfrecordReader reader(bytes_of(file));
  const auto first = reader.next();
  ASSERT_TRUE(first.has_value() && first->has_value());
  const auto checked = check_tfrecord_data(**first);
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, ErrorCode::kCorrupt);
  const auto second = reader.next();
  ASSERT_TRUE(second.has_value() && second->has_value());
  EXPECT_TRUE(check_tfrecord_data(**second).has_value());
  EXPECT_EQ(text_of((*second)->data), "second");
}

TEST(Tfrecord, a_damaged_data_checksum_is_noticed) {
  std::string file = frame_tfrecord("first");
  file.back() ^= 0x40;
  TfrecordReader reader(bytes_of(file));
  const auto entry = reader.next();
  ASSERT_TRUE(entry.has_value() && entry->has_value());
  EXPECT_FALSE(check_tfrecord_data(**entry).has_value());
}

TEST(Tfrecord, a_damaged_length_ends_the_file_and_says_how_much_is_lost) {
  const std::string first = frame_tfrecord("first");
  for (size_t byte = 0; byte < 12; ++byte) {
    std::string second = frame_tfrecord("second");
    second[byte] ^= 0x10;
    const auto all = walk(first + second + frame_tfrecord("third"));
    EXPECT_EQ(all.records, std::vector<std::string>{"first"});
    ASSERT_TRUE(all.error.has_value()) << byte;
    EXPECT_THAT(all.error->message, HasSubstr("length"));
    EXPECT_EQ(all.lost_bytes, second.size() + frame_tfrecord("third").size());
  }
}

TEST(Tfrecord, a_length_near_two_to_the_64_does_not_wrap) {
  for (const uint64_t length :
       {~uint64_t{0}, ~uint64_t{0} - 3, ~uint64_t{0} - 15, uint64_t{1} << 63}) {
    std::string header;
    for (int i = 0; i < 8; ++i) header += static_cast<char>((length >> (8 * i)) & 0xff);
    const uint32_t crc = crc32c(header);
    const uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
    for (int i = 0; i < 4; ++i) header += static_cast<char>((masked >> (8 * i)) & 0xff);
    const auto all = walk(header + std::string(40, 'x'));
    EXPECT_TRUE(all.records.empty());
    ASSERT_TRUE(all.error.has_value());
    EXPECT_THAT(all.error->message, HasSubstr("36 bytes are there"));
    EXPECT_EQ(all.lost_bytes, 52U);
  }
}

TEST(Tfrecord, a_compressed_file_is_called_so) {
  const auto all = walk(std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03 and so on", 20));
  ASSERT_TRUE(all.error.has_value());
  EXPECT_THAT(all.error->to_string(), HasSubstr("compressed"));
}

TEST(Tfrecord, a_reader_of_a_part_gives_offsets_in_the_whole) {
  const std::string frame = frame_tfrecord("data");
  TfrecordReader reader(bytes_of(frame), 1000);
  const auto entry = reader.next();
  ASSERT_TRUE(entry.has_value() && entry->has_value());
  EXPECT_EQ((*entry)->offset, 1000U);
  EXPECT_EQ(reader.offset(), 1000 + frame.size());
}

}  // namespace
}  // namespace atl::dataset
