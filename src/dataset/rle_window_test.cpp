// Crops by run algebra against crops of bitmaps, pixel by pixel.
#include <gtest/gtest.h>

#include "base/keyed_random.h"
#include "dataset/rle.h"

namespace atl::dataset {
namespace {

uint32_t below(KeyedRandom& random, uint32_t bound) {
  return static_cast<uint32_t>(random.below(bound));
}

Rle noise(KeyedRandom& random, uint32_t height, uint32_t width) {
  std::vector<uint8_t> bitmap(size_t{height} * width);
  const uint64_t run = 1 + random.below(12);
  for (size_t i = 0; i < bitmap.size(); ++i) {
    const bool change = i == 0 || random.below(run) == 0;
    bitmap[i] = change ? static_cast<uint8_t>(random.below(2)) : bitmap[i - 1];
  }
  return rle_from_bitmap(bitmap, height, width);
}

// Inside the mask, over its edges, around it or beside it.
RleWindow some_window(KeyedRandom& random, uint32_t height, uint32_t width) {
  const auto low = -static_cast<int64_t>(random.below(2)) * 5;
  return {low + static_cast<int64_t>(random.below(width + 5)),
          low + static_cast<int64_t>(random.below(height + 5)),
          below(random, width + 10),
          below(random, height + 10)};
}

Rle naive_crop(const Rle& rle, const RleWindow& window) {
  std::vector<uint8_t> whole(size_t{rle.height} * rle.width);
  rle_to_bitmap(rle, whole);
  std::vector<uint8_t> part;
  for (int64_t x = window.left; x < window.left + window.width; ++x) {
    for (int64_t y = window.top; y < window.top + window.height; ++y) {
      const bool inside = x >= 0 && x < rle.width && y >= 0 && y < rle.height;
      part.push_back(inside ? whole[static_cast<size_t>(x * rle.height + y)] : uint8_t{0});
    }
  }
  return rle_from_bitmap(part, window.height, window.width);
}

TEST(RleWindow, cropping_takes_the_windows_pixels) {
  for (uint64_t round = 0; round < 500; ++round) {
    KeyedRandom random({round, 1});
    const uint32_t height = 1 + below(random, 30);
    const uint32_t width = 1 + below(random, 30);
    const Rle mask = noise(random, height, width);
    const RleWindow window = some_window(random, height, width);
    ASSERT_EQ(rle_crop(mask, window), naive_crop(mask, window)) << "round " << round;
  }
}

TEST(RleWindow, a_resized_mask_is_cropped_as_if_it_had_been_made_whole) {
  for (uint64_t round = 0; round < 500; ++round) {
    KeyedRandom random({round, 2});
    const Rle mask = noise(random, 1 + below(random, 30), 1 + below(random, 30));
    const uint32_t height = 1 + below(random, 50);
    const uint32_t width = 1 + below(random, 50);
    const RleWindow window = some_window(random, height, width);
    ASSERT_EQ(rle_resize(mask, height, width, window),
              naive_crop(rle_resize(mask, height, width), window))
        << "round " << round;
  }
}

TEST(RleWindow, a_polygon_in_a_window_covers_the_pixels_that_it_covers_in_the_whole) {
  for (uint64_t round = 0; round < 3000; ++round) {
    KeyedRandom random({round, 3});
    const uint32_t height = 1 + below(random, 60);
    const uint32_t width = 1 + below(random, 60);
    std::vector<double> polygon;
    const uint64_t points = 3 + random.below(9);
    const bool whole_numbers = random.below(3) == 0;  // edges on the grid, and through each other
    for (uint64_t i = 0; i < 2 * points; ++i) {
      const double side = i % 2 == 0 ? width : height;
      const double at = random.uniform(-0.4 * side, 1.4 * side);
      polygon.push_back(whole_numbers ? std::floor(at) : at);
    }
    const RleWindow window = some_window(random, height, width);
    ASSERT_EQ(rle_from_polygon(polygon, height, width, window),
              naive_crop(rle_from_polygon(polygon, height, width), window))
        << "round " << round;
  }
}

TEST(RleWindow, subtracting_is_and_not_of_bitmaps) {
  for (uint64_t round = 0; round < 500; ++round) {
    KeyedRandom random({round, 4});
    const uint32_t height = 1 + below(random, 20);
    const uint32_t width = 1 + below(random, 20);
    const Rle a = noise(random, height, width);
    const Rle b = noise(random, height, width);
    std::vector<uint8_t> left(size_t{height} * width);
    std::vector<uint8_t> right(left.size());
    rle_to_bitmap(a, left);
    rle_to_bitmap(b, right);
    for (size_t i = 0; i < left.size(); ++i) left[i] = left[i] != 0 && right[i] == 0 ? 1 : 0;
    ASSERT_EQ(rle_subtract(a, b), rle_from_bitmap(left, height, width)) << "round " << round;
  }
}

TEST(RleWindow, empty_masks_and_empty_windows_are_met) {
  const Rle none{0, 0, {}};
  EXPECT_EQ(rle_crop(none, {-1, -1, 2, 2}), (Rle{2, 2, {4}}));
  EXPECT_EQ(rle_crop(Rle{2, 2, {0, 4}}, {0, 0, 0, 0}), (Rle{0, 0, {0}}));
  EXPECT_EQ(rle_crop(Rle{2, 2, {0, 4}}, {2, 0, 1, 2}), (Rle{2, 1, {2}}));
  EXPECT_EQ(rle_subtract(Rle{2, 2, {0, 4}}, Rle{2, 2, {0, 4}}), (Rle{2, 2, {4}}));
  // Runs as they come from outside, with empty ones between.
  EXPECT_EQ(rle_subtract(Rle{1, 6, {1, 2, 0, 2, 1}}, Rle{1, 6, {2, 1, 0, 0, 3}}),
            (Rle{1, 6, {1, 1, 1, 2, 1}}));
}

}  // namespace
}  // namespace atl::dataset
