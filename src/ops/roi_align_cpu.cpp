// RoIAlign on the CPU. Features are channels-last, so that the four cells around a sample are four
// contiguous rows of C values and all the inner loops run along the channels.
//
// First the samples of every roi are laid out (roi_samples.h). Forward, one thread has
// a roi at a time. Backward, a task has the rois of one (level, image) and a slice of the channels:
// no two tasks write the same cell, and each cell's sum runs over rois, bins and samples in their
// order, so the result does not depend on the number of threads.
//
// The arithmetic is torchvision's in its order (weights hy * hx first, four products summed from
// left to right, bins divided by the count), so float results agree with it to the last bit as long
// as the sample count of a bin is a power of two, and up to rounding of the gradient's weight
// otherwise.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "ops/kernels.h"
#include "ops/roi_samples.h"

namespace atl::ops::cpu {
namespace {

constexpr int kVectorBytes = 64;
constexpr int64_t kBlockVectors = 4;  // accumulators that fit the registers of AVX2 and up

// Weight is the type of the arithmetic: float, or double for double features.
template <typename Weight>
using Vector [[gnu::vector_size(kVectorBytes)]] = Weight;

template <typename Weight>
constexpr int64_t kLanes = kVectorBytes / sizeof(Weight);

// Loads and stores by reference: a vector passed by value would have another ABI on each target.
template <typename Weight, typename Feature>
ATOLL_INLINE void load(const Feature* from, Vector<Weight>& to) {
  if constexpr (std::is_same_v<Feature, Weight>) {
    std::memcpy(&to, from, sizeof(to));
  } else {
    static_assert(std::is_same_v<Feature, at::BFloat16> && std::is_same_v<Weight, float>);
    using Halves [[gnu::vector_size(kVectorBytes / 2)]] = uint16_t;
    using Words [[gnu::vector_size(kVectorBytes)]] = uint32_t;
    Halves halves;
    std::memcpy(&halves, from, sizeof(halves));
    const Words words = __builtin_convertvector(halves, Words) << 16;
    std::memcpy(&to, &words, sizeof(to));
  }
}

template <typename Weight, typename Feature>
ATOLL_INLINE void store(const Vector<Weight>& from, Feature* to) {
  if constexpr (std::is_same_v<Feature, Weight>) {
    std::memcpy(to, &from, sizeof(from));
  } else {
    for (int64_t i = 0; i < kLanes<Weight>; ++i) to[i] = static_cast<Feature>(from[i]);
  }
}

template <int64_t kVectors, typename Feature, typename Weight>
ATOLL_INLINE void pool_block(const Feature* image,
                             int64_t channels,
                             std::span<const Sample<Weight>> samples,
                             Weight count,
                             Feature* out) {
  constexpr int64_t lanes = kLanes<Weight>;
  Vector<Weight> sums[kVectors] = {};
  for (const Sample<Weight>& sample : samples) {
    const Feature* rows[4];
    for (int k = 0; k < 4; ++k) rows[k] = image + sample.cells[k] * channels;
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) {
      Vector<Weight> cells[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) load<Weight>(rows[k] + v * lanes, cells[k]);
      sums[v] += sample.weights[0] * cells[0] + sample.weights[1] * cells[1] +
                 sample.weights[2] * cells[2] + sample.weights[3] * cells[3];
    }
  }
#pragma GCC unroll 4
  for (int64_t v = 0; v < kVectors; ++v) {
    sums[v] /= count;
    store<Weight>(sums[v], out + v * lanes);
  }
}

// image: (H, W, C) of the roi's level and image; out: (P, P, C).
template <typename Feature, typename Weight>
ATOLL_INLINE void pool_roi(const Feature* image,
                           const RoiSamples<Weight>& roi,
                           int64_t pooled_size,
                           int64_t width,
                           int64_t channels,
                           std::vector<Sample<Weight>>& scratch,
                           Feature* out) {
  constexpr int64_t lanes = kLanes<Weight>;
  for (int64_t bin_y = 0; bin_y < pooled_size; ++bin_y) {
    for (int64_t bin_x = 0; bin_x < pooled_size; ++bin_x, out += channels) {
      bin_samples(roi, bin_y, bin_x, pooled_size, width, scratch);
      const std::span<const Sample<Weight>> samples = scratch;
      int64_t c = 0;
      for (; c + kBlockVectors * lanes <= channels; c += kBlockVectors * lanes) {
        pool_block<kBlockVectors, Feature, Weight>(
            image + c, channels, samples, roi.count, out + c);
      }
      for (; c + lanes <= channels; c += lanes) {
        pool_block<1, Feature, Weight>(image + c, channels, samples, roi.count, out + c);
      }
      for (; c < channels; ++c) {
        Weight sum = 0;
        for (const Sample<Weight>& sample : samples) {
          const auto cell = [&](int k) {
            return sample.weights[k] * static_cast<Weight>(image[sample.cells[k] * channels + c]);
          };
          sum += cell(0) + cell(1) + cell(2) + cell(3);
        }
        out[c] = static_cast<Feature>(sum / roi.count);
      }
    }
  }
}

template <int64_t kVectors, typename Weight>
ATOLL_INLINE void spread_block(const Weight* gradient,
                               int64_t channels,
                               std::span<const Sample<Weight>> samples,
                               Weight* image) {
  constexpr int64_t lanes = kLanes<Weight>;
  Vector<Weight> shares[kVectors];
#pragma GCC unroll 4
  for (int64_t v = 0; v < kVectors; ++v) load<Weight>(gradient + v * lanes, shares[v]);
  for (const Sample<Weight>& sample : samples) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      Weight* row = image + sample.cells[k] * channels;
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) {
        Vector<Weight> cell;
        load<Weight>(row + v * lanes, cell);
        cell += sample.weights[k] * shares[v];
        store<Weight>(cell, row + v * lanes);
      }
    }
  }
}

