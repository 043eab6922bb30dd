// From the outcomes of all images to precision and recall (accumulate.cpp), and their means
// (summary.cpp); internal to this room.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "eval/lvis.h"
#include "eval/match.h"

namespace atl::eval::internal {

constexpr size_t kRecallCount = 101;

// numpy's linspace(0, 1, 101): k * 0.01 in float64, not k / 100.
constexpr double recall_threshold(size_t k) {
  return k + 1 == kRecallCount ? 1.0 : static_cast<double>(k) * 0.01;
}

// Positions in the arrays of Curves.
struct CurveIndex {
  size_t category_count;
  size_t maxima_count;
  size_t precision(size_t t, size_t r, size_t k, size_t a, size_t m) const {
    return (((t * kRecallCount + r) * category_count + k) * kAreaCount + a) * maxima_count + m;
  }
  size_t recall(size_t t, size_t k, size_t a, size_t m) const {
    return ((t * category_count + k) * kAreaCount + a) * maxima_count + m;
  }
};

// numpy's add.reduce over contiguous float64: pairwise below, eight running sums in blocks of 128.
double numpy_sum(std::span<const double> values);
// The mean as np.mean has it of the values above -1; -1 where there is none.
double mean_of_present(std::span<const double> values);

// The mean precision of one category over all thresholds and recalls, at area all and the last
// maximum.
double category_ap(const Curves& curves, size_t k, const CurveIndex& index);

// `images` by increasing image id; `max_detections` sorted, M of them.
Curves accumulate(std::span<const ImageOutcome> images,
                  size_t category_count,
                  std::span<const int> max_detections,
                  int threads);

// The 12 numbers of pycocotools' summarize.
std::array<double, 12> coco_stats(const Curves& curves,
                                  size_t category_count,
                                  const std::array<int, 3>& max_detections);
// The 13 of the lvis package; `category_frequency` (K). M is 1.
std::array<double, 13> lvis_stats(const Curves& curves,
                                  std::span<const Frequency> category_frequency);

}  // namespace atl::eval::internal
