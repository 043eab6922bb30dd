#include "dataset/tfrecord_mask.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/keyed_random.h"
#include "dataset/image.h"

namespace atl::dataset {
namespace {

using testing::HasSubstr;

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Rle random_mask(uint64_t seed, uint32_t height, uint32_t width) {
  KeyedRandom random({seed});
  std::vector<uint8_t> bitmap(size_t{height} * width);
  // From noise to large areas.
  const uint64_t mean_run = 1 + random.below(uint64_t{height} * 2);
  uint8_t pixel = 0;
  for (uint8_t& value : bitmap) {
    if (random.below(mean_run) == 0) pixel ^= 1;
    value = pixel;
  }
  return rle_from_bitmap(bitmap, height, width);
}

TEST(TfrecordMask, every_mask_comes_back_to_the_pixel) {
  KeyedRandom random({11});
  for (uint64_t round = 0; round < 300; ++round) {
    const auto height = static_cast<uint32_t>(1 + random.below(70));
    const auto width = static_cast<uint32_t>(1 + random.below(70));
    const Rle mask = random_mask(round, height, width);
    const auto png = mask_to_png(mask);
    ASSERT_TRUE(png.has_value()) << png.error().to_string();
    const auto back = mask_from_png(*png, height, width);
    ASSERT_TRUE(back.has_value()) << back.error().to_string();
    ASSERT_EQ(*back, mask) << height << " x " << width << ", round " << round;
  }
}

TEST(TfrecordMask, full_and_empty_masks_and_polygons_come_back) {
  const std::vector<double> shape = {10.5, 3.2, 60.1, 20.9, 33.3, 47.7, 12.0, 40.0};
  for (const Rle& mask : {Rle{50, 64, {3200}},
                          Rle{50, 64, {0, 3200}},
                          Rle{1, 1, {0, 1}},
                          rle_from_polygon(shape, 50, 64)}) {
    const auto png = mask_to_png(mask);
    ASSERT_TRUE(png.has_value());
    EXPECT_EQ(mask_from_png(*png, mask.height, mask.width).value(), mask);
  }
}

TEST(TfrecordMask, a_mask_is_small_as_a_file) {
  // A disc of a quarter of a COCO picture.
  std::vector<double> disc;
  for (int i = 0; i < 60; ++i) {
    disc.push_back(320 + 150 * std::cos(i * 0.1047));
    disc.push_back(240 + 150 * std::sin(i * 0.1047));
  }
  const auto png = mask_to_png(rle_from_polygon(disc, 480, 640));
  ASSERT_TRUE(png.has_value());
  EXPECT_LT(png->size(), 3000U);
}

TEST(TfrecordMask, any_colour_that_is_not_black_is_foreground) {
  Picture picture{3, 2, {0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 255, 0}};
  const auto png = encode_png(picture);
  ASSERT_TRUE(png.has_value());
  const auto mask = mask_from_png(text_of(*png), 2, 3);
  ASSERT_TRUE(mask.has_value()) << mask.error().to_string();
  // Columns: (0,9), (1,0), (0,255).
  EXPECT_EQ(*mask, (Rle{2, 3, {1, 2, 2, 1}}));
}

// 3 x 2, one bit a pixel, Adam7; as Pillow reads it: 101 over 011.
constexpr char kInterlaced[] =
    "\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52"
    "\x00\x00\x00\x03\x00\x00\x00\x02\x01\x00\x00\x00\x01\xc2\x08\x6b"
    "\x21\x00\x00\x00\x10\x49\x44\x41\x54\x78\x9c\x63\x68\x60\x68\x60"
    "\x60\x60\x48\x00\x00\x06\x68\x01\x61\xe5\xd7\xc3\x2a\x00\x00\x00"
    "\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

TEST(TfrecordMask, an_interlaced_mask_is_read_as_any_other) {
  const auto mask = mask_from_png({kInterlaced, sizeof kInterlaced - 1}, 2, 3);
  ASSERT_TRUE(mask.has_value()) << mask.error().to_string();
  EXPECT_EQ(*mask, (Rle{2, 3, {0, 1, 2, 3}}));
}

TEST(TfrecordMask, another_size_than_the_image_is_refused_with_both) {
  const auto png = mask_to_png(Rle{4, 6, {24}});
  ASSERT_TRUE(png.has_value());
  const auto mask = mask_from_png(*png, 6, 4);
  ASSERT_FALSE(mask.has_value());
  EXPECT_EQ(mask.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(mask.error().message, HasSubstr("the mask is 6 x 4, the image 4 x 6"));
}

TEST(TfrecordMask, what_is_no_whole_png_is_refused) {
  const auto png = mask_to_png(random_mask(1, 40, 40));
  ASSERT_TRUE(png.has_value());
  for (const size_t kept : {size_t{0}, size_t{5}, size_t{33}, png->size() / 2}) {
    const auto mask = mask_from_png(std::string_view(*png).substr(0, kept), 40, 40);
    ASSERT_FALSE(mask.has_value()) << kept;
    EXPECT_EQ(mask.error().code, ErrorCode::kInvalidInput);
  }
  EXPECT_FALSE(mask_from_png("not a PNG at all", 40, 40).has_value());
}

}  // namespace
}  // namespace atl::dataset
