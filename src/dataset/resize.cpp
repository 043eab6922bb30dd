// Horizontal first: a source row becomes floats, coloured and normalised (which commutes with
// interpolation), and is resized to the window's width. Then every row of the window is a blend of
// two such rows. A source row is done once, however many rows of the window it takes part in.
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

ATOLL_SIMD_CLONES void normalise(const uint8_t* __restrict bytes,
                                 const float* __restrict scale,
                                 const float* __restrict offset,
                                 size_t count,
                                 float* __restrict out) {
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(bytes[i]) * scale[i] + offset[i];
}

void transform_colours(const uint8_t* rgb,
                       const Resizer::Output& output,
                       size_t pixels,
                       float* out) {
  const auto& m = output.colour.matrix;
  for (size_t i = 0; i < pixels; ++i, rgb += 3, out += 3) {
    const auto r = static_cast<float>(rgb[0]);
    const auto g = static_cast<float>(rgb[1]);
    const auto b = static_cast<float>(rgb[2]);
    for (size_t c = 0; c < 3; ++c) {
      const float value =
          m[3 * c] * r + m[3 * c + 1] * g + m[3 * c + 2] * b + output.colour.offset[c];
      out[c] = std::clamp(value, 0.0F, 255.0F) * output.scale[c] + output.offset[c];
    }
  }
}

// Four floats are loaded, blended and stored at a time, of which the fourth belongs to the next
// pixel and is overwritten by it. `out` gets width * 3 floats and no more: the last pixel is
// written by parts.
void blend_columns(const float* row,
                   std::span<const int32_t> first,
                   std::span<const float> weight,
                   float* out) {
  const size_t width = first.size();
  for (size_t x = 0; x < width; ++x) {
    const float* from = row + static_cast<ptrdiff_t>(first[x]) * 3;
    const Float4 left = load(from);
    const Float4 right = load(from + 3);
    const Float4 value = left + (right - left) * weight[x];
    std::memcpy(out + x * 3, &value, x + 1 < width ? 4 * sizeof(float) : 3 * sizeof(float));
  }
}

ATOLL_SIMD_CLONES void blend_rows(const float* __restrict upper,
                                  const float* __restrict lower,
                                  float weight,
                                  size_t count,
                                  float* __restrict out) {
  for (size_t i = 0; i < count; ++i) out[i] = upper[i] + (lower[i] - upper[i]) * weight;
}

ATOLL_SIMD_CLONES void blend_rows_to_bytes(const float* __restrict upper,
                                           const float* __restrict lower,
                                           float weight,
                                           size_t count,
                                           uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    const float value = upper[i] + (lower[i] - upper[i]) * weight;
    // Never negative, so this rounds to nearest, and unlike lround it vectorises.
    // NOLINTNEXTLINE(bugprone-incorrect-roundings)
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(value + 0.5F));
  }
}

}  // namespace

void Resizer::make_axis(int source, int scaled, int begin, int count, Axis& axis) {
  axis.first.resize(static_cast<size_t>(count));
  axis.weight.resize(static_cast<size_t>(count));
  // In float32, as torch's area_pixel_compute_source_index does it.
  const float ratio = static_cast<float>(source) / static_cast<float>(scaled);
  for (int i = 0; i < count; ++i) {
    const float at = std::clamp(ratio * (static_cast<float>(begin + i) + 0.5F) - 0.5F,
                                0.0F,
                                static_cast<float>(source - 1));
    const int first = static_cast<int>(at);
    axis.first[static_cast<size_t>(i)] = first;
    axis.weight[static_cast<size_t>(i)] = source == scaled ? 0.0F : at - static_cast<float>(first);
  }
}

void Resizer::begin(const Picture& source, const Output& output) {
  const auto [width, height] = output.window;
  ATOLL_CHECK(source.width > 0 && source.height > 0 && width > 0 && height > 0 &&
              output.scaled.width > 0 && output.scaled.height > 0);
  output_ = output;
  make_axis(source.width, output.scaled.width, output.left, width, columns_);
  make_axis(source.height, output.scaled.height, output.top, height, rows_);
  if (output.flip) {
    std::ranges::reverse(columns_.first);
    std::ranges::reverse(columns_.weight);
  }
  const size_t row_size = static_cast<size_t>(source.width) * 3;
  scales_.resize(row_size);
  offsets_.resize(row_size);
  for (size_t i = 0; i < row_size; ++i) {
    scales_[i] = output.scale[i % 3];
    offsets_[i] = output.offset[i % 3];
  }
  row_.resize(row_size + 4);  // the last pixel twice, and one value to read over
  for (auto& row : wide_) row.resize(static_cast<size_t>(width) * 3);
  wide_is_ = {-1, -1};
}

const float* Resizer::wide_row(const Picture& source, int y) {
  const auto place = static_cast<size_t>(y % 2);
  float* wide = wide_[place].data();
  if (wide_is_[place] == y) return wide;
  wide_is_[place] = y;
  const size_t row_size = static_cast<size_t>(source.width) * 3;
  const uint8_t* bytes = source.rgb.data() + static_cast<size_t>(y) * row_size;
  if (output_.colour.is_identity()) {
    normalise(bytes, scales_.data(), offsets_.data(), row_size, row_.data());
  } else {
    transform_colours(bytes, output_, static_cast<size_t>(source.width), row_.data());
  }
  std::copy_n(row_.data() + row_size - 3, 3, row_.data() + row_size);
  blend_columns(row_.data(), columns_.first, columns_.weight, wide);
  return wide;
}

template <typename Write>
void Resizer::for_each_row(const Picture& source, Write write) {
  for (size_t y = 0; y < rows_.first.size(); ++y) {
    const int first = rows_.first[y];
    const float* upper = wide_row(source, first);
    const float* lower = wide_row(source, std::min(first + 1, source.height - 1));
    write(y, upper, lower, rows_.weight[y]);
  }
}

void Resizer::resize(const Picture& source,
                     const Output& output,
                     std::span<float> pixels,
                     size_t row_stride) {
  begin(source, output);
  const size_t row_size = static_cast<size_t>(output.window.width) * 3;
  ATOLL_CHECK(pixels.size() >= row_stride * (rows_.first.size() - 1) + row_size)
      << pixels.size() << " floats for " << output.window.width << "x" << output.window.height;
  for_each_row(source, [&](size_t y, const float* upper, const float* lower, float weight) {
    blend_rows(upper, lower, weight, row_size, pixels.data() + y * row_stride);
  });
}

void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb) {
  Resizer resizer;
  resizer.begin(source, {.scaled = target, .window = target});
  const size_t row_size = static_cast<size_t>(target.width) * 3;
  ATOLL_CHECK(rgb.size() >= row_size * static_cast<size_t>(target.height));
  resizer.for_each_row(source, [&](size_t y, const float* upper, const float* lower, float weight) {
    blend_rows_to_bytes(upper, lower, weight, row_size, rgb.data() + y * row_size);
  });
}

}  // namespace atl::dataset
