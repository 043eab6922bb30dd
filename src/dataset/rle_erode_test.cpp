#include <gtest/gtest.h>

#include "base/keyed_random.h"
#include "dataset/rle.h"

namespace atl::dataset {
namespace {

using Bitmap = std::vector<uint8_t>;

// Discs and bars, with specks of both kinds: thick parts that survive, thin ones that don't, holes.
Bitmap random_bitmap(KeyedRandom& random, uint32_t height, uint32_t width) {
  Bitmap bitmap(size_t{height} * width);
  const uint64_t shapes = random.below(4);
  for (uint64_t shape = 0; shape <= shapes; ++shape) {
    const bool disc = random.below(2) == 0;
    const double x0 = random.uniform(0, width);
    const double y0 = random.uniform(0, height);
    const double radius = random.uniform(0.5, 1.2) * std::max(height, width) / 2;
    const double other = random.uniform(0.5, radius + 1);
    for (uint32_t x = 0; x < width; ++x) {
      for (uint32_t y = 0; y < height; ++y) {
        const double dx = std::abs(x - x0);
        const double dy = std::abs(y - y0);
        const bool inside = disc ? dx * dx + dy * dy < radius * radius : dx < radius && dy < other;
        if (inside) bitmap[size_t{x} * height + y] = shape % 3 == 2 ? 0 : 1;
      }
    }
  }
  for (uint64_t speck = random.below(6); speck > 0; --speck) {
    bitmap[random.below(bitmap.size())] ^= 1;
  }
  return bitmap;
}

Bitmap eroded_once(const Bitmap& bitmap, uint32_t height, uint32_t width) {
  Bitmap result(bitmap.size());
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t y = 0; y < height; ++y) {
      bool all = true;
      for (int64_t dx = -1; dx <= 1; ++dx) {
        for (int64_t dy = -1; dy <= 1; ++dy) {
          const int64_t nx = x + dx;
          const int64_t ny = y + dy;
          all = all && nx >= 0 && nx < width && ny >= 0 && ny < height &&
                bitmap[static_cast<size_t>(nx * height + ny)] != 0;
        }
      }
      result[static_cast<size_t>(x * height + y)] = all ? 1 : 0;
    }
  }
  return result;
}

// The same mask with runs cut in two by runs of none, as files may have them.
Rle cut(const Rle& rle, KeyedRandom& random) {
  Rle result{rle.height, rle.width, {}};
  for (const uint32_t run : rle.counts) {
    const auto part = static_cast<uint32_t>(random.below(uint64_t{run} + 1));
    result.counts.insert(result.counts.end(), {part, 0, run - part});
  }
  return result;
}

TEST(RleErode, is_a_3_x_3_erosion_of_the_bitmap_applied_as_often_as_the_radius) {
  KeyedRandom random({31});
  size_t foreground = 0;
  for (int round = 0; round < 400; ++round) {
    const auto height = static_cast<uint32_t>(1 + random.below(40));
    const auto width = static_cast<uint32_t>(1 + random.below(40));
    Bitmap bitmap = random_bitmap(random, height, width);
    const Rle rle = rle_from_bitmap(bitmap, height, width);
    for (uint32_t radius = 0; radius < 6; ++radius) {
      const Rle expected = rle_from_bitmap(bitmap, height, width);
      ASSERT_EQ(rle_erode(rle, radius), expected) << "round " << round << ", radius " << radius;
      ASSERT_EQ(rle_erode(cut(rle, random), radius), expected) << "round " << round;
      if (radius > 2) foreground += rle_area(expected);
      bitmap = eroded_once(bitmap, height, width);
    }
  }
  EXPECT_GT(foreground, 10000U);  // the cases are not all gone after a few pixels
}

TEST(RleErode, empty_and_whole_masks_are_met) {
  EXPECT_EQ(rle_erode(Rle{0, 0, {}}, 3), (Rle{0, 0, {0}}));
  EXPECT_EQ(rle_erode(Rle{3, 4, {12}}, 1), (Rle{3, 4, {12}}));
  EXPECT_EQ(rle_erode(Rle{3, 4, {0, 12}}, 1), (Rle{3, 4, {4, 1, 2, 1, 4}}));
  EXPECT_EQ(rle_erode(Rle{3, 4, {0, 12}}, 4000000000U), (Rle{3, 4, {12}}));
}

}  // namespace
}  // namespace atl::dataset
