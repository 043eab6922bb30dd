#include <png.h>

#include <cstring>
#include <string>

#include "dataset/exif.h"
#include "dataset/image_codecs.h"
#include "dataset/png_reader.h"

namespace atl::dataset {
namespace {

// Signature 8, then chunks of: length 4, name 4, data, checksum 4. IHDR comes first, 13 bytes of
// data.
constexpr size_t kFirstChunkEnd = 8 + 12 + 13;

void to_rgb(png_structp png) {
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
}

}  // namespace

Result<ImageHeader> read_png_header(std::span<const std::byte> file) {
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(file[at + i]);
    return value;
  };
  const auto named = [&](size_t at, const char* name) {
    return std::memcmp(file.data() + at, name, 4) == 0;
  };
  if (file.size() < kFirstChunkEnd) return fail(ErrorCode::kInvalidInput, "PNG: truncated");
  if (number(8) != 13 || !named(12, "IHDR")) {
    return fail(ErrorCode::kInvalidInput, "PNG: the first chunk is no header");
  }
  ImageHeader header{ImageHeader::Format::kPng, {}, 1};
  if (number(16) > PNG_UINT_31_MAX || number(20) > PNG_UINT_31_MAX) {
    return fail(ErrorCode::kInvalidInput, "PNG: a side of more than 2^31 pixels");
  }
  header.stored = {static_cast<int>(number(16)), static_cast<int>(number(20))};
  for (size_t at = kFirstChunkEnd; file.size() - at >= 12;) {
    const size_t length = number(at);
    if (named(at + 4, "IDAT") || file.size() - at - 12 < length) break;
    if (named(at + 4, "eXIf")) {
      header.exif_orientation = exif_orientation(file.subspan(at + 8, length));
    }
    at += 12 + length;
  }
  return header;
}

Result<void> decode_png(std::span<const std::byte> file, ImageSize size, std::span<uint8_t> rgb) {
  PngReader reader(file);
  if (!reader.start(to_rgb)) return reader.error();
  const size_t row_bytes = reader.row_bytes();
  if (reader.width() != static_cast<uint32_t>(size.width) ||
      reader.height() != static_cast<uint32_t>(size.height) ||
      row_bytes != static_cast<size_t>(size.width) * 3) {
    return fail(ErrorCode::kInvalidInput, "PNG: a second header");
  }
  for (int pass = 0; pass < reader.passes(); ++pass) {
    for (size_t y = 0; y < static_cast<size_t>(size.height); ++y) {
      if (!reader.read_row(rgb.data() + y * row_bytes)) return reader.error();
    }
  }
  return {};
}

Result<std::vector<std::byte>> encode_png(const Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = PNG_FORMAT_RGB;
  const auto failure = [&] {
    return fail(ErrorCode::kInvalidInput, std::string("writing a PNG: ") + image.message);
  };
  if (picture.width <= 0 || picture.height <= 0) {
    return fail(ErrorCode::kInvalidInput, "writing a PNG: no pixels");
  }
  png_alloc_size_t size_bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::byte> file(size_bytes);
  if (png_image_write_to_memory(
          &image, file.data(), &size_bytes, 0, picture.rgb.data(), 0, nullptr) == 0) {
    return failure();
  }
  file.resize(size_bytes);
  return file;
}

}  // namespace atl::dataset
