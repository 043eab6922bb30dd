// Targets of the mask head on the CPU: RoIAlign of bitmaps that are never made. Of each mask only
// the columns and rows under the box are decoded, one byte a pixel.
//
// M mask size, S samples a bin along x. The M * S samples of a row are laid out sample-major (all
// bins' first samples, then all second ones, …), so that the inner loop runs along the bins. The
// sums are torchvision's in its order and give its bits.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "ops/axis_samples.h"
#include "ops/kernels.h"

namespace atl::ops::cpu {
namespace {

struct Size {
  int64_t height = 0;
  int64_t width = 0;
};

// The ends of a mask's runs in column-major order; odd runs are foreground.
using RunEnds = std::vector<int64_t>;

std::vector<RunEnds> all_run_ends(const at::Tensor& counts, const at::Tensor& offsets, Size size) {
  const at::Tensor dense_counts = counts.contiguous();
  const at::Tensor dense_offsets = offsets.contiguous();
  const auto* count = dense_counts.const_data_ptr<int32_t>();
  const auto* offset = dense_offsets.const_data_ptr<int64_t>();
  std::vector<RunEnds> result(offsets.size(0) - 1);
  for (size_t g = 0; g < result.size(); ++g) {
    TORCH_CHECK(0 <= offset[g] && offset[g] <= offset[g + 1] && offset[g + 1] <= counts.size(0),
                "mask_targets: the runs of mask ",
                g,
                " are ",
                offset[g],
                "..",
                offset[g + 1],
                " of ",
                counts.size(0));
    int64_t end = 0;
    for (int64_t i = offset[g]; i < offset[g + 1]; ++i) {
      TORCH_CHECK(count[i] >= 0, "mask_targets: mask ", g, " has a run of ", count[i], " px");
      result[g].push_back(end += count[i]);
    }
    TORCH_CHECK(end == size.height * size.width,
                "mask_targets: the runs of mask ",
                g,
                " cover ",
                end,
                " px of ",
                size.height,
                " x ",
                size.width);
  }
  return result;
}

// Part of a mask, column-major, a byte a pixel.
struct Crop {
  int64_t left = 0, top = 0, height = 0;
  std::vector<uint8_t> pixels;

  const uint8_t* row(int64_t y) const { return pixels.data() + (y - top); }
};

// Columns [left, right] and rows [top, bottom] of the mask.
void decode(const RunEnds& ends,
            Size size,
            std::pair<int64_t, int64_t> columns,
            std::pair<int64_t, int64_t> rows,
            Crop& crop) {
  crop.left = columns.first;
  crop.top = rows.first;
  crop.height = rows.second - rows.first + 1;
  crop.pixels.resize((columns.second - columns.first + 1) * crop.height);
  uint8_t* out = crop.pixels.data();
  for (int64_t x = columns.first; x <= columns.second; ++x, out += crop.height) {
    int64_t at = x * size.height + crop.top;
    const int64_t end = at + crop.height;
    uint8_t* pixel = out;
    for (auto run = std::upper_bound(ends.begin(), ends.end(), at); at < end; ++run) {
      const int64_t length = std::min(end, *run) - at;
      std::memset(pixel, static_cast<int>((run - ends.begin()) & 1), length);
      pixel += length;
      at += length;
    }
  }
}

// The first and last cell that the samples touch; second < first if all are outside.
std::pair<int64_t, int64_t> touched(std::span<const AxisSample<float>> samples) {
  std::pair<int64_t, int64_t> range = {INT32_MAX, -1};
  for (const AxisSample<float>& sample : samples) {
    if (sample.low < 0) continue;
    range.first = std::min<int64_t>(range.first, sample.low);
    range.second = std::max<int64_t>(range.second, sample.high);
  }
  return range;
}

// A row of pixels at the low and high cells of all x samples.
struct SampledRow {
  int64_t y = -1;
  std::vector<float> low, high;
};

struct Scratch {
  std::vector<AxisSample<float>> y, x;
  std::vector<int64_t> low_cell,
      high_cell;  // of x samples, sample-major: offsets of columns in the crop
  std::vector<float> low_weight, high_weight;
  Crop crop;
  SampledRow rows[2];

