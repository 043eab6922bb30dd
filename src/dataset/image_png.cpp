// PNG through libpng, which reports errors by not returning: as in image_jpeg.cpp, each call stands
// in a small member function that holds no object with a destructor.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

#include "dataset/exif.h"
#include "dataset/image_codecs.h"

namespace atl::dataset {
namespace {

// Signature 8, then chunks of: length 4, name 4, data, checksum 4. IHDR comes first, 13 bytes of
// data.
constexpr size_t kFirstChunkEnd = 8 + 12 + 13;

class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::byte> file) : rest_(file) {}
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  bool start() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, note_error, ignore_warning);
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, read_bytes);
    // Text and profiles are of no use here, and are where small files hide much memory.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
    png_set_chunk_malloc_max(png_, png_alloc_size_t{1} << 24);
    png_read_info(png_, info_);
    png_set_strip_16(png_);
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  // The whole picture; `rgb` holds three bytes for each pixel of size().
  bool read(uint8_t* rgb) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    const size_t row_bytes = png_get_rowbytes(png_, info_);
    const png_uint_32 height = png_get_image_height(png_, info_);
    for (int pass = 0; pass < passes_; ++pass) {
      for (png_uint_32 y = 0; y < height; ++y) png_read_row(png_, rgb + y * row_bytes, nullptr);
    }
    return true;
  }

  ImageSize size() const {
    return {static_cast<int>(png_get_image_width(png_, info_)),
            static_cast<int>(png_get_image_height(png_, info_))};
  }
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  tl::unexpected<Error> error() const {
    return fail(ErrorCode::kInvalidInput, std::string("PNG: ") + message_);
  }

 private:
  [[noreturn]] static void note_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof self->message_, "%s", message);
    png_longjmp(png, 1);
  }
  static void ignore_warning(png_structp, png_const_charp) {}
  static void read_bytes(png_structp png, png_bytep out, size_t count) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "truncated");
    std::memcpy(out, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  char message_[128] = "out of memory";
};

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
  PngDecoder decoder(file);
  if (!decoder.start()) return decoder.error();
  if (decoder.size() != size || decoder.row_bytes() != static_cast<size_t>(size.width) * 3) {
    return fail(ErrorCode::kInvalidInput, "PNG: a second header");
  }
  if (!decoder.read(rgb.data())) return decoder.error();
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
