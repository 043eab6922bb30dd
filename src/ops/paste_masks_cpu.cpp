// Pasting masks on the CPU: the probability mask, grown by a pixel of zeros all around, is
// stretched over its box and thresholded column by column, straight into runs; only pixels of the
// box cost anything.
//
// The pixels must be those of torch's own bilinear interpolation, so its rounding is followed
// exactly. It has two ways: outputs with height + width <= 128 weigh four corners, larger ones go
// along x first and then along y; and where torch runs its AVX code, products are fused into the
// sums (measured on torch 2.11 with every combination; all others differ in some pixel).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/kernels.h"

namespace atl::ops::cpu {
namespace {

constexpr int64_t kCornersUpTo = 128;       // height + width of the box
constexpr float kFarthest = 1073741824.0F;  // 2^30 px: coordinates beyond are pulled in

// Column-major runs, zeros first.
class RunWriter {
 public:
  void add(bool foreground, int64_t length) {
    if (length == 0) return;
    if (foreground != foreground_) {
      runs_.push_back(static_cast<int32_t>(length_));
      foreground_ = foreground;
      length_ = 0;
    }
    length_ += length;
  }
  // Pixels of a column: 0 or 1 each.
  void add(const uint8_t* pixels, int64_t count) {
    const uint8_t* end = pixels + count;
    while (pixels < end) {
      const auto* next = static_cast<const uint8_t*>(
          std::memchr(pixels, 1 - *pixels, static_cast<size_t>(end - pixels)));
      if (next == nullptr) next = end;
      add(*pixels != 0, next - pixels);
      pixels = next;
    }
  }
  std::vector<int32_t> finish() && {
    runs_.push_back(static_cast<int32_t>(length_));
    return std::move(runs_);
  }

