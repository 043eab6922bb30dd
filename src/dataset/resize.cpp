// Vertical first: the two source rows are blended into a row of floats, which is contiguous work
// that the compiler vectorises. Then every target pixel takes two neighbours of that row: four
// floats are loaded, blended and stored at a time, of which the fourth belongs to the next pixel
// and is overwritten by it. Mirroring is a matter of the column table, so it costs nothing.
#include "dataset/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

// Several versions of a function, the best for the machine chosen when the program is loaded. Not
// under the sanitizers, which aren't ready yet when the choice is made, and not with clang 14,
// which lacks the attribute for these targets.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define ATOLL_SIMD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ATOLL_SIMD_CLONES
#endif

namespace atl::dataset {
namespace {

using Float4 = float __attribute__((vector_size(16)));

inline Float4 load(const float* from) {
  Float4 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

ATOLL_SIMD_CLONES void blend_bytes(const uint8_t* __restrict upper,
                                   const uint8_t* __restrict lower,
                                   float weight,
                                   size_t count,
                                   float* __restrict out) {
  const float rest = 1.0F - weight;
  for (size_t i = 0; i < count; ++i) {
    out[i] = rest * static_cast<float>(upper[i]) + weight * static_cast<float>(lower[i]);
  }
}

ATOLL_SIMD_CLONES void round_to_bytes(const float* __restrict from,
                                      size_t count,
                                      uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    // Never negative, so this rounds to nearest, and unlike lround it vectorises.
    // NOLINTNEXTLINE(bugprone-incorrect-roundings)
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(from[i] + 0.5F));
  }
}

// `out` gets width * 3 floats and no more: the last pixel is written by parts.
void blend_columns(const float* row,
                   std::span<const int32_t> first,
                   std::span<const float> weight,
                   Float4 scale,
                   Float4 offset,
                   float* out) {
  const size_t width = first.size();
  for (size_t x = 0; x < width; ++x) {
    const float* from = row + static_cast<ptrdiff_t>(first[x]) * 3;
    const Float4 left = load(from);
    const Float4 right = load(from + 3);
    const Float4 value = (left + (right - left) * weight[x]) * scale + offset;
    std::memcpy(out + x * 3, &value, x + 1 < width ? 4 * sizeof(float) : 3 * sizeof(float));
  }
}

}  // namespace

void Resizer::make_axis(int source, int target, bool flip, Axis& axis) {
  axis.first.resize(static_cast<size_t>(target));
  axis.weight.resize(static_cast<size_t>(target));
  // In float32, as torch's area_pixel_compute_source_index does it.
  const float ratio = static_cast<float>(source) / static_cast<float>(target);
  for (int i = 0; i < target; ++i) {
    const float centre = std::max(ratio * (static_cast<float>(i) + 0.5F) - 0.5F, 0.0F);
    const int first = std::min(static_cast<int>(centre), source - 1);
    const auto place = static_cast<size_t>(flip ? target - 1 - i : i);
    axis.first[place] = first;
    axis.weight[place] =
        source == target ? 0.0F : std::clamp(centre - static_cast<float>(first), 0.0F, 1.0F);
  }
}

void Resizer::blend_rows(const Picture& source, int y) {
  const size_t row_bytes = static_cast<size_t>(source.width) * 3;
  const int first = rows_.first[static_cast<size_t>(y)];
  const int second = std::min(first + 1, source.height - 1);
  const uint8_t* base = source.rgb.data();
  blend_bytes(base + static_cast<size_t>(first) * row_bytes,
              base + static_cast<size_t>(second) * row_bytes,
              rows_.weight[static_cast<size_t>(y)],
              row_bytes,
              row_.data());
  std::copy_n(row_.data() + row_bytes - 3, 3, row_.data() + row_bytes);
}

void Resizer::resize(const Picture& source,
                     const Output& output,
                     std::span<float> pixels,
                     size_t row_stride) {
  const auto [width, height] = output.size;
  ATOLL_CHECK(source.width > 0 && source.height > 0 && width > 0 && height > 0);
  ATOLL_CHECK(pixels.size() >=
              row_stride * static_cast<size_t>(height - 1) + static_cast<size_t>(width) * 3)
      << pixels.size() << " floats for " << width << "x" << height;
  make_axis(source.width, width, output.flip, columns_);
  make_axis(source.height, height, false, rows_);
  row_.resize((static_cast<size_t>(source.width) + 1) * 3 + 1);
  const Float4 scale = {output.scale[0], output.scale[1], output.scale[2], 0};
  const Float4 offset = {output.offset[0], output.offset[1], output.offset[2], 0};
  for (int y = 0; y < height; ++y) {
    blend_rows(source, y);
    float* row = pixels.data() + static_cast<size_t>(y) * row_stride;
    blend_columns(row_.data(), columns_.first, columns_.weight, scale, offset, row);
  }
}

void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb) {
  const size_t row_size = static_cast<size_t>(target.width) * 3;
  ATOLL_CHECK(source.width > 0 && source.height > 0 && target.width > 0 && target.height > 0);
  ATOLL_CHECK(rgb.size() >= row_size * static_cast<size_t>(target.height));
  Resizer resizer;
  Resizer::make_axis(source.width, target.width, false, resizer.columns_);
  Resizer::make_axis(source.height, target.height, false, resizer.rows_);
  resizer.row_.resize((static_cast<size_t>(source.width) + 1) * 3 + 1);
  std::vector<float> row(row_size);
  const Float4 one = {1, 1, 1, 1};
  for (int y = 0; y < target.height; ++y) {
    resizer.blend_rows(source, y);
    blend_columns(resizer.row_.data(),
                  resizer.columns_.first,
                  resizer.columns_.weight,
                  one,
                  Float4{},
                  row.data());
    round_to_bytes(row.data(), row_size, rgb.data() + static_cast<size_t>(y) * row_size);
  }
}

}  // namespace atl::dataset