  void sample(int64_t y_cell, SampledRow& row) const {
    if (row.y == y_cell) return;
    row.y = y_cell;
    const uint8_t* pixels = crop.row(y_cell);
    for (size_t i = 0; i < low_cell.size(); ++i) row.low[i] = pixels[low_cell[i]];
    for (size_t i = 0; i < high_cell.size(); ++i) row.high[i] = pixels[high_cell[i]];
  }
};

// Adds one row of samples to the M sums of a row of bins.
ATOLL_CLONES void add_row(const Scratch& scratch,
                          const AxisSample<float>& y,
                          int64_t mask_size,
                          int64_t grid,
                          float* sums) {
  const SampledRow& low = scratch.rows[0];
  const SampledRow& high = scratch.rows[1];
  for (int64_t i = 0; i < grid; ++i) {
    const int64_t first = i * mask_size;
    const float* x_low = scratch.low_weight.data() + first;
    const float* x_high = scratch.high_weight.data() + first;
    const float* low_low = low.low.data() + first;
    const float* low_high = low.high.data() + first;
    const float* high_low = high.low.data() + first;
    const float* high_high = high.high.data() + first;
#pragma GCC ivdep
    for (int64_t bin = 0; bin < mask_size; ++bin) {
      sums[bin] +=
          y.low_weight * x_low[bin] * low_low[bin] + y.low_weight * x_high[bin] * low_high[bin] +
          y.high_weight * x_low[bin] * high_low[bin] + y.high_weight * x_high[bin] * high_high[bin];
    }
  }
}

void prepare_columns(const Axis<float>& axis, int64_t mask_size, Scratch& scratch) {
  const size_t count = scratch.x.size();
  for (auto* cells : {&scratch.low_cell, &scratch.high_cell}) cells->assign(count, 0);
  for (auto* weights : {&scratch.low_weight, &scratch.high_weight}) weights->assign(count, 0);
  for (SampledRow& row : scratch.rows) {
    row.y = -1;
    row.low.assign(count, 0);
    row.high.assign(count, 0);
  }
  for (int64_t bin = 0; bin < mask_size; ++bin) {
    for (int64_t i = 0; i < axis.grid; ++i) {
      const AxisSample<float>& sample = scratch.x[bin * axis.grid + i];
      if (sample.low < 0) continue;  // weight 0 on a column that exists
      const int64_t to = i * mask_size + bin;
      scratch.low_cell[to] = (sample.low - scratch.crop.left) * scratch.crop.height;
      scratch.high_cell[to] = (sample.high - scratch.crop.left) * scratch.crop.height;
      scratch.low_weight[to] = sample.low_weight;
      scratch.high_weight[to] = sample.high_weight;
    }
  }
}

// out: (M, M), zeroed.
void target(const RunEnds& ends,
            Size size,
            const float* box,
            int64_t mask_size,
            Scratch& scratch,
            float* out) {
  const auto axis_y = roi_axis(box[1], box[3], 1.0F, mask_size, -1, false);
  const auto axis_x = roi_axis(box[0], box[2], 1.0F, mask_size, -1, false);
  scratch.y.clear();
  scratch.x.clear();
  append_samples(axis_y, mask_size, size.height, scratch.y);
  append_samples(axis_x, mask_size, size.width, scratch.x);
  const auto rows = touched(scratch.y);
  const auto columns = touched(scratch.x);
  if (rows.second < rows.first || columns.second < columns.first) return;
  decode(ends, size, columns, rows, scratch.crop);
  prepare_columns(axis_x, mask_size, scratch);

  const auto count = static_cast<float>(axis_y.grid * axis_x.grid);
  for (int64_t bin = 0; bin < mask_size; ++bin, out += mask_size) {
    for (int64_t i = 0; i < axis_y.grid; ++i) {
      const AxisSample<float>& y = scratch.y[bin * axis_y.grid + i];
      if (y.low < 0) continue;
      if (scratch.rows[1].y == y.low) std::swap(scratch.rows[0], scratch.rows[1]);
      scratch.sample(y.low, scratch.rows[0]);
      scratch.sample(y.high, scratch.rows[1]);
      add_row(scratch, y, mask_size, axis_x.grid, out);
    }
    for (int64_t x = 0; x < mask_size; ++x) out[x] /= count;
  }
}

}  // namespace

at::Tensor mask_targets(const at::Tensor& counts,
                        const at::Tensor& offsets,
                        int64_t height,
                        int64_t width,
                        const at::Tensor& boxes,
                        const at::Tensor& ground_truth_index,
                        int64_t mask_size) {
  const Size size = {height, width};
  const std::vector<RunEnds> masks = all_run_ends(counts, offsets, size);
  const at::Tensor dense_boxes = boxes.contiguous();
  const at::Tensor dense_index = ground_truth_index.contiguous();
  const auto* box = dense_boxes.const_data_ptr<float>();
  const auto* index = dense_index.const_data_ptr<int64_t>();
  const int64_t count = boxes.size(0);
  for (int64_t r = 0; r < count; ++r) {
    TORCH_CHECK(index[r] >= 0 && index[r] < static_cast<int64_t>(masks.size()),
                "mask_targets: box ",
                r,
                " wants mask ",
                index[r],
                " of ",
                masks.size());
  }
  at::Tensor result = at::zeros({count, mask_size, mask_size}, boxes.options());
  auto* out = result.mutable_data_ptr<float>();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t r = begin; r < end; ++r) {
      target(
          masks[index[r]], size, box + 4 * r, mask_size, scratch, out + r * mask_size * mask_size);
    }
  });
  return result;
}

}  // namespace atl::ops::cpu
