// Decoding and resizing pictures. Plain 8-bit RGB buffers, rows top to bottom, no padding.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
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

// Whether it is the file's fault that it could not be read or decoded, and not the store's.
bool is_bad_image(const Error& error);

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

struct ImageRect {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

// A part of a picture, perhaps shrunk while it was decoded.
struct PicturePart {
  Picture picture;  // its pixels
  ImageSize whole;  // of the picture that it is a part of, before shrinking
  int shrink = 1;   // each pixel stands for a square of so many: 1, 2, 4 or 8
  int left = 0;     // where it begins, in pixels of the shrunk picture
  int top = 0;
};

// What is needed of a picture: at least `part`, in pixels of the picture shrunk by `shrink`. The
// default is all of it.
struct WantedPart {
  int shrink = 1;
  ImageRect part;  // without pixels: the whole
};

// The size of a shrunk picture: rounded up.
constexpr ImageSize shrunk_size(ImageSize size, int shrink) {
  return {(size.width + shrink - 1) / shrink, (size.height + shrink - 1) / shrink};
}

// As decode_image, but only what is wanted, and into a buffer that is used again: a JPEG is decoded
// no further than the part's last row and transformed only around it, to the same pixels as those
// of the whole; damage below goes unseen. Its shrinking averages frequencies, about as averaging
// squares would. PNGs, and what has to be turned, come whole and unshrunk: `into` says what it is.
// After an error its contents are unspecified.
Result<void> decode_image_part(std::span<const std::byte> file,
                               ImageSize expected,
                               const WantedPart& wanted,
                               int64_t max_pixels,
                               PicturePart& into);

// `comment`, of at most 65,533 bytes, stands in the file as it is, right behind its first 24 bytes; "": none.
Result<std::vector<std::byte>> encode_jpeg(const Picture& picture,
                                           int quality = 90,
                                           std::string_view comment = {});
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
