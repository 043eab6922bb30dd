// A PNG goes row by row, an RLE column by column. What is carried over is where a pixel differs
// from the one above it: few places, the outline's, found by comparing two rows eight pixels at a
// time. Sorted by column they are the runs, so the bitmap of a mask is never held.
//
// libpng reports errors by not returning, see png_reader.h.
#include "dataset/tfrecord_mask.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "dataset/png_reader.h"
#include "dataset/rle_runs.h"

namespace atl::dataset {
namespace {

// Deflate's level 1 with matches of distance 1 alone: what Z_RLE is made for. A mask's rows are
// nearly those above them, so after the filter "up" they are nearly all zeros.
constexpr int kCompressionLevel = 1;
constexpr int kZlibRunsOnly = 3;  // Z_RLE

// 16 million changes are far more than an outline has, and 128 MB.
constexpr size_t kMaxChanges = size_t{1} << 24;
// Interlaced pictures have to be held whole.
constexpr uint64_t kMaxInterlacedBytes = uint64_t{1} << 28;

// A pixel has 1 to 6 bytes, all 0 where it is black.
void to_whole_bytes(png_structp png) {
  png_set_packing(png);
  png_set_palette_to_rgb(png);
  png_set_strip_alpha(png);
}

class MaskWriter : public PngErrors {
 public:
  MaskWriter() = default;
  MaskWriter(const MaskWriter&) = delete;
  MaskWriter& operator=(const MaskWriter&) = delete;
  ~MaskWriter() { png_destroy_write_struct(&png_, &info_); }

  bool write(const std::vector<uint8_t>& row_major, uint32_t height, uint32_t width) {
    png_ = png_create_write_struct(
        PNG_LIBPNG_VER_STRING, static_cast<PngErrors*>(this), note_error, ignore_warning);
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_write_fn(png_, this, append, flush);
    png_set_IHDR(png_,
                 info_,
                 width,
                 height,
                 8,
                 PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_filter(png_, PNG_FILTER_TYPE_BASE, PNG_FILTER_UP);
    png_set_compression_level(png_, kCompressionLevel);
    png_set_compression_strategy(png_, kZlibRunsOnly);
    png_write_info(png_, info_);
    for (uint32_t y = 0; y < height; ++y) {
      png_write_row(png_, row_major.data() + size_t{y} * width);
    }
    png_write_end(png_, info_);
    return true;
  }
  std::string take() { return std::move(file_); }

 private:
  // Called by libpng, through which nothing may be thrown: there is no memory left, or there is.
  static void append(png_structp png, png_bytep bytes, size_t count) noexcept {
    static_cast<MaskWriter*>(png_get_io_ptr(png))
        ->file_.append(reinterpret_cast<const char*>(bytes), count);
  }
  static void flush(png_structp) {}

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::string file_;
};

// Where a pixel differs from the one above it; the row above the first is background.
class Outline {
 public:
  explicit Outline(uint32_t width) : above_(width) {}

  // One row, a byte each pixel, 0 or 1. False: too many changes.
  bool add_row(const std::vector<uint8_t>& row, uint32_t y) {
    const size_t width = row.size();
    size_t x = 0;
    for (; x + 8 <= width; x += 8) {
      uint64_t now = 0;
      uint64_t before = 0;
      std::memcpy(&now, row.data() + x, 8);
      std::memcpy(&before, above_.data() + x, 8);
      if (now == before) continue;
      for (size_t i = x; i < x + 8; ++i) note(row, i, y);
    }
    for (; x < width; ++x) note(row, x, y);
    above_ = row;
    return changes_.size() <= kMaxChanges;
  }

  Rle finish(uint32_t height) {
    const auto width = static_cast<uint32_t>(above_.size());
    // Rows came in order, so that a stable sort by column leaves them in order.
    std::vector<size_t> begin(width + size_t{1});
    for (const Change& change : changes_) ++begin[change.x + size_t{1}];
    for (size_t x = 0; x < width; ++x) begin[x + 1] += begin[x];
    std::vector<uint32_t> rows(changes_.size());
    std::vector<size_t> next(begin.begin(), begin.end() - 1);
    for (const Change& change : changes_) rows[next[change.x]++] = change.y;

    Rle mask{height, width, {}};
    internal::RunWriter writer(mask.counts);
    for (uint32_t x = 0; x < width; ++x) {
      const uint64_t column = uint64_t{x} * height;
      for (size_t i = begin[x]; i < begin[x + size_t{1}]; i += 2) {
        const bool closed = i + 1 < begin[x + size_t{1}];
        writer.foreground(column + rows[i], column + (closed ? rows[i + 1] : height));
      }
    }
    writer.finish(uint64_t{height} * width);
    return mask;
  }

