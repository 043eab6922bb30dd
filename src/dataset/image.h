// Decoding and resizing pictures. Plain 8-bit RGB buffers, rows top to bottom, no padding.
#pragma once

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

struct ImageHeader {
  enum class Format { kJpeg, kPng };
  Format format = Format::kJpeg;
  ImageSize stored;           // as stored in the file
  int exif_orientation = 1;   // 1..8
};

// Width, height, format and EXIF orientation from the first bytes, without decoding.
Result<ImageHeader> read_image_header(std::span<const std::byte> file);

// JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline and progressive) and PNG (grey, palette, alpha, 16 bits).
// Grey is replicated, alpha dropped, 16 bits scaled to 8, CMYK converted the way Pillow does.
// `expected`: the JSON's width and height. EXIF orientation is applied when, and only when, it makes
// the picture match `expected` and the stored form does not. A picture that matches neither way is
// an error (kInvalidInput) that names both sizes; {} accepts any size and applies no orientation.
// Truncated data is an error.
Result<Picture> decode_image(std::span<const std::byte> file, ImageSize expected = {});

Result<std::vector<std::byte>> encode_jpeg(const Picture& picture, int quality = 90);
Result<std::vector<std::byte>> encode_png(const Picture& picture);

// The size after scaling the shorter side to min_px, but the longer at most max_px, as
// torchvision's GeneralizedRCNNTransform computes it: floor(side * scale).
ImageSize resized_size(ImageSize size, int min_px, int max_px);

// Bilinear, half-pixel centres, no antialiasing: torch's interpolate(align_corners=False) on float,
// within 1/255 of it. (height, width, 3) uint8.
void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb);

}  // namespace atl::dataset
