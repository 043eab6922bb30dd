#include "dataset/resize_rows.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace atl::dataset::internal {
namespace {

constexpr size_t kGroup = 8;

void mirror(const uint8_t* rgb, size_t pixels, uint8_t* out) {
  for (size_t i = 0; i < pixels; ++i) std::memcpy(out + 3 * (pixels - 1 - i), rgb + 3 * i, 3);
}

void normalise(const uint8_t* values,
               size_t count,
               const std::array<float, 3>& scale,
               const std::array<float, 3>& offset,
               float* out) {
  for (size_t i = 0; i < count; i += 3) {
    for (size_t c = 0; c < 3; ++c) {
      out[i + c] = static_cast<float>(values[i + c]) * scale[c] + offset[c];
    }
  }
}

// Four floats are loaded, blended and stored at a time, of which the fourth belongs to the next
// pixel and is overwritten by it.
void blend_columns(const float* row, const Columns& columns, float* out) {
  using Float4 = float __attribute__((vector_size(16)));
  for (size_t x = 0; x < columns.first.size(); ++x) {
    const float* from = row + static_cast<ptrdiff_t>(columns.first[x]) * 3;
    Float4 left;
    Float4 right;
    std::memcpy(&left, from, sizeof left);
    std::memcpy(&right, from + 3, sizeof right);
    const Float4 value = left + (right - left) * columns.weight[x];
    std::memcpy(out + x * 3, &value, sizeof value);
  }
}

void blend_rows(const float* upper, const float* lower, float weight, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = upper[i] + (lower[i] - upper[i]) * weight;
}

void blend_rows_to_bfloat16(
    const float* upper, const float* lower, float weight, size_t count, uint16_t* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = to_bfloat16(upper[i] + (lower[i] - upper[i]) * weight);
  }
}

#if defined(__x86_64__)

#define ATOLL_AVX2 __attribute__((target("avx2")))

// Five pixels at a time; their first byte goes one lower than it belongs and is written again by
// the next five.
ATOLL_AVX2 void mirror_avx2(const uint8_t* rgb, size_t pixels, uint8_t* out) {
  const __m128i order = _mm_setr_epi8(-1, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2);
  size_t i = 0;
  for (; i + 6 <= pixels; i += 5) {
    const __m128i five = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 3 * i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * (pixels - i - 5) - 1),
                     _mm_shuffle_epi8(five, order));
  }
  for (; i < pixels; ++i) std::memcpy(out + 3 * (pixels - 1 - i), rgb + 3 * i, 3);
}

ATOLL_AVX2 void normalise_avx2(const uint8_t* values,
                               size_t count,
                               const std::array<float, 3>& scale,
                               const std::array<float, 3>& offset,
                               float* out) {
  constexpr size_t kStep = 3 * kGroup;  // the pattern of channels repeats after 24 values
  alignas(32) std::array<float, kStep> scales;
  alignas(32) std::array<float, kStep> offsets;
  for (size_t i = 0; i < kStep; ++i) {
    scales[i] = scale[i % 3];
    offsets[i] = offset[i % 3];
  }
  size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (size_t j = 0; j < kStep; j += kGroup) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values + i + j));
      const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
      _mm256_storeu_ps(out + i + j,
                       _mm256_add_ps(_mm256_mul_ps(value, _mm256_load_ps(&scales[j])),
                                     _mm256_load_ps(&offsets[j])));
    }
  }
  normalise(values + i, count - i, scale, offset, out + i);
}

ATOLL_AVX2 void blend_columns_avx2(const float* row, const Columns& columns, float* out) {
  if (columns.base.empty()) {
    blend_columns(row, columns, out);
    return;
  }
  const int32_t* lanes = columns.lanes.data();
  const float* weights = columns.weights.data();
  for (const int32_t base : columns.base) {
    const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes));
    const __m256 left = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row + base), order);
    const __m256 right = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row + base + 3), order);
    const __m256 change = _mm256_mul_ps(_mm256_sub_ps(right, left), _mm256_loadu_ps(weights));
    _mm256_storeu_ps(out, _mm256_add_ps(left, change));
    lanes += kGroup;
    weights += kGroup;
    out += kGroup;
  }
}