 private:
  struct Change {
    uint32_t x;
    uint32_t y;
  };
  void note(const std::vector<uint8_t>& row, size_t x, uint32_t y) {
    if (row[x] != above_[x]) changes_.push_back({static_cast<uint32_t>(x), y});
  }

  std::vector<uint8_t> above_;
  std::vector<Change> changes_;
};

// Pixels of several bytes to one: whether any is not 0.
void to_foreground(std::span<const uint8_t> bytes, std::vector<uint8_t>& row) {
  const size_t pixel_bytes = bytes.size() / row.size();
  if (pixel_bytes == 1) {
    for (size_t x = 0; x < row.size(); ++x) row[x] = bytes[x] != 0 ? 1 : 0;
    return;
  }
  for (size_t x = 0; x < row.size(); ++x) {
    const auto pixel = bytes.subspan(x * pixel_bytes, pixel_bytes);
    row[x] = std::ranges::any_of(pixel, [](uint8_t byte) { return byte != 0; }) ? 1 : 0;
  }
}

tl::unexpected<Error> too_ragged() {
  return fail(ErrorCode::kInvalidInput, fmt::format("a mask with more than {} runs", kMaxChanges));
}

Result<Rle> read_rows(PngReader& reader) {
  const uint32_t height = reader.height();
  const uint32_t width = reader.width();
  std::vector<uint8_t> bytes(reader.row_bytes());
  std::vector<uint8_t> row(width);
  Outline outline(width);
  for (uint32_t y = 0; y < height; ++y) {
    if (!reader.read_row(bytes.data())) return reader.error();
    to_foreground(bytes, row);
    if (!outline.add_row(row, y)) return too_ragged();
  }
  return outline.finish(height);
}

Result<Rle> read_interlaced(PngReader& reader) {
  const uint32_t height = reader.height();
  const size_t row_bytes = reader.row_bytes();
  if (uint64_t{height} * row_bytes > kMaxInterlacedBytes) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("an interlaced mask of {} rows of {} bytes", height, row_bytes));
  }
  std::vector<uint8_t> bytes(height * row_bytes);
  for (int pass = 0; pass < reader.passes(); ++pass) {
    for (uint32_t y = 0; y < height; ++y) {
      if (!reader.read_row(bytes.data() + y * row_bytes)) return reader.error();
    }
  }
  std::vector<uint8_t> row(reader.width());
  Outline outline(reader.width());
  for (uint32_t y = 0; y < height; ++y) {
    to_foreground(std::span(bytes).subspan(y * row_bytes, row_bytes), row);
    if (!outline.add_row(row, y)) return too_ragged();
  }
  return outline.finish(height);
}

}  // namespace

Result<std::string> mask_to_png(const Rle& mask) {
  const uint32_t height = mask.height;
  const uint32_t width = mask.width;
  ATOLL_CHECK(height > 0 && width > 0) << height << " x " << width;
  std::vector<uint8_t> row_major(size_t{height} * width);
  for (internal::ForegroundRuns run(mask); !run.done(); run.next()) {
    uint64_t x = run.begin() / height;
    uint64_t y = run.begin() % height;
    for (uint64_t at = run.begin(); at < run.end(); ++at) {
      row_major[y * width + x] = 1;
      if (++y == height) {
        y = 0;
        ++x;
      }
    }
  }
  MaskWriter writer;
  if (!writer.write(row_major, height, width)) return writer.error();
  return writer.take();
}

Result<Rle> mask_from_png(std::string_view png, uint32_t height, uint32_t width) {
  PngReader reader(std::as_bytes(std::span(png)));
  if (!reader.start(to_whole_bytes)) return reader.error();
  if (reader.height() != height || reader.width() != width || !rle_size_fits(height, width)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("the mask is {} x {}, the image {} x {} (width x height)",
                            reader.width(),
                            reader.height(),
                            width,
                            height));
  }
  return reader.passes() == 1 ? read_rows(reader) : read_interlaced(reader);
}

}  // namespace atl::dataset
