// Non-maximum suppression on the CPU. Boxes are sorted by score and split by group; within a group
// a box survives if none of the survivors before it overlaps it too much. Survivors are kept as
// arrays of coordinates, a block of them is compared at once, and the first block that suppresses a
// box ends its search. Groups are independent, so threads share them out.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "ops/kernels.h"

namespace atl::ops::cpu {
namespace {

constexpr size_t kBlock = 32;

// Keys whose increasing order is that of decreasing scores, equal scores by increasing index. NaN
// comes out somewhere, but always in the same place, and never breaks the sort.
uint64_t sort_key(float score, uint32_t index) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);  // -0 becomes 0
  const uint32_t increasing = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (uint64_t{~increasing} << 32) | index;
}

// The largest float not above the threshold: for floats, iou > threshold in double is iou > this.
float float_below(double threshold) {
  const auto nearest = static_cast<float>(threshold);
  if (static_cast<double>(nearest) <= threshold) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

// Coordinates and areas of the survivors, padded to whole blocks with boxes that overlap nothing.
struct Survivors {
  std::vector<float> x1, y1, x2, y2, area;
  size_t count = 0;

  void add(const float* box) {
    if (count % kBlock == 0) {
      for (auto* values : {&x1, &y1, &x2, &y2, &area}) values->resize(count + kBlock, 0.0F);
      std::fill(x1.begin() + static_cast<int64_t>(count), x1.end(), 1.0F);
      std::fill(y1.begin() + static_cast<int64_t>(count), y1.end(), 1.0F);
      std::fill(area.begin() + static_cast<int64_t>(count), area.end(), 1.0F);
    }
    x1[count] = box[0];
    y1[count] = box[1];
    x2[count] = box[2];
    y2[count] = box[3];
    area[count] = (box[2] - box[0]) * (box[3] - box[1]);
    ++count;
  }
};

// Whether one of the survivors suppresses the box.
ATOLL_CLONES bool suppressed(const Survivors& survivors, const float* box, float threshold) {
  const float left = box[0], top = box[1], right = box[2], bottom = box[3];
  const float area = (right - left) * (bottom - top);
  for (size_t begin = 0; begin < survivors.count; begin += kBlock) {
    const float* x1 = survivors.x1.data() + begin;
    const float* y1 = survivors.y1.data() + begin;
    const float* x2 = survivors.x2.data() + begin;
    const float* y2 = survivors.y2.data() + begin;
    const float* areas = survivors.area.data() + begin;
    int32_t over = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const float width = std::min(x2[i], right) - std::max(x1[i], left);
      const float height = std::min(y2[i], bottom) - std::max(y1[i], top);
      const float intersection = (width > 0 ? width : 0) * (height > 0 ? height : 0);
      const float iou = intersection / (areas[i] + area - intersection);
      over |= static_cast<int32_t>(iou > threshold);
    }
    if (over != 0) return true;
  }
  return false;
}

}  // namespace

at::Tensor batched_nms(const at::Tensor& boxes,
                       const at::Tensor& scores,
                       const at::Tensor& groups,
                       double iou_threshold) {
  const int64_t count = boxes.size(0);
  TORCH_CHECK(count < std::numeric_limits<uint32_t>::max(), "batched_nms: too many boxes: ", count);
  const at::Tensor dense_boxes = boxes.contiguous();
  const at::Tensor dense_scores = scores.contiguous();
  const at::Tensor dense_groups = groups.contiguous();
  const auto* box = dense_boxes.const_data_ptr<float>();
  const auto* score = dense_scores.const_data_ptr<float>();
  const auto* group = dense_groups.const_data_ptr<int64_t>();

  std::vector<uint64_t> keys(count);
  for (int64_t i = 0; i < count; ++i) keys[i] = sort_key(score[i], static_cast<uint32_t>(i));
  std::sort(keys.begin(), keys.end());
  // Ranks (places in the order of the scores), one group after the other.
  const auto index_at = [&](int64_t rank) { return static_cast<uint32_t>(keys[rank]); };
  std::vector<int64_t> ranks(count);
  for (int64_t rank = 0; rank < count; ++rank) ranks[rank] = rank;
  std::stable_sort(ranks.begin(), ranks.end(), [&](int64_t a, int64_t b) {
    return group[index_at(a)] < group[index_at(b)];
  });
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || group[index_at(ranks[i])] != group[index_at(ranks[i - 1])]) starts.push_back(i);
  }
  const auto group_count = static_cast<int64_t>(starts.size());
  starts.push_back(count);

  const float threshold = float_below(iou_threshold);
  std::vector<uint8_t> survives(count, 0);
  at::parallel_for(0, group_count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      Survivors survivors;
      for (int64_t i = starts[g]; i < starts[g + 1]; ++i) {
        const float* candidate = box + 4 * int64_t{index_at(ranks[i])};
        if (suppressed(survivors, candidate, threshold)) continue;
        survivors.add(candidate);
        survives[ranks[i]] = 1;
      }
    }
  });

  const int64_t kept = std::count(survives.begin(), survives.end(), 1);
  at::Tensor result = at::empty({kept}, groups.options());
  auto* out = result.mutable_data_ptr<int64_t>();
  for (int64_t rank = 0; rank < count; ++rank) {
    if (survives[rank] != 0) *out++ = index_at(rank);
  }
  return result;
}

}  // namespace atl::ops::cpu
