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

// The planes of float32 are in a vector; `kernels` as for a Resizer.
std::vector<float> resized(const Picture& picture,
                           const Resizer::Output& output,
                           ImageSize plane,
                           const internal::RowKernels& kernels = internal::row_kernels()) {
  std::vector<float> pixels(static_cast<size_t>(plane.width * plane.height * 3), -12345.0F);
  Resizer(kernels).resize(picture,
                          output,
                          {PixelType::kFloat32,
                           plane.height,
                           plane.width,
                           reinterpret_cast<std::byte*>(pixels.data())});
  return pixels;
}
std::vector<float> resized(const Picture& picture, const Resizer::Output& output) {
  return resized(picture, output, output.window);
}

TEST(Resize, one_pass_flips_and_normalises_and_zeroes_the_rest_of_the_plane) {
  const Picture picture = noise(37, 23, 1);
  const ImageSize size = {61, 40};
  const ImageSize plane = {70, 43};
  const std::array<float, 3> scale = {2.0F, 3.0F, -1.0F};
  const std::array<float, 3> offset = {0.5F, -7.0F, 1.0F};
  for (const bool flip : {false, true}) {
    const auto pixels =
        resized(picture,
                {.scaled = size, .window = size, .flip = flip, .scale = scale, .offset = offset},
                plane);
    for (int y = 0; y < plane.height; ++y) {
      for (int x = 0; x < plane.width; ++x) {
        for (size_t c = 0; c < 3; ++c) {
          const float value = pixels[static_cast<size_t>((y * plane.width + x) * 3) + c];
          if (x >= size.width || y >= size.height) {
            ASSERT_EQ(value, 0) << x << "," << y;
            continue;
          }
          const int from = flip ? size.width - 1 - x : x;
          const double exact = reference(picture, size, y, from, static_cast<int>(c));
          ASSERT_NEAR(value, exact * scale[c] + offset[c], 2e-3) << x << "," << y;
        }
      }
    }
  }
}

// Any sizes, windows and colours.
Resizer::Output random_output(KeyedRandom& random) {
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low)));
  };
  Resizer::Output output;
  output.scaled = {between(1, 90), between(1, 60)};
  output.left = between(-20, 60);
  output.top = between(-20, 40);
  output.window = {between(1, 70), between(1, 50)};
  output.flip = random.below(2) == 1;
  output.scale = {0.1F, 0.02F, -0.3F};
  output.offset = {1.3F, -7.1F, 0.7F};
  if (random.below(2) == 1) output.colour.matrix = {0.9F, 0.2F, 0, 0.1F, 1, 0, 0.3F, -0.2F, 1.1F};
  return output;
}

TEST(Resize, every_version_of_the_inner_loops_gives_the_same_bits) {
  KeyedRandom random(8);
  for (int round = 0; round < 300; ++round) {
    const Picture picture = noise(1 + static_cast<int>(random.below(80)),
                                  1 + static_cast<int>(random.below(60)),
                                  static_cast<uint64_t>(round));
    const auto output = random_output(random);
    ASSERT_EQ(resized(picture, output),
              resized(picture, output, output.window, internal::portable_row_kernels()))
        << round;
  }
}

TEST(Resize, bfloat16_is_the_float_rounded_to_nearest_even) {
  KeyedRandom random(9);
  for (int round = 0; round < 50; ++round) {
    const Picture picture = noise(30, 20, static_cast<uint64_t>(round));
    const auto output = random_output(random);
    const auto exact = resized(picture, output);
    std::vector<uint16_t> rounded(exact.size());
    Resizer().resize(picture,
                     output,
                     {PixelType::kBfloat16,
                      output.window.height,
                      output.window.width,
                      reinterpret_cast<std::byte*>(rounded.data())});
    for (size_t i = 0; i < exact.size(); ++i) {
      const double ulp = std::exp2(std::floor(std::log2(std::abs(exact[i]) + 1e-30)) - 7);
      const auto value = __builtin_bit_cast(float, uint32_t{rounded[i]} << 16);
      ASSERT_LE(std::abs(value - exact[i]), ulp / 2) << exact[i];
    }
  }
  EXPECT_EQ(internal::to_bfloat16(1.0F), 0x3f80);
  EXPECT_EQ(internal::to_bfloat16(__builtin_bit_cast(float, 0x3f808000U)), 0x3f80);  // a tie
  EXPECT_EQ(internal::to_bfloat16(__builtin_bit_cast(float, 0x3f818000U)), 0x3f82);  // a tie
  EXPECT_EQ(internal::to_bfloat16(__builtin_bit_cast(float, 0x3f808001U)), 0x3f81);
}

TEST(Resize, a_window_is_a_part_of_the_whole_and_repeats_the_edge_beyond_it) {
  const Picture picture = noise(37, 23, 1);
  KeyedRandom random(5);
  for (int round = 0; round < 60; ++round) {
    auto output = random_output(random);
    output.scaled = round % 3 == 0 ? ImageSize{61, 40} : output.scaled;
    const auto [width, height] = output.scaled;
    auto everything = output;
    everything.left = everything.top = 0;
    everything.window = output.scaled;
    everything.flip = false;
    const auto whole = resized(picture, everything);
    const auto part = resized(picture, output);
    for (int y = 0; y < output.window.height; ++y) {
      for (int x = 0; x < output.window.width; ++x) {
        const int upright = output.flip ? output.window.width - 1 - x : x;
        const int from_x = std::clamp(output.left + upright, 0, width - 1);
        const int from_y = std::clamp(output.top + y, 0, height - 1);
        // Beyond it the source's edge is repeated, which a shrunk picture's edge is not.
        const bool inside = from_x == output.left + upright && from_y == output.top + y;
        if (!inside && (width < picture.width || height < picture.height)) continue;
        for (int c = 0; c < 3; ++c) {
          ASSERT_NEAR(part[static_cast<size_t>((y * output.window.width + x) * 3 + c)],
                      whole[static_cast<size_t>((from_y * width + from_x) * 3 + c)],
                      1e-4)
              << round << ": " << x << "," << y;
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
  const auto pixels = resized(picture,
                              {.scaled = {1, 1},
                               .window = {1, 1},
                               .scale = {2, 1, 1},
                               .offset = {1, 0, 3},
                               .colour = colour});
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
    const Resizer::Output output = {.scaled = {25, 20}, .window = {25, 20}, .flip = side == 3};
    std::vector<float> again(size_t{25} * 3 * 20);
    used.resize(
        picture, output, {PixelType::kFloat32, 20, 25, reinterpret_cast<std::byte*>(again.data())});
    EXPECT_EQ(again, resized(picture, output));
  }
}

}  // namespace
}  // namespace atl::dataset
