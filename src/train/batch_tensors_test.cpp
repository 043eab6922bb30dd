#include "train/batch_tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace atl::train {
namespace {

dataset::Batch two_images() {
  dataset::Batch batch;
  batch.height = 32;
  batch.width = 64;
  batch.pixels = dataset::PixelBuffer(dataset::PixelType::kFloat32, 2 * 32 * 64 * 3);
  for (size_t i = 0; i < batch.pixels.size(); ++i) {
    batch.pixels.floats()[i] = static_cast<float>(i);
  }
  batch.samples.resize(2);
  auto& first = batch.samples[0];
  first.image_id = 7;
  first.resized = {5, 4};
  first.boxes = {0, 1, 2, 3, 1, 1, 4, 4};
  first.labels = {2, 1};
  first.masks = {{4, 5, {20}}, {4, 5, {3, 10, 7}}};
  batch.samples[1].image_id = 0;
  batch.samples[1].resized = {6, 6};
  return batch;
}

TEST(BatchTensors, pixels_are_a_channels_last_view_of_the_buffer) {
  auto batch = two_images();
  const float* buffer = batch.pixels.floats().data();
  const auto tensors = to_tensors(std::move(batch), at::kCPU);
  const auto& pixels = tensors.images.pixels;
  EXPECT_EQ(pixels.data_ptr<float>(), buffer);
  EXPECT_EQ(pixels.sizes(), (std::vector<int64_t>{2, 3, 32, 64}));
  EXPECT_TRUE(pixels.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_EQ((pixels[1][2][3][4].item<float>()), ((32 + 3) * 64 + 4) * 3 + 2);
}

TEST(BatchTensors, bfloat16_buffers_become_bfloat16_tensors) {
  auto batch = two_images();
  batch.pixels = dataset::PixelBuffer(dataset::PixelType::kBfloat16, 2 * 32 * 64 * 3);
  for (size_t i = 0; i < batch.pixels.size(); ++i) {
    batch.pixels.bfloat16s()[i] = static_cast<uint16_t>(i % 2 == 0 ? 0x3f80 : 0xc000);
  }
  const auto pixels = to_tensors(std::move(batch), at::kCPU).images.pixels;
  EXPECT_EQ(pixels.scalar_type(), at::kBFloat16);
  EXPECT_EQ(pixels[0][0][0][0].item<float>(), 1);
  EXPECT_EQ(pixels[0][1][0][0].item<float>(), -2);
}

TEST(BatchTensors, the_memory_goes_back_when_the_tensor_dies) {
  dataset::PixelPool pool;
  auto batch = two_images();
  batch.pixels = pool.get(dataset::PixelType::kFloat32, 2 * 32 * 64 * 3);
  const std::byte* buffer = batch.pixels.bytes().data();
  at::Tensor pixels = to_tensors(std::move(batch), at::kCPU).images.pixels;
  at::Tensor view = pixels[1];
  pixels.reset();
  const auto other = pool.get(dataset::PixelType::kFloat32, 10);
  EXPECT_NE(other.bytes().data(), buffer);
  view.reset();
  EXPECT_EQ(pool.get(dataset::PixelType::kFloat32, 10).bytes().data(), buffer);
}

TEST(BatchTensors, the_buffer_lives_as_long_as_its_tensor) {
  at::Tensor pixels = to_tensors(two_images(), at::kCPU).images.pixels;
  EXPECT_EQ(pixels.sum(at::kDouble).item<double>(), 12287.0 * 12288 / 2);
}

TEST(BatchTensors, targets_hold_boxes_labels_and_runs_and_may_be_empty) {
  const auto tensors = to_tensors(two_images(), at::kCPU);
  ASSERT_EQ(tensors.targets.size(), 2U);
  const auto& first = tensors.targets[0];
  EXPECT_TRUE(
      at::equal(first.boxes, at::tensor({0.F, 1.F, 2.F, 3.F, 1.F, 1.F, 4.F, 4.F}).view({2, 4})));
  EXPECT_TRUE(at::equal(first.labels, at::tensor({2, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(first.masks.counts, at::tensor({20, 3, 10, 7}, at::kInt)));
  EXPECT_TRUE(at::equal(first.masks.offsets, at::tensor({0, 1, 4}, at::kLong)));
  EXPECT_EQ(first.masks.height, 4);
  EXPECT_EQ(first.masks.width, 5);
  const auto& empty = tensors.targets[1];
  EXPECT_EQ(empty.boxes.sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(empty.masks.offsets.numel(), 1);
  EXPECT_EQ(tensors.images.image_ids, (std::vector<int64_t>{7, 0}));
}

}  // namespace
}  // namespace atl::train
