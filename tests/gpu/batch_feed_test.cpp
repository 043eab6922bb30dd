// Batches that a stream of their own has copied, while the device worked, are the batches.
#include "train/batch_feed.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "gpu.h"

namespace atl::train {
namespace {

constexpr int64_t kSteps = 20;
constexpr int kSide_px = 512;

Result<std::optional<dataset::Batch>> batch_of(int64_t step) {
  if (step == kSteps) return std::nullopt;
  dataset::Batch batch;
  batch.step = step;
  batch.height = batch.width = kSide_px;
  static dataset::PixelPool pool(pixel_memory_for(*find_tested_device()));
  batch.pixels = pool.get(dataset::PixelType::kFloat32, size_t{kSide_px} * kSide_px * 3);
  std::ranges::fill(batch.pixels.floats(), static_cast<float>(step));
  auto& sample = batch.samples.emplace_back();
  sample.resized = {kSide_px, kSide_px};
  sample.boxes = {0, 0, static_cast<float>(step), 1};
  sample.labels = {step};
  sample.masks = {{kSide_px, kSide_px, {kSide_px * kSide_px}}};
  return batch;
}

using GpuBatchFeed = OnGpu;

TEST_F(GpuBatchFeed, what_was_copied_beside_the_work_is_whole) {
  int64_t next_step = 0;
  BatchFeed feed([&] { return batch_of(next_step++); }, device_);
  at::Tensor work = at::ones({2048, 2048}, at::TensorOptions().device(device_));
  for (int64_t step = 0; step < kSteps; ++step) {
    auto batch = feed.next();
    ASSERT_TRUE(batch && *batch && (*batch)->tensors);
    const auto& tensors = *(*batch)->tensors;
    const at::Tensor wrong = (tensors.images.pixels != static_cast<double>(step)).sum();
    work = at::mm(work, work) / 2048;
    feed.stage();
    EXPECT_EQ(wrong.item<int64_t>(), 0) << step;
    EXPECT_EQ(tensors.targets[0].labels.item<int64_t>(), step);
    EXPECT_EQ(tensors.targets[0].boxes[0][2].item<float>(), static_cast<float>(step));
  }
  const auto end = feed.next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
}

}  // namespace
}  // namespace atl::train
