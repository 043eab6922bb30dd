// From the outcomes of all images to precision and recall, and their means; internal to this room.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "eval/match.h"

namespace atl::eval::internal {

constexpr size_t kRecallCount = 101;
constexpr size_t kMaximaCount = 3;

// numpy's linspace(0, 1, 101): k * 0.01 in float64, not k / 100.
constexpr double recall_threshold(size_t k) {
  return k + 1 == kRecallCount ? 1.0 : static_cast<double>(k) * 0.01;
}

// numpy's add.reduce over contiguous float64: pairwise below, eight running sums in blocks of 128.
double numpy_sum(std::span<const double> values);
// The mean as np.mean has it of the values above -1; -1 where there is none.
double mean_of_present(std::span<const double> values);

// `images` by increasing image id; `max_detections` sorted.
KindResult accumulate(std::span<const ImageOutcome> images,
                      size_t category_count,
                      const std::array<int, kMaximaCount>& max_detections,
                      int threads);

}  // namespace atl::eval::internal
