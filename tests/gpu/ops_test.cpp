// The operators on a GPU against the CPU's kernels.
#include "ops/ops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "gpu.h"

namespace atl::ops {
namespace {

using at::Tensor;

constexpr double kTolerance = 1e-5;

class GpuOps : public OnGpu {
 protected:
  void SetUp() override {
    OnGpu::SetUp();
    at::manual_seed(7);
  }
};

Tensor random_boxes(int64_t count) {
  const Tensor centres = at::rand({count, 2}) * 120;
  const Tensor halves = at::rand({count, 2}).pow(2) * 40 + 0.5;
  return at::cat({centres - halves, centres + halves}, 1);
}

TEST_F(GpuOps, roi_align_and_its_gradient) {
  const std::vector<double> scales = {0.25, 0.125};
  const std::vector<Tensor> features = {at::randn({2, 5, 32, 32}), at::randn({2, 5, 16, 16})};
  const Tensor rois = at::cat({at::randint(2, {40, 1}).to(at::kFloat), random_boxes(40)}, 1);
  const Tensor levels = at::randint(2, {40}, at::kLong);
  const auto pooled_on = [&](at::Device device) {
    std::vector<Tensor> leaves;
    for (const auto& feature : features) {
      leaves.push_back(feature.to(device).detach().clone().requires_grad_());
    }
    const Tensor pooled = roi_align(leaves, rois.to(device), levels.to(device), scales, 7, 2);
    pooled.backward(pooled.detach().cos());
    return std::vector<Tensor>{pooled.detach(), leaves[0].grad(), leaves[1].grad()};
  };
  const auto expected = pooled_on(at::kCPU);
  const auto found = pooled_on(device_);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].device().type(), device_.type());
    EXPECT_GT(expected[i].norm().item<double>(), 0);
    EXPECT_LT(relative_error(found[i], expected[i]), kTolerance);
  }
}

TEST_F(GpuOps, levels_suppression_and_matching_give_the_same_indices) {
  const Tensor boxes = random_boxes(500);
  const Tensor scores = at::rand({500});
  const Tensor groups = at::randint(3, {500}, at::kLong);
  EXPECT_TRUE(at::equal(assign_levels(boxes.to(device_), 2, 5).cpu(), assign_levels(boxes, 2, 5)));
  const Tensor kept = batched_nms(boxes, scores, groups, 0.4);
  EXPECT_GT(kept.numel(), 10);
  EXPECT_LT(kept.numel(), 490);
  EXPECT_TRUE(at::equal(
      batched_nms(boxes.to(device_), scores.to(device_), groups.to(device_), 0.4).cpu(), kept));
  const Tensor truth = random_boxes(20);
  for (const bool low_quality : {false, true}) {
    const Tensor matched = match_boxes(truth, boxes, 0.5, 0.3, low_quality);
    EXPECT_GT((matched >= 0).sum().item<int64_t>(), 0);
    EXPECT_TRUE(at::equal(
        match_boxes(truth.to(device_), boxes.to(device_), 0.5, 0.3, low_quality).cpu(), matched));
  }
}

TEST_F(GpuOps, box_coding) {
  const BoxWeights weights = {10, 10, 5, 5};
  const Tensor boxes = random_boxes(50);
  const Tensor others = random_boxes(50);
  const Tensor deltas = encode_boxes(others, boxes, weights);
  const Tensor found = encode_boxes(others.to(device_), boxes.to(device_), weights);
  EXPECT_LT(relative_error(found, deltas), kTolerance);
  EXPECT_LT(relative_error(decode_boxes(found, boxes.to(device_), weights),
                           decode_boxes(deltas, boxes, weights)),
            kTolerance);
}

TEST_F(GpuOps, mask_targets_and_pasted_masks) {
  MaskRuns runs;
  runs.height = 64;
  runs.width = 64;
  runs.counts = at::tensor({64 * 8, 64 * 32, 64 * 24, 1000, 500, 64 * 64 - 1500}, at::kInt);
  runs.offsets = at::tensor({0, 3, 6}, at::kLong);
  const Tensor boxes = random_boxes(30) / 2;
  const Tensor index = at::randint(2, {30}, at::kLong);
  const Tensor targets = mask_targets(runs, boxes, index, 28);
  EXPECT_GT(targets.sum().item<double>(), 0);
  EXPECT_LT(relative_error(mask_targets(runs, boxes.to(device_), index.to(device_), 28), targets),
            kTolerance);
  const Tensor masks = at::rand({30, 28, 28});
  const auto expected = paste_masks(masks, boxes, 64, 64);
  const auto found = paste_masks(masks.to(device_), boxes.to(device_), 64, 64);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].counts, expected[i].counts) << i;
}

}  // namespace
}  // namespace atl::ops
