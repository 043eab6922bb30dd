// Reading with libpng, row by row; private to this room.
//
// libpng reports errors by not returning: as in image_jpeg.cpp, each call stands in a small member
// function that holds no object with a destructor, and returns false; error() then says why.
#pragma once

#include <png.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"

namespace atl::dataset {

class PngErrors {
 public:
  tl::unexpected<Error> error() const;

 protected:
  // For png_create_read_struct and its like, with a PngErrors* as the pointer.
  [[noreturn]] static void note_error(png_structp png, png_const_charp message);
  static void ignore_warning(png_structp, png_const_charp) {}

 private:
  char message_[128] = "out of memory";
};

class PngReader : public PngErrors {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {}
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // Reads the header. `transform` asks libpng for the form of the pixels.
  bool start(void (*transform)(png_structp));
  // The next one; of an interlaced file passes() times all rows, in the same memory.
  bool read_row(uint8_t* row);

  // After start().
  uint32_t width() const { return png_get_image_width(png_, info_); }
  uint32_t height() const { return png_get_image_height(png_, info_); }
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  int passes() const { return passes_; }

 private:
  static void read_bytes(png_structp png, png_bytep out, size_t count);

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
};

}  // namespace atl::dataset
