#include "dataset/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

// Smooth, so that JPEG keeps it almost as it is.
Picture gradient(int width, int height) {
  Picture picture{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.rgb.push_back(static_cast<uint8_t>(255 * x / width));
      picture.rgb.push_back(static_cast<uint8_t>(255 * y / height));
      picture.rgb.push_back(static_cast<uint8_t>(128 + 60 * std::sin(0.1 * (x + y))));
    }
  }
  return picture;
}

Picture noise(int width, int height) {
  Picture picture{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  KeyedRandom random(1);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random.below(256));
  return picture;
}

double mean_difference(const Picture& a, const Picture& b) {
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(a.rgb[i] - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

// Puts an APP1 segment with this EXIF orientation behind the start marker.
Bytes with_orientation(const Bytes& jpeg, int orientation) {
  const unsigned char segment[] = {
      0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,
      'M',  'M',  0, 42, 0,   0,   0,   8,   0, 1,
      0x01, 0x12, 0, 3,  0,   0,   0,   1,   0, static_cast<unsigned char>(orientation),
      0,    0,    0, 0,  0,   0};
  Bytes result(jpeg.begin(), jpeg.begin() + 2);
  for (const unsigned char value : segment) result.push_back(static_cast<std::byte>(value));
  result.insert(result.end(), jpeg.begin() + 2, jpeg.end());
  return result;
}

std::string error_of(const Result<Picture>& result) {
  return result ? "no error" : result.error().to_string();
}

TEST(Image, a_png_comes_back_bit_for_bit) {
  for (const ImageSize size : {ImageSize{1, 1}, {7, 5}, {200, 3}}) {
    const Picture picture = noise(size.width, size.height);
    const Bytes file = encode_png(picture).value();
    const Picture decoded = decode_image(file).value();
    EXPECT_EQ(decoded.width, size.width);
    EXPECT_EQ(decoded.height, size.height);
    EXPECT_EQ(decoded.rgb, picture.rgb);
    EXPECT_EQ(read_image_header(file)->format, ImageHeader::Format::kPng);
    EXPECT_EQ(read_image_header(file)->stored, size);
  }
}

TEST(Image, a_jpeg_comes_back_nearly) {
  const Picture picture = gradient(123, 77);
  const Bytes file = encode_jpeg(picture, 95).value();
  const Picture decoded = decode_image(file).value();
  EXPECT_EQ(decoded.width, 123);
  EXPECT_EQ(decoded.height, 77);
  EXPECT_LT(mean_difference(picture, decoded), 2.0);
  EXPECT_LT(encode_jpeg(picture, 30)->size(), file.size());
  EXPECT_EQ(read_image_header(file)->stored, (ImageSize{123, 77}));
  EXPECT_EQ(read_image_header(file)->exif_orientation, 1);
}

TEST(Image, a_jpegs_comment_stands_in_its_beginning_and_changes_no_pixel) {
  const Picture picture = gradient(60, 40);
  const Bytes plain = encode_jpeg(picture).value();
  const Bytes marked = encode_jpeg(picture, 90, "drawn by a test").value();
  EXPECT_EQ(marked.size(), plain.size() + 4 + 15);
  const std::string_view text(reinterpret_cast<const char*>(marked.data()), marked.size());
  EXPECT_EQ(text.substr(24, 15), "drawn by a test");
  EXPECT_EQ(decode_image(marked)->rgb, decode_image(plain)->rgb);
}

TEST(Image, orientation_is_applied_only_when_it_makes_the_picture_match) {
  const Picture picture = gradient(60, 40);
  const Bytes plain = encode_jpeg(picture, 95).value();
  const Bytes turned = with_orientation(plain, 6);
  const Picture stored = decode_image(plain).value();
  EXPECT_EQ(read_image_header(turned)->exif_orientation, 6);
  // The stored form matches, or nothing is expected: nothing is turned.
  EXPECT_EQ(decode_image(turned, {60, 40})->rgb, stored.rgb);
  EXPECT_EQ(decode_image(turned)->rgb, stored.rgb);
  // Turned clockwise: the new top right corner is the stored top left one.
  const Picture upright = decode_image(turned, {40, 60}).value();
  EXPECT_EQ(upright.width, 40);
  EXPECT_EQ(upright.height, 60);
  EXPECT_TRUE(std::equal(stored.rgb.begin(), stored.rgb.begin() + 3, &upright.rgb[39 * 3]));
  EXPECT_EQ(upright.rgb.size(), stored.rgb.size());
}

TEST(Image, a_picture_of_another_size_is_an_error_that_names_both) {
  const Bytes file = encode_jpeg(gradient(60, 40)).value();
  const std::string error = error_of(decode_image(file, {41, 60}));
  EXPECT_THAT(error, HasSubstr("60x40"));
  EXPECT_THAT(error, HasSubstr("41x60"));
  EXPECT_EQ(decode_image(file, {41, 60}).error().code, ErrorCode::kInvalidInput);
  // An orientation that does not help is named no further.
  EXPECT_FALSE(decode_image(with_orientation(file, 3), {40, 60}));
}

TEST(Image, every_truncation_is_an_error) {
  const Picture picture = noise(40, 30);
  const Bytes jpeg = encode_jpeg(picture).value();
  const Bytes png = encode_png(picture).value();
  // A JPEG is whole without its end marker (2 bytes) but for the last, byte-aligned bits; a PNG's
  // pixels end before the end chunk (12 bytes), the data's own checksum being part of them.
  for (size_t size = 0; size + 4 < jpeg.size(); size += 7) {
    EXPECT_FALSE(decode_image(std::span(jpeg).first(size))) << size << " of " << jpeg.size();
  }
  for (size_t size = 0; size + 28 < png.size(); size += 7) {
    EXPECT_FALSE(decode_image(std::span(png).first(size))) << size << " of " << png.size();
  }
  EXPECT_THAT(error_of(decode_image(std::span(jpeg).first(jpeg.size() / 2))),
              HasSubstr("truncated"));
  EXPECT_THAT(error_of(decode_image(std::span(png).first(png.size() / 2))), HasSubstr("truncated"));
}

TEST(Image, what_is_no_picture_is_named_so) {
  EXPECT_THAT(error_of(decode_image({})), HasSubstr("empty file"));
  const std::string text = "<html>404 not found</html>";
  EXPECT_THAT(error_of(decode_image(std::as_bytes(std::span(text)))),
              HasSubstr("neither JPEG nor PNG"));
  Bytes png = encode_png(noise(20, 20)).value();
  png[60] ^= std::byte{0xff};  // image data: the checksum no longer fits
  EXPECT_FALSE(decode_image(png));
}

// Rewrites the sides in the headers of small files.
TEST(Image, a_bomb_and_an_empty_picture_are_refused_before_decoding) {
  Bytes png = encode_png(noise(4, 4)).value();
  png[16] = std::byte{0x10};  // width 2^28 + 4
  EXPECT_THAT(error_of(decode_image(png)), HasSubstr("more than the limit of 268435456"));
  png[16] = std::byte{0};
  png[19] = std::byte{0};
  EXPECT_THAT(error_of(decode_image(png)), HasSubstr("0x4"));

  Bytes jpeg = encode_jpeg(noise(4, 4)).value();
  constexpr std::byte kFrameMarker[] = {std::byte{0xff}, std::byte{0xc0}};
  const auto frame =
      std::search(jpeg.begin(), jpeg.end(), std::begin(kFrameMarker), std::end(kFrameMarker));
  ASSERT_NE(frame, jpeg.end());
  std::fill(frame + 5, frame + 9, std::byte{0xff});
  EXPECT_THAT(error_of(decode_image(jpeg)), HasSubstr("65535x65535"));
  std::fill(frame + 5, frame + 9, std::byte{0});
  EXPECT_THAT(error_of(decode_image(jpeg)), HasSubstr("0x0"));
  EXPECT_FALSE(decode_image(encode_png(noise(10, 10)).value(), {}, 99));
  EXPECT_TRUE(decode_image(encode_png(noise(10, 10)).value(), {}, 100));
}

// A PNG of any pixel layout, by libpng's simplified writer.
Bytes png_of(png_uint_32 format,
             ImageSize size,
             const void* pixels,
             const void* colormap = nullptr,
             unsigned colors = 0) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(size.width);
  image.height = static_cast<png_uint_32>(size.height);
  image.format = format;
  image.colormap_entries = colors;
  Bytes file(1 << 16);
  png_alloc_size_t size_bytes = file.size();
  EXPECT_NE(png_image_write_to_memory(&image, file.data(), &size_bytes, 0, pixels, 0, colormap), 0)
      << image.message;
  file.resize(size_bytes);
  return file;
}

TEST(Image, a_png_with_grey_alpha_or_a_palette_becomes_rgb) {
  const uint8_t grey[] = {0, 100, 200, 255};
  const std::vector<uint8_t> grey_rgb = {0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255};
  EXPECT_EQ(decode_image(png_of(PNG_FORMAT_GRAY, {2, 2}, grey))->rgb, grey_rgb);

  const uint8_t rgba[] = {10, 20, 30, 0, 40, 50, 60, 128};
  const std::vector<uint8_t> opaque = {10, 20, 30, 40, 50, 60};
  EXPECT_EQ(decode_image(png_of(PNG_FORMAT_RGBA, {2, 1}, rgba))->rgb, opaque);

  const uint8_t palette[] = {1, 2, 3, 255, 0, 0};
  const uint8_t indices[] = {1, 0, 1};
  const std::vector<uint8_t> colours = {255, 0, 0, 1, 2, 3, 255, 0, 0};
  EXPECT_EQ(decode_image(png_of(PNG_FORMAT_RGB_COLORMAP, {3, 1}, indices, palette, 2))->rgb,
            colours);
}

TEST(Image, of_sixteen_bits_the_upper_eight_are_kept) {
  // libpng's "linear" formats are 16 bits a channel, written as they stand.
  const uint16_t grey[] = {0x12ff, 0xff00, 0x00fe};
  const std::vector<uint8_t> upper = {0x12, 0x12, 0x12, 0xff, 0xff, 0xff, 0, 0, 0};
  EXPECT_EQ(decode_image(png_of(PNG_FORMAT_LINEAR_Y, {3, 1}, grey))->rgb, upper);
  const uint16_t rgb[] = {0x0102, 0x0380, 0xfeff};
  EXPECT_EQ(decode_image(png_of(PNG_FORMAT_LINEAR_RGB, {1, 1}, rgb))->rgb,
            (std::vector<uint8_t>{1, 3, 0xfe}));
}

std::vector<uint8_t> from_hex(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// CMYK, YCCK and RGB JPEGs, interlaced, 16-bit and narrow PNGs: reference/image_goldens.py.
TEST(Image, the_rarer_sorts_of_files_have_the_pixels_that_pillow_finds) {
  std::ifstream stream(ATOLL_SOURCE_DIR "/reference/goldens/images.json");
  const auto goldens = nlohmann::json::parse(stream);
  const int width = goldens["source"]["width"];
  const int height = goldens["source"]["height"];
  ASSERT_GE(goldens["cases"].size(), 20U);
  for (const auto& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const auto file = from_hex(golden["file"]);
    const auto picture = decode_image(std::as_bytes(std::span(file)), {width, height});
    ASSERT_TRUE(picture.has_value()) << picture.error().to_string();
    const auto expected = from_hex(golden["rgb"]);
    ASSERT_EQ(picture->rgb.size(), expected.size());
    int differing = 0;
    int largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const int difference = std::abs(picture->rgb[i] - expected[i]);
      differing += difference != 0 ? 1 : 0;
      largest = std::max(largest, difference);
    }
    EXPECT_EQ(differing, 0) << "of " << expected.size() << " values, by up to " << largest;
  }
}

// Sizes that torchvision's transform gives: min(800 / shorter, 1333 / longer) in float64, then
// floor(side * scale); the awkward ones are where float32 would give another pixel.
TEST(Image, resized_sizes_are_torchvisions) {
  struct Case {
    ImageSize size;
    int min_px;
    int max_px;
    ImageSize resized;
  };
  const Case cases[] = {
      {{640, 200}, 800, 1333, {1333, 416}}, {{1024, 683}, 320, 544, {479, 320}},
      {{128, 128}, 128, 128, {128, 128}},   {{500, 375}, 320, 544, {426, 320}},
      {{640, 427}, 800, 1333, {1199, 800}}, {{480, 640}, 800, 1333, {800, 1066}},
      {{640, 480}, 800, 1333, {1066, 800}}, {{550, 1067}, 640, 1333, {640, 1241}},
      {{849, 641}, 640, 1333, {847, 640}},  {{1053, 305}, 128, 128, {128, 37}},
      {{655, 222}, 800, 1333, {1332, 451}}, {{696, 986}, 800, 1333, {800, 1133}},
      {{744, 909}, 128, 128, {104, 128}},   {{1271, 438}, 640, 1333, {1333, 459}},
      {{926, 1087}, 128, 128, {109, 128}},  {{211, 836}, 800, 1333, {336, 1333}},
      {{411, 1182}, 320, 544, {189, 544}},  {{508, 311}, 640, 1333, {1045, 640}},
      {{206, 184}, 128, 128, {127, 114}},   {{1060, 1022}, 800, 1333, {829, 800}},
      {{669, 1198}, 320, 544, {303, 544}},  {{614, 396}, 320, 544, {496, 320}},
      {{402, 87}, 128, 128, {128, 27}},     {{995, 161}, 800, 1333, {1333, 215}},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(resized_size(test.size, test.min_px, test.max_px), test.resized)
        << test.size.width << "x" << test.size.height << " at " << test.min_px << "/"
        << test.max_px;
  }
}

TEST(Image, a_resized_side_is_at_least_one_pixel) {
  EXPECT_EQ(resized_size({1, 100000}, 800, 1333), (ImageSize{1, 1333}));
}

TEST(Image, an_unwritable_picture_is_an_error) {
  EXPECT_FALSE(encode_png({}));
  EXPECT_FALSE(encode_jpeg({}));
  EXPECT_FALSE(encode_jpeg(Picture{70000, 1, std::vector<uint8_t>(210000)}));
}

}  // namespace
}  // namespace atl::dataset