 private:
  std::vector<int32_t> runs_;
  bool foreground_ = false;
  int64_t length_ = 0;
};

// a * b + c, rounded once or twice.
template <bool kFused>
ATOLL_INLINE float multiply_add(float a, float b, float c) {
  if constexpr (kFused) return __builtin_fmaf(a, b, c);
  return a * b + c;
}

// Source cells and weights of pixels [begin, end) of a side that is `size` pixels long.
struct AxisTable {
  std::vector<int32_t> low, high;
  std::vector<float> low_weight, high_weight;
};

template <bool kFused>
AxisTable axis_table(int64_t cells, int64_t size, int64_t begin, int64_t end) {
  AxisTable table;
  const float scale = static_cast<float>(cells) / static_cast<float>(size);
  for (int64_t i = begin; i < end; ++i) {
    const float centre = static_cast<float>(i) + 0.5F;
    const float source = std::max(multiply_add<kFused>(scale, centre, -0.5F), 0.0F);
    const auto low =
        static_cast<int32_t>(std::min<int64_t>(static_cast<int64_t>(source), cells - 1));
    const float fraction = std::clamp(source - static_cast<float>(low), 0.0F, 1.0F);
    table.low.push_back(low);
    table.high.push_back(std::min<int32_t>(low + 1, static_cast<int32_t>(cells - 1)));
    table.low_weight.push_back(1.0F - fraction);
    table.high_weight.push_back(fraction);
  }
  return table;
}

// A column of the mask's low and high source cells, each M + 2 long, with the x weights.
struct SourceColumn {
  const float* low;
  const float* high;
  float low_weight;
  float high_weight;
};

template <bool kFused>
ATOLL_INLINE void weigh_corners(const SourceColumn& x,
                                const AxisTable& y,
                                float threshold,
                                uint8_t* pixels) {
  const auto count = static_cast<int64_t>(y.low.size());
  for (int64_t i = 0; i < count; ++i) {
    const int32_t low = y.low[i], high = y.high[i];
    const float first = y.low_weight[i] * x.high_weight * x.high[low];
    float sum = multiply_add<kFused>(y.low_weight[i] * x.low_weight, x.low[low], first);
    sum = multiply_add<kFused>(y.high_weight[i] * x.low_weight, x.low[high], sum);
    sum = multiply_add<kFused>(y.high_weight[i] * x.high_weight, x.high[high], sum);
    pixels[i] = sum > threshold ? 1 : 0;
  }
}

// blend: scratch of `cells` floats.
template <bool kFused>
ATOLL_INLINE void weigh_axes(const SourceColumn& x,
                             const AxisTable& y,
                             float threshold,
                             int64_t cells,
                             float* blend,
                             uint8_t* pixels) {
  for (int64_t i = 0; i < cells; ++i) {
    blend[i] = multiply_add<kFused>(x.low[i], x.low_weight, x.high[i] * x.high_weight);
  }
  const auto count = static_cast<int64_t>(y.low.size());
  for (int64_t i = 0; i < count; ++i) {
    const float sum =
        multiply_add<kFused>(blend[y.low[i]], y.low_weight[i], blend[y.high[i]] * y.high_weight[i]);
    pixels[i] = sum > threshold ? 1 : 0;
  }
}

ATOLL_CLONES void corners_fused(const SourceColumn& x,
                                const AxisTable& y,
                                float threshold,
                                uint8_t* pixels) {
  weigh_corners<true>(x, y, threshold, pixels);
}
ATOLL_CLONES void axes_fused(const SourceColumn& x,
                             const AxisTable& y,
                             float threshold,
                             int64_t cells,
                             float* blend,
                             uint8_t* pixels) {
  weigh_axes<true>(x, y, threshold, cells, blend, pixels);
}

struct BoxPixels {
  int64_t left, top, right, bottom;  // exclusive right and bottom
  int64_t width() const { return std::max<int64_t>(1, right - left); }
  int64_t height() const { return std::max<int64_t>(1, bottom - top); }
};

// The box grown as the mask is, (M + 2) / M times around its centre, in whole pixels.
BoxPixels grown_box(const float* box, int64_t mask_size) {
  const auto factor =
      static_cast<float>(static_cast<double>(mask_size + 2) / static_cast<double>(mask_size));
  const auto pixel = [](float value) {  // far outside when it is not a number
    return static_cast<int64_t>(value > -kFarthest ? std::min(value, kFarthest) : -kFarthest);
  };
  const float half_width = (box[2] - box[0]) * 0.5F * factor;
  const float half_height = (box[3] - box[1]) * 0.5F * factor;
  const float x = (box[2] + box[0]) * 0.5F;
  const float y = (box[3] + box[1]) * 0.5F;
  return {pixel(x - half_width),
          pixel(y - half_height),
          pixel(x + half_width) + 1,
          pixel(y + half_height) + 1};
}

struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
};

template <bool kFused>
std::vector<int32_t> paste(
    const float* mask, int64_t mask_size, const float* box, ImageSize image, float threshold) {
  const BoxPixels pixels = grown_box(box, mask_size);
  const int64_t left = std::max<int64_t>(pixels.left, 0),
                right = std::min(pixels.right, image.width);
  const int64_t top = std::max<int64_t>(pixels.top, 0),
                bottom = std::min(pixels.bottom, image.height);
  RunWriter runs;
  if (left >= right || top >= bottom) {
    runs.add(false, image.height * image.width);
    return std::move(runs).finish();
  }
  // The grown mask, transposed: a source column is contiguous.
  const int64_t cells = mask_size + 2;
  std::vector<float> columns(cells * cells, 0.0F);
  for (int64_t y = 0; y < mask_size; ++y) {
    for (int64_t x = 0; x < mask_size; ++x) {
      columns[(x + 1) * cells + y + 1] = mask[y * mask_size + x];
    }
  }
  const AxisTable x =
      axis_table<kFused>(cells, pixels.width(), left - pixels.left, right - pixels.left);
  const AxisTable y =
      axis_table<kFused>(cells, pixels.height(), top - pixels.top, bottom - pixels.top);
  const bool by_corners = pixels.height() + pixels.width() <= kCornersUpTo;
  std::vector<float> blend(cells);
  std::vector<uint8_t> column(bottom - top);
  runs.add(false, left * image.height);
  for (size_t i = 0; i < x.low.size(); ++i) {
    const SourceColumn source = {columns.data() + x.low[i] * cells,
                                 columns.data() + x.high[i] * cells,
                                 x.low_weight[i],
                                 x.high_weight[i]};
    if (by_corners) {
      if constexpr (kFused)
        corners_fused(source, y, threshold, column.data());
      else
        weigh_corners<false>(source, y, threshold, column.data());
    } else {
      if constexpr (kFused)
        axes_fused(source, y, threshold, cells, blend.data(), column.data());
      else
        weigh_axes<false>(source, y, threshold, cells, blend.data(), column.data());
    }
    runs.add(false, top);
    runs.add(column.data(), bottom - top);
    runs.add(false, image.height - bottom);
  }
  runs.add(false, (image.width - right) * image.height);
  return std::move(runs).finish();
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> paste_masks(const at::Tensor& masks,
                                               const at::Tensor& boxes,
                                               int64_t height,
                                               int64_t width,
                                               double threshold) {
  const at::Tensor dense_masks = masks.contiguous();
  const at::Tensor dense_boxes = boxes.contiguous();
  const auto* mask = dense_masks.const_data_ptr<float>();
  const auto* box = dense_boxes.const_data_ptr<float>();
  const int64_t count = masks.size(0), mask_size = masks.size(1);
  const bool fused = at::get_cpu_capability() != "DEFAULT";
  const auto limit = static_cast<float>(threshold);
  std::vector<std::vector<int32_t>> runs(count);
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t d = begin; d < end; ++d) {
      const auto* one = mask + d * mask_size * mask_size;
      const ImageSize image = {height, width};
      runs[d] = fused ? paste<true>(one, mask_size, box + 4 * d, image, limit)
                      : paste<false>(one, mask_size, box + 4 * d, image, limit);
    }
  });

  const at::Tensor offsets = at::zeros({count + 1}, at::kLong);
  auto* offset = offsets.mutable_data_ptr<int64_t>();
  for (int64_t d = 0; d < count; ++d) {
    offset[d + 1] = offset[d] + static_cast<int64_t>(runs[d].size());
  }
  const at::Tensor counts = at::empty({offset[count]}, at::kInt);
  auto* to = counts.mutable_data_ptr<int32_t>();
  for (const auto& of_one : runs) to = std::copy(of_one.begin(), of_one.end(), to);
  return {counts, offsets};
}

}  // namespace atl::ops::cpu