// Adds a roi's gradient (P, P, C) to its level and image (H, W, C), channels [begin, end) only.
template <typename Weight>
ATOLL_INLINE void spread_roi(const Weight* gradient,
                             const RoiSamples<Weight>& roi,
                             int64_t pooled_size,
                             int64_t width,
                             int64_t channels,
                             int64_t begin,
                             int64_t end,
                             std::vector<Sample<Weight>>& samples,
                             Weight* image) {
  constexpr int64_t lanes = kLanes<Weight>;
  for (int64_t bin_y = 0; bin_y < pooled_size; ++bin_y) {
    for (int64_t bin_x = 0; bin_x < pooled_size; ++bin_x, gradient += channels) {
      bin_samples(roi, bin_y, bin_x, pooled_size, width, samples);
      for (Sample<Weight>& sample : samples) {
        for (Weight& weight : sample.weights) weight /= roi.count;
      }
      int64_t c = begin;
      for (; c + kBlockVectors * lanes <= end; c += kBlockVectors * lanes) {
        spread_block<kBlockVectors, Weight>(gradient + c, channels, samples, image + c);
      }
      for (; c + lanes <= end; c += lanes) {
        spread_block<1, Weight>(gradient + c, channels, samples, image + c);
      }
      for (; c < end; ++c) {
        for (const Sample<Weight>& sample : samples) {
          for (int k = 0; k < 4; ++k) {
            image[sample.cells[k] * channels + c] += sample.weights[k] * gradient[c];
          }
        }
      }
    }
  }
}

// One overload for each type: a clone cannot be a template.
ATOLL_CLONES void pool(const float* image,
                       const RoiSamples<float>& roi,
                       int64_t pooled_size,
                       int64_t width,
                       int64_t channels,
                       std::vector<Sample<float>>& scratch,
                       float* out) {
  pool_roi<float, float>(image, roi, pooled_size, width, channels, scratch, out);
}
ATOLL_CLONES void pool(const double* image,
                       const RoiSamples<double>& roi,
                       int64_t pooled_size,
                       int64_t width,
                       int64_t channels,
                       std::vector<Sample<double>>& scratch,
                       double* out) {
  pool_roi<double, double>(image, roi, pooled_size, width, channels, scratch, out);
}
ATOLL_CLONES void pool(const at::BFloat16* image,
                       const RoiSamples<float>& roi,
                       int64_t pooled_size,
                       int64_t width,
                       int64_t channels,
                       std::vector<Sample<float>>& scratch,
                       at::BFloat16* out) {
  pool_roi<at::BFloat16, float>(image, roi, pooled_size, width, channels, scratch, out);
}
ATOLL_CLONES void spread(const float* gradient,
                         const RoiSamples<float>& roi,
                         int64_t pooled_size,
                         int64_t width,
                         int64_t channels,
                         int64_t begin,
                         int64_t end,
                         std::vector<Sample<float>>& scratch,
                         float* image) {
  spread_roi<float>(gradient, roi, pooled_size, width, channels, begin, end, scratch, image);
}
ATOLL_CLONES void spread(const double* gradient,
                         const RoiSamples<double>& roi,
                         int64_t pooled_size,
                         int64_t width,
                         int64_t channels,
                         int64_t begin,
                         int64_t end,
                         std::vector<Sample<double>>& scratch,
                         double* image) {
  spread_roi<double>(gradient, roi, pooled_size, width, channels, begin, end, scratch, image);
}

