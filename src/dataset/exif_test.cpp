#include "dataset/exif.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace atl::dataset {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

std::vector<std::byte> little_endian(int orientation) {
  return bytes_of({'I',  'I',  42, 0, 8, 0, 0, 0,  //
                   2,    0,                        // two entries, the first of another tag
                   0x0f, 0x01, 2,  0, 1, 0, 0, 0, 0,           0, 0, 0,
                   0x12, 0x01, 3,  0, 1, 0, 0, 0, orientation, 0, 0, 0});
}

TEST(Exif, the_orientation_is_read_in_both_byte_orders) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    EXPECT_EQ(exif_orientation(little_endian(orientation)), orientation);
  }
  EXPECT_EQ(exif_orientation(bytes_of(
                {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0})),
            6);
}

TEST(Exif, a_damaged_block_means_upright) {
  EXPECT_EQ(exif_orientation(little_endian(0)), 1);
  EXPECT_EQ(exif_orientation(little_endian(9)), 1);
  const auto whole = little_endian(6);
  // The tag's value ends two bytes before the block does.
  for (size_t size = 0; size + 2 < whole.size(); ++size) {
    EXPECT_EQ(exif_orientation(std::span(whole).first(size)), 1) << size;
  }
  auto far = whole;
  std::fill(far.begin() + 4, far.begin() + 8, std::byte{0xff});
  EXPECT_EQ(exif_orientation(far), 1);
}

// A 2x3 picture whose red values are its positions: 0 1 / 2 3 / 4 5.
TEST(Exif, each_orientation_turns_the_picture_upright) {
  Picture stored{2, 3, std::vector<uint8_t>(18)};
  for (size_t i = 0; i < 6; ++i) stored.rgb[i * 3] = static_cast<uint8_t>(i);
  const std::vector<std::vector<int>> expected = {{0, 1, 2, 3, 4, 5},
                                                  {1, 0, 3, 2, 5, 4},
                                                  {5, 4, 3, 2, 1, 0},
                                                  {4, 5, 2, 3, 0, 1},
                                                  {0, 2, 4, 1, 3, 5},
                                                  {4, 2, 0, 5, 3, 1},
                                                  {5, 3, 1, 4, 2, 0},
                                                  {1, 3, 5, 0, 2, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Picture upright = apply_orientation(stored, orientation);
    std::vector<int> reds;
    for (size_t i = 0; i < upright.rgb.size(); i += 3) reds.push_back(upright.rgb[i]);
    EXPECT_EQ(reds, expected[static_cast<size_t>(orientation - 1)]) << orientation;
    EXPECT_EQ((ImageSize{upright.width, upright.height}), oriented_size({2, 3}, orientation));
  }
}

}  // namespace
}  // namespace atl::dataset
