// Plain tensor code for any device. Each function follows the named torchvision operation step by
// step in float32: indices, matches and pasted pixels are torchvision's exactly; RoIAlign and the
// mask targets add in another order and so agree up to rounding.
//
// RoIAlign: R rois, P pooled size, S samples a bin along an axis. Along each axis a sample at v
// takes cells low and low + 1 with weights 1 - f and f; a sample outside [-1, size] takes nothing.
// The work is cut into chunks of rois of one level that hold at most kChunkSamples values.
#include "ops/reference.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <tuple>

namespace atl::ops::reference {
namespace {

constexpr int64_t kChunkSamples = int64_t{1} << 22;
constexpr int64_t kMatchTile = 8192;

// Samples of a chunk of rois along one axis, each (R, P, S).
struct AxisSamples {
  at::Tensor low;
  at::Tensor high;
  at::Tensor low_weight;
  at::Tensor high_weight;
};

AxisSamples axis_samples(const at::Tensor& start,
                         const at::Tensor& bin,
                         const at::Tensor& grid,
                         int64_t max_grid,
                         int64_t pooled_size,
                         int64_t size) {
  const auto options = start.options();
  const at::Tensor cell = at::arange(pooled_size, options).view({1, -1, 1});
  const at::Tensor sample = at::arange(max_grid, options).view({1, 1, -1});
  const at::Tensor grid_column = grid.view({-1, 1, 1});
  const at::Tensor bin_column = bin.view({-1, 1, 1});
  at::Tensor at_cell =
      start.view({-1, 1, 1}) + cell * bin_column + (sample + 0.5) * bin_column / grid_column;
  const at::Tensor inside = (at_cell >= -1.0)
                                .logical_and(at_cell <= static_cast<double>(size))
                                .logical_and(sample < grid_column);
  // Masked first: an index must be valid even where its weight is zero.
  at_cell = at_cell.clamp_min(0).masked_fill(inside.logical_not(), 0);
  at::Tensor low = at_cell.floor();
  const at::Tensor at_end = low >= static_cast<double>(size - 1);
  low = low.clamp_max(static_cast<double>(size - 1));
  const at::Tensor fraction = (at_cell - low).masked_fill(at_end, 0);
  const at::Tensor keep = inside.to(options.dtype());
  const at::Tensor low_index = low.to(at::kLong);
  return {low_index, (low_index + 1).clamp_max(size - 1), (1.0 - fraction) * keep, fraction * keep};
}

// Rows of a (N * H * W, C) feature matrix and their weights, for the four corners of every sample:
// each (R, P, Sy, P, Sx).
struct Corners {
  std::array<at::Tensor, 4> rows;
  std::array<at::Tensor, 4> weights;
  at::Tensor count;  // (R,) samples a bin
};

struct LevelGeometry {
  int64_t height = 0;
  int64_t width = 0;
  double scale = 1;
};

struct RoiGrid {
  at::Tensor image, start_x, start_y, bin_x, bin_y, grid_x, grid_y;
};

RoiGrid roi_grid(const at::Tensor& rois,
                 double scale,
                 int64_t pooled_size,
                 int64_t sampling_ratio,
                 bool aligned) {
  const double offset = aligned ? 0.5 : 0.0;
  const at::Tensor start_x = rois.select(1, 1) * scale - offset;
  const at::Tensor start_y = rois.select(1, 2) * scale - offset;
  at::Tensor width = rois.select(1, 3) * scale - offset - start_x;
  at::Tensor height = rois.select(1, 4) * scale - offset - start_y;
  if (!aligned) {
    width = width.clamp_min(1);
    height = height.clamp_min(1);
  }
  const auto pooled = static_cast<double>(pooled_size);
  const auto grid_of = [&](const at::Tensor& bin) {
    return sampling_ratio > 0 ? at::full_like(bin, static_cast<double>(sampling_ratio))
                              : bin.ceil().clamp_min(0);
  };
  const at::Tensor bin_x = width / pooled;
  const at::Tensor bin_y = height / pooled;
  return {rois.select(1, 0).to(at::kLong),
          start_x,
          start_y,
          bin_x,
          bin_y,
          grid_of(bin_x),
          grid_of(bin_y)};
}

Corners corners(const RoiGrid& grid, const LevelGeometry& level, int64_t pooled_size) {
  const auto max_of = [](const at::Tensor& values) {
    return std::max<int64_t>(1, static_cast<int64_t>(values.max().item<double>()));
  };
  const AxisSamples y = axis_samples(
      grid.start_y, grid.bin_y, grid.grid_y, max_of(grid.grid_y), pooled_size, level.height);
  const AxisSamples x = axis_samples(
      grid.start_x, grid.bin_x, grid.grid_x, max_of(grid.grid_x), pooled_size, level.width);
  const at::Tensor first_row = (grid.image * (level.height * level.width)).view({-1, 1, 1, 1, 1});
  const auto row = [&](const at::Tensor& iy, const at::Tensor& ix) {
    return first_row + iy.unsqueeze(3).unsqueeze(4) * level.width + ix.unsqueeze(1).unsqueeze(2);
  };
  const auto weight = [](const at::Tensor& wy, const at::Tensor& wx) {
    return wy.unsqueeze(3).unsqueeze(4) * wx.unsqueeze(1).unsqueeze(2);
  };
  return {{row(y.low, x.low), row(y.low, x.high), row(y.high, x.low), row(y.high, x.high)},
          {weight(y.low_weight, x.low_weight),
           weight(y.low_weight, x.high_weight),
           weight(y.high_weight, x.low_weight),
           weight(y.high_weight, x.high_weight)},
          (grid.grid_x * grid.grid_y).clamp_min(1)};
}

// Calls body(roi indices, corners) for every chunk of the rois of `level`.
template <typename Body>
void for_each_chunk(const at::Tensor& rois,
                    const at::Tensor& of_level,
                    const LevelGeometry& level,
                    int64_t channels,
                    int64_t pooled_size,
                    int64_t sampling_ratio,
                    bool aligned,
                    const Body& body) {
  const int64_t count = of_level.size(0);
  if (count == 0) return;
  const at::Tensor selected = rois.index_select(0, of_level);
  const RoiGrid all = roi_grid(selected, level.scale, pooled_size, sampling_ratio, aligned);
  const double widest = std::max(1.0, all.grid_x.max().item<double>()) *
                        std::max(1.0, all.grid_y.max().item<double>());
  const auto roi_samples =
      static_cast<int64_t>(widest * static_cast<double>(channels * pooled_size * pooled_size));
  const int64_t chunk = std::max<int64_t>(1, kChunkSamples / std::max<int64_t>(1, roi_samples));
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t end = std::min(count, begin + chunk);
    const RoiGrid grid =
        roi_grid(selected.slice(0, begin, end), level.scale, pooled_size, sampling_ratio, aligned);
    body(of_level.slice(0, begin, end), corners(grid, level, pooled_size));
  }
}

at::Tensor rois_of_level(const at::Tensor& levels, int64_t level) {
  return (levels == level).nonzero().squeeze(1);
}

// The type that rois and weights are computed in.
at::ScalarType arithmetic_type(at::ScalarType features) {
  return features == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor pairwise_iou(const at::Tensor& a, const at::Tensor& b) {
  const auto area = [](const at::Tensor& boxes) {
    return (boxes.select(1, 2) - boxes.select(1, 0)) * (boxes.select(1, 3) - boxes.select(1, 1));
  };
  const at::Tensor top_left = at::maximum(a.slice(1, 0, 2).unsqueeze(1), b.slice(1, 0, 2));
  const at::Tensor bottom_right = at::minimum(a.slice(1, 2, 4).unsqueeze(1), b.slice(1, 2, 4));
  const at::Tensor sides = (bottom_right - top_left).clamp_min(0);
  const at::Tensor intersection = sides.select(2, 0) * sides.select(2, 1);
  const at::Tensor all = area(a).unsqueeze(1) + area(b) - intersection;
  // Two empty boxes: 0 / 0 counts as no overlap.
  return (intersection / all).nan_to_num(0.0);
}

}  // namespace

at::Tensor roi_align(at::TensorList features,
                     const at::Tensor& rois,
                     const at::Tensor& levels,
                     const std::vector<double>& scales,
                     int64_t pooled_size,
                     int64_t sampling_ratio,
                     bool aligned) {
  const at::ScalarType type = features[0].scalar_type();
  const at::Tensor typed_rois = rois.to(arithmetic_type(type));
  const int64_t channels = features[0].size(1);
  std::vector<at::Tensor> pooled = {
      at::zeros({0, pooled_size, pooled_size, channels}, typed_rois.options())};
  std::vector<at::Tensor> order = {at::zeros({0}, levels.options())};
  for (int64_t l = 0; l < static_cast<int64_t>(features.size()); ++l) {
    const at::Tensor& feature = features[l];
    const LevelGeometry level = {feature.size(2), feature.size(3), scales[l]};
    const at::Tensor rows =
        feature.permute({0, 2, 3, 1}).reshape({-1, channels}).to(typed_rois.scalar_type());
    const auto body = [&](const at::Tensor& indices, const Corners& corner) {
      at::Tensor sum;
      for (size_t k = 0; k < 4; ++k) {
        auto shape = corner.rows[k].sizes().vec();
        shape.push_back(channels);
        const at::Tensor values = rows.index_select(0, corner.rows[k].flatten()).view(shape);
        const at::Tensor term = values * corner.weights[k].unsqueeze(-1);
        sum = k == 0 ? term : sum + term;
      }
      // (R, P, Sy, P, Sx, C) -> (R, P, P, C)
      pooled.push_back(sum.sum({2, 4}) / corner.count.view({-1, 1, 1, 1}));
      order.push_back(indices);
    };
    for_each_chunk(typed_rois,
                   rois_of_level(levels, l),
                   level,
                   channels,
                   pooled_size,
                   sampling_ratio,
                   aligned,
                   body);
  }
  const at::Tensor back = at::cat(order).argsort();
  return at::cat(pooled).index_select(0, back).to(type).permute({0, 3, 1, 2});
}

std::vector<at::Tensor> roi_align_backward(const at::Tensor& gradient,
                                           const at::Tensor& rois,
                                           const at::Tensor& levels,
                                           const std::vector<double>& scales,
                                           int64_t images,
                                           at::IntArrayRef heights,
                                           at::IntArrayRef widths,
                                           int64_t sampling_ratio,
                                           bool aligned) {
  const at::ScalarType type = gradient.scalar_type();
  const at::Tensor typed_rois = rois.to(arithmetic_type(type));
  const int64_t channels = gradient.size(1);
  const int64_t pooled_size = gradient.size(2);
  const at::Tensor rows_gradient =
      gradient.permute({0, 2, 3, 1}).to(typed_rois.scalar_type());  // (R, P, P, C)
  std::vector<at::Tensor> result;
  for (size_t l = 0; l < scales.size(); ++l) {
    const LevelGeometry level = {heights[l], widths[l], scales[l]};
    at::Tensor rows =
        at::zeros({images * level.height * level.width, channels}, typed_rois.options());
    const auto body = [&](const at::Tensor& indices, const Corners& corner) {
      const at::Tensor share =
          rows_gradient.index_select(0, indices) / corner.count.view({-1, 1, 1, 1});
      const at::Tensor spread = share.unsqueeze(2).unsqueeze(4);  // (R, P, 1, P, 1, C)
      for (size_t k = 0; k < 4; ++k) {
        const at::Tensor term = spread * corner.weights[k].unsqueeze(-1);
        rows.index_add_(0, corner.rows[k].flatten(), term.reshape({-1, channels}));
      }
    };
    for_each_chunk(typed_rois,
                   rois_of_level(levels, static_cast<int64_t>(l)),
                   level,
                   channels,
                   pooled_size,
                   sampling_ratio,
                   aligned,
                   body);
    result.push_back(
        rows.view({images, level.height, level.width, channels}).permute({0, 3, 1, 2}).to(type));
  }
  return result;
}

at::Tensor batched_nms(const at::Tensor& boxes,
                       const at::Tensor& scores,
                       const at::Tensor& groups,
                       double iou_threshold) {
  const at::Tensor order =
      std::get<1>(scores.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  const at::Tensor sorted_boxes = boxes.index_select(0, order);
  const at::Tensor sorted_groups = groups.index_select(0, order);
  const int64_t count = boxes.size(0);
  at::Tensor alive = at::ones({count}, boxes.options().dtype(at::kBool));
  for (int64_t i = 0; i < count; ++i) {
    if (!alive[i].item<bool>()) continue;
    const at::Tensor iou = pairwise_iou(sorted_boxes.slice(0, i, i + 1), sorted_boxes).select(0, 0);
    at::Tensor suppressed = iou.to(at::kDouble) > iou_threshold;
    suppressed = suppressed.logical_and(sorted_groups == sorted_groups[i]);
    suppressed.slice(0, 0, i + 1).fill_(false);
    alive = alive.logical_and(suppressed.logical_not());
  }
  return order.masked_select(alive);
}

at::Tensor match_boxes(const at::Tensor& ground_truth,
                       const at::Tensor& candidates,
                       double high_threshold,
                       double low_threshold,
                       bool allow_low_quality) {
  const auto options = candidates.options().dtype(at::kLong);
  const int64_t count = candidates.size(0);
  if (ground_truth.size(0) == 0 || count == 0) {
    return at::full({count}, kBelowLowThreshold, options);
  }
  at::Tensor highest = at::full({ground_truth.size(0)}, -1.0, ground_truth.options());
  for (int64_t begin = 0; begin < count && allow_low_quality; begin += kMatchTile) {
    const at::Tensor tile = candidates.slice(0, begin, begin + kMatchTile);
    highest = at::maximum(highest, pairwise_iou(ground_truth, tile).amax(1));
  }
  std::vector<at::Tensor> result;
  for (int64_t begin = 0; begin < count; begin += kMatchTile) {
    const at::Tensor tile = candidates.slice(0, begin, begin + kMatchTile);
    const at::Tensor iou = pairwise_iou(ground_truth, tile);
    const auto [best, own] = iou.max(0);
    const at::Tensor below = best < low_threshold;
    const at::Tensor between = (best >= low_threshold).logical_and(best < high_threshold);
    at::Tensor matches =
        own.masked_fill(below, kBelowLowThreshold).masked_fill(between, kBetweenThresholds);
    if (allow_low_quality) {
      matches = at::where((iou == highest.unsqueeze(1)).any(0), own, matches);
    }
    result.push_back(matches);
  }
  return at::cat(result);
}

at::Tensor mask_targets(const MaskRuns& masks,
                        const at::Tensor& boxes,
                        const at::Tensor& ground_truth_index,
                        int64_t mask_size) {
  const int64_t count = masks.offsets.size(0) - 1;
  const at::Device device = boxes.device();
  at::Tensor bitmaps = at::zeros({count, 1, masks.width, masks.height}, boxes.options());
  const at::Tensor offsets = masks.offsets.cpu();
  for (int64_t g = 0; g < count; ++g) {
    const at::Tensor counts =
        masks.counts.slice(0, offsets[g].item<int64_t>(), offsets[g + 1].item<int64_t>())
            .to(device, at::kLong);
    const at::Tensor colours = at::arange(counts.size(0), boxes.options()).remainder(2);
    bitmaps[g].copy_(colours.repeat_interleave(counts).view({1, masks.width, masks.height}));
  }
  const at::Tensor rois =
      at::cat({ground_truth_index.to(boxes.scalar_type()).unsqueeze(1), boxes}, 1);
  const at::Tensor levels = at::zeros({boxes.size(0)}, ground_truth_index.options());
  return roi_align({bitmaps.transpose(2, 3)}, rois, levels, {1.0}, mask_size, -1, false)
      .select(1, 0);
}

std::vector<PastedMask> paste_masks(const at::Tensor& masks,
                                    const at::Tensor& boxes,
                                    int64_t height,
                                    int64_t width,
                                    double threshold) {
  const int64_t size = masks.size(-1);
  const double grown = static_cast<double>(size + 2) / static_cast<double>(size);
  const at::Tensor half = (boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2)) * 0.5 * grown;
  const at::Tensor centre = (boxes.slice(1, 2, 4) + boxes.slice(1, 0, 2)) * 0.5;
  const at::Tensor corners = at::cat({centre - half, centre + half}, 1).to(at::kLong).cpu();
  const at::Tensor padded = at::constant_pad_nd(masks, {1, 1, 1, 1});
  std::vector<PastedMask> result;
  for (int64_t d = 0; d < masks.size(0); ++d) {
    const auto corner = [&](int64_t k) { return corners[d][k].item<int64_t>(); };
    const int64_t left = corner(0), top = corner(1), right = corner(2) + 1, bottom = corner(3) + 1;
    const int64_t box_width = std::max<int64_t>(1, right - left);
    const int64_t box_height = std::max<int64_t>(1, bottom - top);
    const at::Tensor stretched = at::upsample_bilinear2d(padded[d].unsqueeze(0).unsqueeze(0),
                                                         {box_height, box_width},
                                                         /*align_corners=*/false)[0][0];
    const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min(right, width);
    const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min(bottom, height);
    at::Tensor image = at::zeros({height, width}, masks.options());
    if (x0 < x1 && y0 < y1) {
      image.slice(0, y0, y1).slice(1, x0, x1).copy_(
          stretched.slice(0, y0 - top, y1 - top).slice(1, x0 - left, x1 - left));
    }
    const at::Tensor bits =
        (image > threshold).transpose(0, 1).contiguous().to(at::kByte).cpu().flatten();
    PastedMask pasted;
    uint8_t colour = 0;
    uint32_t run = 0;
    for (const uint8_t bit : std::span(bits.const_data_ptr<uint8_t>(), bits.numel())) {
      if (bit != colour) {
        pasted.counts.push_back(run);
        run = 0;
        colour = bit;
      }
      ++run;
    }
    pasted.counts.push_back(run);
    result.push_back(std::move(pasted));
  }
  return result;
}

}  // namespace atl::ops::reference
