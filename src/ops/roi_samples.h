// Private to the room: the samples of a multi-level RoIAlign. Along each axis a roi has P * S
// positions (P bins, S samples a bin) with two cells and two weights each; a sample in the plane is
// a pair. Weight is the type of the arithmetic: float, or double for double features.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/axis_samples.h"
#include "ops/kernels.h"

namespace atl::ops::cpu {

template <typename Weight>
struct RoiSamples {
  int64_t image = 0;
  int64_t level = 0;
  int64_t grid_y = 0;
  int64_t grid_x = 0;
  Weight count = 1;
  std::vector<AxisSample<Weight>> axes;  // P * grid_y of y, then P * grid_x of x

  std::span<const AxisSample<Weight>> y(int64_t bin) const {
    return std::span(axes).subspan(bin * grid_y, grid_y);
  }
  std::span<const AxisSample<Weight>> x(int64_t bin, int64_t pooled_size) const {
    return std::span(axes).subspan(pooled_size * grid_y + bin * grid_x, grid_x);
  }
};

// A sample in the plane: rows of the feature map (in cells) and their weights.
template <typename Weight>
struct Sample {
  int64_t cells[4];
  Weight weights[4];
};

struct LevelShape {
  int64_t height = 0;
  int64_t width = 0;
  double scale = 1;
};

struct Sampling {
  std::vector<LevelShape> levels;
  int64_t images = 0;
  int64_t pooled_size = 0;
  int64_t ratio = 0;
  bool aligned = false;
};

// roi: image index, x1, y1, x2, y2.
template <typename Weight>
RoiSamples<Weight> roi_samples(const float* roi, int64_t level, const Sampling& sampling) {
  const LevelShape& shape = sampling.levels[level];
  const int64_t bins = sampling.pooled_size;
  const auto axis = [&](float low, float high) {
    return roi_axis(
        low, high, static_cast<Weight>(shape.scale), bins, sampling.ratio, sampling.aligned);
  };
  const Axis<Weight> x = axis(roi[1], roi[3]);
  const Axis<Weight> y = axis(roi[2], roi[4]);
  RoiSamples<Weight> samples;
  samples.image = static_cast<int64_t>(roi[0]);
  samples.level = level;
  samples.grid_y = y.grid;
  samples.grid_x = x.grid;
  samples.count = static_cast<Weight>(std::max<int64_t>(1, y.grid * x.grid));
  samples.axes.reserve(bins * (y.grid + x.grid));
  append_samples(y, bins, shape.height, samples.axes);
  append_samples(x, bins, shape.width, samples.axes);
  return samples;
}

template <typename Weight>
std::vector<RoiSamples<Weight>> all_samples(const at::Tensor& rois,
                                            const at::Tensor& levels,
                                            const Sampling& sampling) {
  const at::Tensor dense_rois = rois.contiguous();
  const at::Tensor dense_levels = levels.contiguous();
  const auto* roi = dense_rois.const_data_ptr<float>();
  const auto* level = dense_levels.const_data_ptr<int64_t>();
  const int64_t count = rois.size(0);
  const auto level_count = static_cast<int64_t>(sampling.levels.size());
  for (int64_t r = 0; r < count; ++r) {
    TORCH_CHECK(level[r] >= 0 && level[r] < level_count && roi[5 * r] >= 0 &&
                    roi[5 * r] < static_cast<float>(sampling.images),
                "roi_align: roi ",
                r,
                " is of image ",
                roi[5 * r],
                " of ",
                sampling.images,
                " and level ",
                level[r],
                " of ",
                level_count);
  }
  std::vector<RoiSamples<Weight>> samples(count);
  at::parallel_for(0, count, 32, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      samples[r] = roi_samples<Weight>(roi + 5 * r, level[r], sampling);
    }
  });
  return samples;
}

// The samples of one bin that lie inside the feature map, row by row.
template <typename Weight>
ATOLL_INLINE void bin_samples(const RoiSamples<Weight>& roi,
                              int64_t bin_y,
                              int64_t bin_x,
                              int64_t pooled_size,
                              int64_t width,
                              std::vector<Sample<Weight>>& samples) {
  samples.clear();
  for (const AxisSample<Weight>& y : roi.y(bin_y)) {
    if (y.low < 0) continue;
    for (const AxisSample<Weight>& x : roi.x(bin_x, pooled_size)) {
      if (x.low < 0) continue;
      samples.push_back({{y.low * width + x.low,
                          y.low * width + x.high,
                          y.high * width + x.low,
                          y.high * width + x.high},
                         {y.low_weight * x.low_weight,
                          y.low_weight * x.high_weight,
                          y.high_weight * x.low_weight,
                          y.high_weight * x.high_weight}});
    }
  }
}

}  // namespace atl::ops::cpu
