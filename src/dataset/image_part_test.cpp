// Decoding parts of pictures, and shrinking them while decoding.
#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <cmath>
#include <cstdlib>

#include "base/keyed_random.h"
#include "dataset/image.h"

namespace atl::dataset {
namespace {

using Bytes = std::vector<std::byte>;

// Waves of several lengths and a little noise: what shrinking should average, and what chroma
// subsampling blurs.
Picture waves(int width, int height) {
  Picture picture{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  KeyedRandom random(17);
  for (size_t i = 0; i < picture.rgb.size(); ++i) {
    const auto x = static_cast<double>(i / 3 % static_cast<size_t>(width));
    const auto y = static_cast<double>(i / 3 / static_cast<size_t>(width));
    const auto c = static_cast<double>(i % 3);
    const double value =
        128 + 50 * std::sin(x * 0.11 + c) + 40 * std::cos(y * 0.07 - c) + 12 * random.uniform();
    picture.rgb[i] = static_cast<uint8_t>(value);
  }
  return picture;
}

Bytes compressed(const Picture& picture, TJSAMP subsampling, int flags) {
  const tjhandle handle = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size_bytes = 0;
  EXPECT_EQ(tjCompress2(handle,
                        picture.rgb.data(),
                        picture.width,
                        0,
                        picture.height,
                        TJPF_RGB,
                        &bytes,
                        &size_bytes,
                        subsampling,
                        90,
                        flags),
            0);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes);
  Bytes file(begin, begin + size_bytes);
  tjFree(bytes);
  tjDestroy(handle);
  return file;
}

constexpr std::array kSubsamplings = {
    TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411, TJSAMP_GRAY};

TEST(ImagePart, holds_the_very_pixels_of_the_whole) {
  KeyedRandom random(2);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
  };
  PicturePart part;
  PicturePart whole;
  for (int round = 0; round < 240; ++round) {
    const ImageSize size = {between(1, 150), between(1, 150)};
    const auto subsampling = kSubsamplings[random.below(kSubsamplings.size())];
    const int flags = random.below(3) == 0 ? TJFLAG_PROGRESSIVE : 0;
    const Bytes file = compressed(waves(size.width, size.height), subsampling, flags);
    const int shrink = 1 << random.below(4);
    ASSERT_TRUE(decode_image_part(file, size, {shrink, {}}, kMaxPixels, whole));
    const auto [width, height] = shrunk_size(size, shrink);
    ASSERT_EQ(whole.picture.width, width);
    ASSERT_EQ(whole.picture.height, height);
    ASSERT_EQ(whole.whole, size);
    ImageRect wanted;
    wanted.left = between(0, width - 1);
    wanted.top = between(0, height - 1);
    wanted.width = between(1, width - wanted.left);
    wanted.height = between(1, height - wanted.top);
    ASSERT_TRUE(decode_image_part(file, size, {shrink, wanted}, kMaxPixels, part));
    ASSERT_EQ(part.shrink, shrink);
    ASSERT_LE(part.left, wanted.left);
    ASSERT_LE(part.top, wanted.top);
    ASSERT_GE(part.left + part.picture.width, wanted.left + wanted.width);
    ASSERT_GE(part.top + part.picture.height, wanted.top + wanted.height);
    for (int y = wanted.top; y < wanted.top + wanted.height; ++y) {
      for (int x = wanted.left; x < wanted.left + wanted.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          const auto at =
              static_cast<size_t>(((y - part.top) * part.picture.width + x - part.left) * 3 + c);
          ASSERT_EQ(part.picture.rgb[at],
                    whole.picture.rgb[static_cast<size_t>((y * width + x) * 3 + c)])
              << "round " << round << ": " << x << "," << y << " of " << wanted.width << "x"
              << wanted.height << " at " << wanted.left << "," << wanted.top << " of " << width
              << "x" << height << ", subsampling " << subsampling << ", shrunk by " << shrink
              << ", flags " << flags;
        }
      }
    }
  }
}

TEST(ImagePart, shrinking_is_about_the_average_of_squares) {
  const ImageSize size = {203, 149};
  const Bytes file = compressed(waves(size.width, size.height), TJSAMP_444, 0);
  const Picture full = decode_image(file).value();
  PicturePart part;
  for (const int shrink : {2, 4, 8}) {
    ASSERT_TRUE(decode_image_part(file, size, {shrink, {}}, kMaxPixels, part));
    double sum = 0;
    int64_t count = 0;
    // Without the last row and column, whose squares are not whole.
    for (int y = 0; y < size.height / shrink; ++y) {
      for (int x = 0; x < size.width / shrink; ++x) {
        double average = 0;
        for (int i = 0; i < shrink * shrink; ++i) {
          const int from = (y * shrink + i / shrink) * size.width + x * shrink + i % shrink;
          average += full.rgb[static_cast<size_t>(from * 3)];
        }
        average /= shrink * shrink;
        const int at = (y * part.picture.width + x) * 3;
        sum += std::abs(average - part.picture.rgb[static_cast<size_t>(at)]);
        ++count;
      }
    }
    EXPECT_LT(sum / static_cast<double>(count), 1.0) << shrink;
  }
}

TEST(ImagePart, pngs_come_whole) {
  const Picture picture = waves(40, 30);
  const Bytes file = encode_png(picture).value();
  PicturePart part;
  ASSERT_TRUE(decode_image_part(file, {40, 30}, {2, {3, 4, 5, 6}}, kMaxPixels, part));
  EXPECT_EQ(part.shrink, 1);
  EXPECT_EQ(part.left, 0);
  EXPECT_EQ(part.top, 0);
  EXPECT_EQ(part.picture.rgb, picture.rgb);
}

TEST(ImagePart, a_file_cut_off_above_the_parts_end_is_an_error) {
  const Bytes file = compressed(waves(120, 120), TJSAMP_420, 0);
  const std::span<const std::byte> cut(file.data(), file.size() / 2);
  PicturePart part;
  EXPECT_FALSE(decode_image_part(cut, {120, 120}, {1, {0, 100, 120, 20}}, kMaxPixels, part));
  EXPECT_FALSE(decode_image_part(cut, {120, 120}, {}, kMaxPixels, part));
  // After a failure the next one is as good as ever.
  EXPECT_TRUE(decode_image_part(file, {120, 120}, {1, {0, 100, 120, 20}}, kMaxPixels, part));
}

}  // namespace
}  // namespace atl::dataset
