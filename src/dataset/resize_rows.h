// The inner loops of the resizer, each over one row of pixels, in versions for different
// processors; all versions give the same bits. Private to resize.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace atl::dataset::internal {

// How many values may be read and written beyond the end of a row of floats, whatever they are.
inline constexpr size_t kRowSlack = 16;
// As many bytes before the start of a row that mirror writes.
inline constexpr size_t kMirrorSlack = 1;

// Which two neighbours make each pixel of a resized row, (1 - weight) of pixel `first` and weight
// of the one behind it.
struct Columns {
  std::vector<int32_t> first;
  std::vector<float> weight;
  // The same for eight values of the result (r g b r g b r g) at a time: they lie among eight
  // consecutive values of the source, from `base` on, in the order of `lane`. Only where the row is
  // not shrunk, which is when that holds; else these are empty.
  std::vector<int32_t> base;
  std::vector<int32_t> lanes;
  std::vector<float> weights;

  void make_lanes();
};

struct RowKernels {
  // `pixels` pixels in reverse order.
  void (*mirror)(const uint8_t* rgb, size_t pixels, uint8_t* out);
  // out = value * scale + offset, `count` values.
  void (*normalise)(const uint8_t* values,
                    size_t count,
                    const std::array<float, 3>& scale,
                    const std::array<float, 3>& offset,
                    float* out);
  // `row` has its last pixel twice.
  void (*blend_columns)(const float* row, const Columns& columns, float* out);
  // out = upper + (lower - upper) * weight, past the cache: the next reader is far away, and
  // fetching what is overwritten costs more than all the arithmetic (0.44 against 1.25 ms for
  // 1088x800 pixels). finish_rows() before another thread may read.
  void (*blend_rows)(
      const float* upper, const float* lower, float weight, size_t count, float* out);
  // The same, rounded to bfloat16 (to nearest, ties to even).
  void (*blend_rows_to_bfloat16)(
      const float* upper, const float* lower, float weight, size_t count, uint16_t* out);
};

// For any processor.
const RowKernels& portable_row_kernels();
// The fastest for this one.
const RowKernels& row_kernels();

void finish_rows();

// The upper half of the bits, rounded to nearest, ties to even; not for NaN.
inline uint16_t to_bfloat16(float value) {
  const auto bits = __builtin_bit_cast(uint32_t, value);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

}  // namespace atl::dataset::internal