ATOLL_AVX2 inline __m256 blend_group(const float* upper, const float* lower, __m256 weight) {
  const __m256 above = _mm256_loadu_ps(upper);
  return _mm256_add_ps(above, _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(lower), above), weight));
}

// How many values until `out` stands at a multiple of 32 bytes.
template <typename T>
size_t values_to_alignment(const T* out, size_t count) {
  return std::min(count, (0 - reinterpret_cast<uintptr_t>(out)) % 32 / sizeof(T));
}

ATOLL_AVX2 void blend_rows_avx2(
    const float* upper, const float* lower, float weight, size_t count, float* out) {
  size_t i = values_to_alignment(out, count);
  blend_rows(upper, lower, weight, i, out);
  const __m256 weights = _mm256_set1_ps(weight);
  for (; i + kGroup <= count; i += kGroup) {
    _mm256_stream_ps(out + i, blend_group(upper + i, lower + i, weights));
  }
  blend_rows(upper + i, lower + i, weight, count - i, out + i);
}

ATOLL_AVX2 inline __m256i round_to_bfloat16(__m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  return _mm256_srli_epi32(rounded, 16);
}

ATOLL_AVX2 void blend_rows_to_bfloat16_avx2(
    const float* upper, const float* lower, float weight, size_t count, uint16_t* out) {
  size_t i = values_to_alignment(out, count);
  blend_rows_to_bfloat16(upper, lower, weight, i, out);
  const __m256 weights = _mm256_set1_ps(weight);
  for (; i + 2 * kGroup <= count; i += 2 * kGroup) {
    const __m256i low = round_to_bfloat16(blend_group(upper + i, lower + i, weights));
    const __m256i high =
        round_to_bfloat16(blend_group(upper + i + kGroup, lower + i + kGroup, weights));
    // Packing works within halves of the registers, so their quarters are put in order after it.
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i), packed);
  }
  blend_rows_to_bfloat16(upper + i, lower + i, weight, count - i, out + i);
}

#endif

}  // namespace

void Columns::make_lanes() {
  const size_t count = first.size() * 3;
  const size_t groups = (count + kGroup - 1) / kGroup;
  base.resize(groups);
  lanes.resize(groups * kGroup);
  weights.resize(groups * kGroup);
  for (size_t g = 0; g < groups; ++g) {
    for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      const size_t at = std::min(i, count - 1);  // values behind the last are the last again
      const int32_t from = first[at / 3] * 3 + static_cast<int32_t>(at % 3);
      // The first pixel's value is the lowest but where its channel is a later one than the next's.
      if (i == g * kGroup) base[g] = from;
      base[g] = std::min(base[g], from);
      lanes[i] = from;
      weights[i] = weight[at / 3];
    }
    for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      lanes[i] -= base[g];
      if (lanes[i] >= static_cast<int32_t>(kGroup)) {
        base.clear();
        return;
      }
    }
  }
}

const RowKernels& portable_row_kernels() {
  static constexpr RowKernels kKernels = {
      mirror, normalise, blend_columns, blend_rows, blend_rows_to_bfloat16};
  return kKernels;
}

const RowKernels& row_kernels() {
#if defined(__x86_64__)
  static constexpr RowKernels kAvx2 = {mirror_avx2,
                                       normalise_avx2,
                                       blend_columns_avx2,
                                       blend_rows_avx2,
                                       blend_rows_to_bfloat16_avx2};
  static const bool have_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (have_avx2) return kAvx2;
#endif
  return portable_row_kernels();
}

void finish_rows() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace atl::dataset::internal
