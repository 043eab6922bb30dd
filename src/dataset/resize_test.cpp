#include "dataset/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

Picture noise(int width, int height, uint64_t seed) {
  Picture picture{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  KeyedRandom random(seed);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random.below(256));
  return picture;
}

// The definition, in float64: interpolate with half-pixel centres and the edge repeated.
double reference(const Picture& picture, ImageSize target, int y, int x, int channel) {
  const auto position = [](int i, int source, int size) {
    return std::max(0.0, (i + 0.5) * source / size - 0.5);
  };
  const double source_y = position(y, picture.height, target.height);
  const double source_x = position(x, picture.width, target.width);
  const auto pixel = [&](int row, int column) -> double {
    row = std::min(row, picture.height - 1);
    column = std::min(column, picture.width - 1);
    return picture.rgb[static_cast<size_t>((row * picture.width + column) * 3 + channel)];
  };
  const int row = static_cast<int>(source_y);
  const int column = static_cast<int>(source_x);
  const double down = source_y - row;
  const double right = source_x - column;
  return (1 - down) * ((1 - right) * pixel(row, column) + right * pixel(row, column + 1)) +
         down * ((1 - right) * pixel(row + 1, column) + right * pixel(row + 1, column + 1));
}

TEST(Resize, agrees_with_the_definition_to_half_a_step_for_any_sizes) {
  KeyedRandom random(3);
  const auto side = [&] { return 1 + static_cast<int>(random.below(70)); };
  for (int round = 0; round < 60; ++round) {
    const Picture picture = noise(side(), side(), static_cast<uint64_t>(round));
    const ImageSize target = {side(), side()};
    const auto count = static_cast<size_t>(target.width * target.height * 3);
    std::vector<uint8_t> bytes(count);
    resize_bilinear(picture, target, bytes);
    for (size_t i = 0; i < count; ++i) {
      const int pixel = static_cast<int>(i / 3);
      const double exact = reference(
          picture, target, pixel / target.width, pixel % target.width, static_cast<int>(i % 3));
      ASSERT_NEAR(bytes[i], exact, 0.501) << picture.width << "x" << picture.height << " to "
                                          << target.width << "x" << target.height << " at " << i;
    }
  }
}

TEST(Resize, one_pass_flips_and_normalises_and_writes_only_its_rows) {
  const Picture picture = noise(37, 23, 1);
  const ImageSize size = {61, 40};
  const size_t stride = 70 * 3;
  const std::array<float, 3> scale = {2.0F, 3.0F, -1.0F};
  const std::array<float, 3> offset = {0.5F, -7.0F, 1.0F};
  constexpr float kUntouched = -12345.0F;
  for (const bool flip : {false, true}) {
    std::vector<float> pixels(stride * 40, kUntouched);
    Resizer resizer;
    resizer.resize(picture,
                   {.scaled = size, .window = size, .flip = flip, .scale = scale, .offset = offset},
                   pixels,
                   stride);
    for (int y = 0; y < size.height; ++y) {
      for (size_t i = 0; i < stride; ++i) {
        const float value = pixels[static_cast<size_t>(y) * stride + i];
        const int x = static_cast<int>(i / 3);
        if (x >= size.width) {
          ASSERT_EQ(value, kUntouched) << y << " " << i;
          continue;
        }
        const size_t c = i % 3;
        const int from = flip ? size.width - 1 - x : x;
        const double exact = reference(picture, size, y, from, static_cast<int>(c));
        ASSERT_NEAR(value, exact * scale[c] + offset[c], 2e-3) << y << " " << i;
      }
    }
  }
}

TEST(Resize, a_window_is_a_part_of_the_whole_and_repeats_the_edge_beyond_it) {
  const Picture picture = noise(37, 23, 1);
  const ImageSize scaled = {61, 40};
  std::vector<float> whole(size_t{61} * 40 * 3);
  Resizer resizer;
  resizer.resize(picture, {.scaled = scaled, .window = scaled}, whole, size_t{61} * 3);
  KeyedRandom random(5);
  for (int round = 0; round < 40; ++round) {
    const int left = static_cast<int>(random.below(80)) - 20;
    const int top = static_cast<int>(random.below(60)) - 20;
    const ImageSize window = {1 + static_cast<int>(random.below(70)),
                              1 + static_cast<int>(random.below(50))};
    const bool flip = random.below(2) == 1;
    std::vector<float> part(static_cast<size_t>(window.width * window.height * 3));
    resizer.resize(picture,
                   {.scaled = scaled, .left = left, .top = top, .window = window, .flip = flip},
                   part,
                   static_cast<size_t>(window.width) * 3);
    for (int y = 0; y < window.height; ++y) {
      for (int x = 0; x < window.width; ++x) {
        const int from_x = std::clamp(left + (flip ? window.width - 1 - x : x), 0, 60);
        const int from_y = std::clamp(top + y, 0, 39);
        for (int c = 0; c < 3; ++c) {
          ASSERT_EQ(part[static_cast<size_t>((y * window.width + x) * 3 + c)],
                    whole[static_cast<size_t>((from_y * 61 + from_x) * 3 + c)])
              << x << "," << y << " of " << window.width << "x" << window.height << " at " << left
              << "," << top;
        }
      }
    }
  }
}

TEST(Resize, colours_are_transformed_and_clamped_before_they_are_normalised) {
  Picture picture{1, 1, {200, 100, 10}};
  const ColourTransform colour = {{0, 2, 0, 1, 0, 1, 0, 0, -1}, {0.5F, 100, 5}};
  EXPECT_FALSE(colour.is_identity());
  EXPECT_TRUE(ColourTransform{}.is_identity());
  std::vector<float> pixels(3);
  Resizer().resize(picture,
                   {.scaled = {1, 1},
                    .window = {1, 1},
                    .scale = {2, 1, 1},
                    .offset = {1, 0, 3},
                    .colour = colour},
                   pixels,
                   3);
  EXPECT_EQ(pixels, (std::vector<float>{200.5F * 2 + 1, 255, 3}));
}

TEST(Resize, the_same_size_gives_the_same_picture) {
  const Picture picture = noise(31, 17, 9);
  std::vector<uint8_t> bytes(picture.rgb.size());
  resize_bilinear(picture, {31, 17}, bytes);
  EXPECT_EQ(bytes, picture.rgb);
}

TEST(Resize, a_resizer_can_be_used_again_for_other_sizes) {
  Resizer used;
  for (const int side : {50, 3, 20}) {
    const Picture picture = noise(side, side + 1, 4);
    std::vector<float> again(25 * 3 * 20);
    std::vector<float> fresh(again.size());
    const Resizer::Output output = {.scaled = {25, 20}, .window = {25, 20}, .flip = side == 3};
    used.resize(picture, output, again, 25 * 3);
    Resizer().resize(picture, output, fresh, 25 * 3);
    EXPECT_EQ(again, fresh);
  }
}

}  // namespace
}  // namespace atl::dataset
