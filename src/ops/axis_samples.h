// Private to the room: where RoIAlign samples along one axis. The arithmetic is torchvision's, in
// its order. Number is the type it is done in.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace atl::ops::cpu {

// Linear interpolation between two cells.
template <typename Number>
struct AxisSample {
  int32_t low = -1;  // negative: outside the feature map
  int32_t high = -1;
  Number low_weight = 0;
  Number high_weight = 0;
};

template <typename Number>
AxisSample<Number> axis_sample(Number position, int64_t size) {
  if (!(position >= Number(-1) && position <= static_cast<Number>(size))) return {};
  position = std::max(position, Number(0));
  const auto low = static_cast<int32_t>(position);
  const auto last = static_cast<int32_t>(size - 1);
  if (low >= last) return {last, last, Number(1), Number(0)};
  const Number fraction = position - static_cast<Number>(low);
  return {low, low + 1, Number(1) - fraction, fraction};
}

// One side of a roi in cells, cut into bins of `grid` samples each.
template <typename Number>
struct Axis {
  Number start = 0;
  Number bin = 0;
  int64_t grid = 0;
};

// low, high: the roi's edges in pixels. sampling_ratio <= 0: as many samples as a bin has cells.
template <typename Number>
Axis<Number> roi_axis(
    float low, float high, Number scale, int64_t bins, int64_t sampling_ratio, bool aligned) {
  const Number offset = aligned ? Number(0.5) : Number(0);
  const Number start = static_cast<Number>(low) * scale - offset;
  Number extent = static_cast<Number>(high) * scale - offset - start;
  if (!aligned) extent = std::max(extent, Number(1));
  const Number bin = extent / static_cast<Number>(bins);
  const auto cells = static_cast<int64_t>(std::ceil(bin));
  return {start, bin, sampling_ratio > 0 ? sampling_ratio : std::max<int64_t>(0, cells)};
}

// Bin after bin, on a feature map of `size` cells.
template <typename Number>
void append_samples(const Axis<Number>& axis,
                    int64_t bins,
                    int64_t size,
                    std::vector<AxisSample<Number>>& samples) {
  for (int64_t bin = 0; bin < bins; ++bin) {
    for (int64_t i = 0; i < axis.grid; ++i) {
      const Number position =
          axis.start + static_cast<Number>(bin) * axis.bin +
          (static_cast<Number>(i) + Number(0.5)) * axis.bin / static_cast<Number>(axis.grid);
      samples.push_back(axis_sample(position, size));
    }
  }
}

}  // namespace atl::ops::cpu
