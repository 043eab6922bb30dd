#include "sagemaker/record_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace atl::sagemaker {
namespace {

using ::testing::HasSubstr;

std::string word(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string part(uint32_t kind, const std::string& data) {
  std::string bytes =
      word(0xced7230a) + word(kind << 29 | static_cast<uint32_t>(data.size())) + data;
  bytes.resize((bytes.size() + 3) / 4 * 4, '\0');
  return bytes;
}

// In pieces of so many bytes.
std::string decoded(const std::string& stream, size_t piece) {
  RecordIoDecoder decoder;
  std::string data;
  const auto sink = [&](std::span<const std::byte> bytes) -> Result<void> {
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  };
  const auto all = std::as_bytes(std::span(stream));
  for (size_t at = 0; at < all.size(); at += piece) {
    const auto added = decoder.add(all.subspan(at, std::min(piece, all.size() - at)), sink);
    if (!added) return "error: " + added.error().to_string();
  }
  const auto finished = decoder.finish();
  return finished ? data : "error: " + finished.error().to_string();
}

TEST(RecordIo, records_of_any_length_come_out_in_pieces_of_any_length) {
  std::string stream, data;
  for (size_t length = 0; length < 12; ++length) {
    const std::string record(length, static_cast<char>('a' + length));
    stream += part(0, record);
    data += record;
  }
  for (size_t piece = 1; piece < 20; ++piece) EXPECT_EQ(decoded(stream, piece), data) << piece;
}

TEST(RecordIo, a_record_that_held_the_magic_number_is_put_together) {
  const std::string stream = part(1, "abcd") + part(2, "efgh") + part(3, "ij") + part(0, "k");
  const std::string magic = word(0xced7230a);
  for (size_t piece = 1; piece < 20; ++piece) {
    EXPECT_EQ(decoded(stream, piece), "abcd" + magic + "efgh" + magic + "ijk");
  }
}

TEST(RecordIo, what_is_none_is_refused) {
  EXPECT_THAT(decoded("0123456789", 4), HasSubstr("no RecordIO record begins at byte 0"));
  EXPECT_THAT(decoded(part(0, "abcd") + "01234567", 4), HasSubstr("begins at byte 12"));
  for (const std::string& stream : {part(2, "abcd"),
                                    part(3, "abcd"),
                                    part(1, "abcd") + part(0, "abcd"),
                                    part(1, "a") + part(1, "b"),
                                    part(5, "a")}) {
    EXPECT_THAT(decoded(stream, 64), HasSubstr("in the wrong place"));
  }
  const std::string whole = part(0, "abcde") + part(1, "x");
  EXPECT_THAT(decoded(whole, 64), HasSubstr("ends within a record"));
  for (size_t cut = 1; cut < 16; ++cut) {
    EXPECT_THAT(decoded(part(0, "abcde").substr(0, cut), 64),
                HasSubstr("ends within a record, at byte"));
  }
}

}  // namespace
}  // namespace atl::sagemaker
