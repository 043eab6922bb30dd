// Decoding and resizing pictures. Plain 8-bit RGB buffers, rows top to bottom, no padding.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace atl::dataset {

struct ImageSize {
  int width = 0;
  int height = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // (height, width, 3)
};

// r, g, b in 0..255 become matrix * (r, g, b) + offset, clamped to 0..255.
struct ColourTransform {
  std::array<float, 9> matrix = {1, 0, 0, 0, 1, 0, 0, 0, 1};  // row by row: red's, green's, blue's
  std::array<float, 3> offset = {};
  bool is_identity() const { return *this == ColourTransform{}; }
  friend bool operator==(const ColourTransform&, const ColourTransform&) = default;
};

struct ImageHeader {
  enum class Format { kJpeg, kPng };
  Format format = Format::kJpeg;
  ImageSize stored;          // as stored in the file
  int exif_orientation = 1;  // 1..8
};

// Width, height, format and EXIF orientation from the first bytes, without decoding.
Result<ImageHeader> read_image_header(std::span<const std::byte> file);

// A file that claims more is refused before anything is allocated: 2^28 px are 805 MB of RGB.
inline constexpr int64_t kMaxPixels = int64_t{1} << 28;

// JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline and progressive) and PNG (grey, palette, alpha, 16
// bits), to the same bytes as Pillow's open(...).convert("RGB"): grey is replicated, alpha dropped,
// CMYK inverted and multiplied out. Of 16 bits the upper 8 are kept, also for grey (where Pillow
// clips to 255 instead, which turns such pictures white).
// `expected`: the JSON's width and height. EXIF orientation is applied when, and only when, it
// makes the picture match `expected` and the stored form does not. A picture that matches neither
// way is an error (kInvalidInput) that names both sizes; {} accepts any size and applies no
// orientation. Truncated data and pictures over `max_pixels` are errors (kInvalidInput), and so is
// data that is damaged but for what Pillow tolerates, too (a JPEG's missing end marker, for one).
Result<Picture> decode_image(std::span<const std::byte> file,
                             ImageSize expected = {},
                             int64_t max_pixels = kMaxPixels);
// The same into a picture whose buffer is used again; after an error its contents are unspecified.
Result<void> decode_image_into(std::span<const std::byte> file,
                               ImageSize expected,
                               int64_t max_pixels,
                               Picture& into);

Result<std::vector<std::byte>> encode_jpeg(const Picture& picture, int quality = 90);
Result<std::vector<std::byte>> encode_png(const Picture& picture);

// The size after scaling the shorter side to min_px, but the longer at most max_px, as
// torchvision's GeneralizedRCNNTransform computes it: floor(side * scale) in float64. At least 1
// px.
ImageSize resized_size(ImageSize size, int min_px, int max_px);

// Bilinear, as torch's interpolate(align_corners=False, antialias=False) on float, rounded to the
// nearest integer: within 0.5/255 of it. rgb: (height, width, 3). The loader's way, which flips and
// normalises in the same pass, is dataset/resize.h.
void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb);

}  // namespace atl::dataset
