#include "dataset/png_reader.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

namespace atl::dataset {
namespace {

constexpr png_alloc_size_t kMaxChunkBytes = png_alloc_size_t{1} << 24;

}  // namespace

tl::unexpected<Error> PngErrors::error() const {
  return fail(ErrorCode::kInvalidInput, std::string("PNG: ") + message_);
}

void PngErrors::note_error(png_structp png, png_const_charp message) {
  auto* self = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(self->message_, sizeof self->message_, "%s", message);
  png_longjmp(png, 1);
}

bool PngReader::start(void (*transform)(png_structp)) {
  png_ = png_create_read_struct(
      PNG_LIBPNG_VER_STRING, static_cast<PngErrors*>(this), note_error, ignore_warning);
  if (png_ == nullptr) return false;
  info_ = png_create_info_struct(png_);
  if (info_ == nullptr) return false;
  if (setjmp(png_jmpbuf(png_)) != 0) return false;
  png_set_read_fn(png_, this, read_bytes);
  // Text and profiles are of no use here, and are where small files hide much memory.
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
  png_set_chunk_malloc_max(png_, kMaxChunkBytes);
  png_read_info(png_, info_);
  transform(png_);
  passes_ = png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  return true;
}

bool PngReader::read_row(uint8_t* row) {
  if (setjmp(png_jmpbuf(png_)) != 0) return false;
  png_read_row(png_, row, nullptr);
  return true;
}

void PngReader::read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > self->rest_.size()) png_error(png, "truncated");
  std::memcpy(out, self->rest_.data(), count);
  self->rest_ = self->rest_.subspan(count);
}

}  // namespace atl::dataset
