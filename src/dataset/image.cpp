#include "dataset/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "dataset/exif.h"
#include "dataset/image_codecs.h"

namespace atl::dataset {
namespace {

constexpr std::array<unsigned char, 2> kJpegStart = {0xff, 0xd8};

constexpr std::array<unsigned char, 8> kPngSignature = {
    0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

template <size_t kSize>
bool begins_with(std::span<const std::byte> file, const std::array<unsigned char, kSize>& start) {
  return file.size() >= kSize &&
         std::equal(start.begin(), start.end(), file.begin(), [](unsigned char a, std::byte b) {
           return static_cast<std::byte>(a) == b;
         });
}

}  // namespace

Result<ImageHeader> read_image_header(std::span<const std::byte> file) {
  if (file.empty()) return fail(ErrorCode::kInvalidInput, "empty file");
  const auto read = [&]() -> Result<ImageHeader> {
    if (begins_with(file, kJpegStart)) return read_jpeg_header(file);
    if (begins_with(file, kPngSignature)) return read_png_header(file);
    return fail(ErrorCode::kInvalidInput, "neither JPEG nor PNG");
  };
  ImageHeader header = ATOLL_TRY(read());
  if (header.stored.width <= 0 || header.stored.height <= 0) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("a picture of {}x{} pixels", header.stored.width, header.stored.height));
  }
  return header;
}

Result<void> decode_image_part(std::span<const std::byte> file,
                               ImageSize expected,
                               const WantedPart& wanted,
                               int64_t max_pixels,
                               PicturePart& into) {
  const ImageHeader header = ATOLL_TRY(read_image_header(file));
  const ImageSize stored = header.stored;
  const bool turn = expected != ImageSize{} && stored != expected &&
                    oriented_size(stored, header.exif_orientation) == expected;
  if (expected != ImageSize{} && stored != expected && !turn) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("the picture has {}x{} pixels, but the annotations say {}x{}",
                            stored.width,
                            stored.height,
                            expected.width,
                            expected.height),
                "correct width and height in the annotations, or restore the original picture");
  }
  const int64_t pixels = int64_t{stored.width} * stored.height;
  if (pixels > max_pixels) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{}x{} pixels are more than the limit of {}", stored.width, stored.height, max_pixels));
  }
  into.whole = stored;
  into.shrink = 1;
  into.left = into.top = 0;
  if (header.format == ImageHeader::Format::kJpeg) {
    ATOLL_TRY(decode_jpeg(file, stored, turn ? WantedPart{} : wanted, into));
  } else {
    into.picture.width = stored.width;
    into.picture.height = stored.height;
    into.picture.rgb.resize(static_cast<size_t>(pixels) * 3);
    ATOLL_TRY(decode_png(file, stored, into.picture.rgb));
  }
  if (turn) {
    into.picture = apply_orientation(into.picture, header.exif_orientation);
    into.whole = expected;
  }
  return {};
}

bool is_bad_image(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidInput:
    case ErrorCode::kNotFound:
    case ErrorCode::kInconsistent:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
      return true;
    default:
      return false;
  }
}

Result<Picture> decode_image(std::span<const std::byte> file,
                             ImageSize expected,
                             int64_t max_pixels) {
  PicturePart whole;
  ATOLL_TRY(decode_image_part(file, expected, {}, max_pixels, whole));
  return std::move(whole.picture);
}

ImageSize resized_size(ImageSize size, int min_px, int max_px) {
  const double shorter = std::min(size.width, size.height);
  const double longer = std::max(size.width, size.height);
  const double scale = std::min(min_px / shorter, max_px / longer);
  const auto scaled = [scale](int side) { return std::max(1, static_cast<int>(side * scale)); };
  return {scaled(size.width), scaled(size.height)};
}

}  // namespace atl::dataset