template <typename Feature, typename Weight>
at::Tensor pool_levels(at::TensorList features,
                       const at::Tensor& rois,
                       const at::Tensor& levels,
                       const Sampling& sampling) {
  const int64_t channels = features[0].size(1);
  const int64_t pooled = sampling.pooled_size;
  const auto samples = all_samples<Weight>(rois, levels, sampling);
  std::vector<at::Tensor> dense;
  for (const at::Tensor& feature : features) {
    dense.push_back(feature.contiguous(at::MemoryFormat::ChannelsLast));
  }
  at::Tensor result = at::empty({rois.size(0), channels, pooled, pooled},
                                features[0].options(),
                                at::MemoryFormat::ChannelsLast);
  auto* out = result.mutable_data_ptr<Feature>();
  at::parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<Sample<Weight>> scratch;
    for (int64_t r = begin; r < end; ++r) {
      const RoiSamples<Weight>& roi = samples[r];
      const LevelShape& shape = sampling.levels[roi.level];
      const Feature* image = dense[roi.level].template const_data_ptr<Feature>() +
                             roi.image * shape.height * shape.width * channels;
      pool(
          image, roi, pooled, shape.width, channels, scratch, out + r * pooled * pooled * channels);
    }
  });
  return result;
}

// Channels of a task: narrow enough for every thread to have work, at least a cache line.
int64_t slice_channels(int64_t channels, int64_t lanes) {
  const int64_t fair = channels / std::max(1, at::get_num_threads());
  return std::clamp(fair / lanes * lanes, lanes, kBlockVectors * lanes);
}

template <typename Weight>
std::vector<at::Tensor> spread_levels(const at::Tensor& gradient,
                                      const at::Tensor& rois,
                                      const at::Tensor& levels,
                                      const Sampling& sampling) {
  const int64_t channels = gradient.size(1);
  const int64_t pooled = sampling.pooled_size;
  const auto samples = all_samples<Weight>(rois, levels, sampling);
  const at::Tensor dense = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  const auto* in = dense.const_data_ptr<Weight>();

  std::vector<at::Tensor> result;
  for (const LevelShape& shape : sampling.levels) {
    result.push_back(at::empty({sampling.images, channels, shape.height, shape.width},
                               gradient.options(),
                               at::MemoryFormat::ChannelsLast)
                         .zero_());
  }
  const auto level_count = static_cast<int64_t>(sampling.levels.size());
  std::vector<std::vector<int64_t>> groups(level_count * sampling.images);
  for (int64_t r = 0; r < rois.size(0); ++r) {
    groups[samples[r].level * sampling.images + samples[r].image].push_back(r);
  }
  const auto group_count = static_cast<int64_t>(groups.size());
  const int64_t slice = slice_channels(channels, kLanes<Weight>);
  const int64_t slices = (channels + slice - 1) / slice;
  at::parallel_for(0, slices * group_count, 1, [&](int64_t begin, int64_t end) {
    std::vector<Sample<Weight>> scratch;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task / group_count * slice;
      const int64_t last = std::min(channels, first + slice);
      for (const int64_t r : groups[task % group_count]) {
        const RoiSamples<Weight>& roi = samples[r];
        const LevelShape& shape = sampling.levels[roi.level];
        Weight* image = result[roi.level].template mutable_data_ptr<Weight>() +
                        roi.image * shape.height * shape.width * channels;
        spread(in + r * pooled * pooled * channels,
               roi,
               pooled,
               shape.width,
               channels,
               first,
               last,
               scratch,
               image);
      }
    }
  });
  return result;
}

}  // namespace

at::Tensor roi_align(at::TensorList features,
                     const at::Tensor& rois,
                     const at::Tensor& levels,
                     at::ArrayRef<double> scales,
                     int64_t pooled_size,
                     int64_t sampling_ratio,
                     bool aligned) {
  Sampling sampling{{}, features[0].size(0), pooled_size, sampling_ratio, aligned};
  for (size_t l = 0; l < features.size(); ++l) {
    sampling.levels.push_back({features[l].size(2), features[l].size(3), scales[l]});
  }
  switch (features[0].scalar_type()) {
    case at::kDouble:
      return pool_levels<double, double>(features, rois, levels, sampling);
    case at::kBFloat16:
      return pool_levels<at::BFloat16, float>(features, rois, levels, sampling);
    default:
      return pool_levels<float, float>(features, rois, levels, sampling);
  }
}

std::vector<at::Tensor> roi_align_backward(const at::Tensor& gradient,
                                           const at::Tensor& rois,
                                           const at::Tensor& levels,
                                           at::ArrayRef<double> scales,
                                           int64_t images,
                                           at::IntArrayRef heights,
                                           at::IntArrayRef widths,
                                           int64_t sampling_ratio,
                                           bool aligned) {
  Sampling sampling{{}, images, gradient.size(2), sampling_ratio, aligned};
  for (size_t l = 0; l < scales.size(); ++l) {
    sampling.levels.push_back({heights[l], widths[l], scales[l]});
  }
  if (gradient.scalar_type() == at::kDouble) {
    return spread_levels<double>(gradient, rois, levels, sampling);
  }
  // bfloat16 gradients are summed in float and rounded once, at the end.
  auto result = spread_levels<float>(gradient.to(at::kFloat), rois, levels, sampling);
  for (at::Tensor& level : result) level = level.to(gradient.scalar_type());
  return result;
}

}  // namespace atl::ops::cpu
