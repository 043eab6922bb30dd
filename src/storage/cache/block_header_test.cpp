#include "storage/cache/block_header.h"

#include <gmock/gmock.h>

#include <set>

#include "storage/cache/cache_fixture.h"

namespace atl::storage {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

const CachedObject kObject("s3.eu-west-1/bucket", "images/1.jpg", "\"abc\"", 300'000, 131'072);

TEST(BlockHeader, says_which_block_it_is_of) {
  for (uint64_t index = 0; index < 3; ++index) {
    const std::string data = varied_bytes(kObject.data_bytes(index), index);
    const std::string text = encode_block_header(kObject, index, bytes_of(data));
    EXPECT_EQ(text.size(), block_header_bytes(kObject, index));
    const auto header = parse_block_header(bytes_of(text));
    ASSERT_TRUE(header.has_value()) << header.error().to_string();
    EXPECT_TRUE(header->is_of(kObject, index));
    EXPECT_FALSE(header->is_of(kObject, index + 1));
    EXPECT_FALSE(
        header->is_of({"s3.eu-west-1/bucket", "images/1.jpg", "\"abd\"", 300'000, 131'072}, index));
    EXPECT_EQ(header->data_bytes(), data.size());
    EXPECT_TRUE(pieces_hold(*header, 0, bytes_of(data)));
  }
}

TEST(BlockHeader, every_flipped_bit_and_every_cut_is_noticed) {
  const std::string data = varied_bytes(kObject.data_bytes(2), 2);
  const std::string text = encode_block_header(kObject, 2, bytes_of(data));
  for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(parse_block_header(bytes_of(damaged)).has_value()) << bit;
  }
  for (size_t cut = 0; cut < text.size(); ++cut) {
    EXPECT_FALSE(parse_block_header(bytes_of(text).first(cut)).has_value()) << cut;
  }
}

TEST(BlockHeader, a_piece_is_checked_without_the_others) {
  std::string data = varied_bytes(kObject.data_bytes(0), 5);
  const auto header = parse_block_header(bytes_of(encode_block_header(kObject, 0, bytes_of(data))));
  ASSERT_TRUE(header.has_value());
  data[70'000] = static_cast<char>(data[70'000] ^ 1);
  EXPECT_TRUE(pieces_hold(*header, 0, bytes_of(data).first(kPieceBytes)));
  EXPECT_FALSE(pieces_hold(*header, kPieceBytes, bytes_of(data).subspan(kPieceBytes)));
  EXPECT_FALSE(pieces_hold(*header, 2 * kPieceBytes, bytes_of(data)));
}

TEST(BlockHeader, names_differ_where_anything_does) {
  std::set<uint64_t> ids;
  const std::vector<CachedObject> objects = {{"r", "k", "e", 100'000, 4096},
                                             {"r2", "k", "e", 100'000, 4096},
                                             {"rk", "", "e", 100'000, 4096},
                                             {"r", "ke", "", 100'000, 4096},
                                             {"r", "k", "e2", 100'000, 4096},
                                             {"r", "k", "e", 100'001, 4096},
                                             {"r", "k", "e", 100'000, 8192}};
  for (const auto& object : objects) {
    for (uint64_t index = 0; index < object.blocks(); ++index) ids.insert(object.block_id(index));
  }
  EXPECT_EQ(ids.size(), 6 * 25 + 13);
}

}  // namespace
}  // namespace atl::storage
