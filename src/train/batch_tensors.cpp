#include "train/batch_tensors.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace atl::train {
namespace {

at::Tensor pixel_view(dataset::PixelBuffer pixels, int64_t images, int64_t height, int64_t width) {
  const auto type = pixels.type() == dataset::PixelType::kFloat32 ? at::kFloat : at::kBFloat16;
  std::byte* data = pixels.bytes().data();
  // (N, H, W, 3) in memory is (N, 3, H, W) channels-last.
  return at::from_blob(
      data,
      {images, 3, height, width},
      {height * width * 3, 1, width * 3, 3},
      [owner = std::move(pixels)](void*) {},  // with it the buffer goes back to the loader
      at::TensorOptions().dtype(type));
}

ops::MaskRuns mask_runs(const dataset::Sample& sample) {
  const auto masks = static_cast<int64_t>(sample.masks.size());
  int64_t total = 0;
  for (const auto& mask : sample.masks) total += static_cast<int64_t>(mask.counts.size());
  ops::MaskRuns runs;
  runs.height = sample.resized.height;
  runs.width = sample.resized.width;
  runs.counts = at::empty({total}, at::kInt);
  runs.offsets = at::empty({masks + 1}, at::kLong);
  auto* counts = runs.counts.data_ptr<int32_t>();
  auto* offsets = runs.offsets.data_ptr<int64_t>();
  int64_t offset = 0;
  for (int64_t i = 0; i < masks; ++i) {
    offsets[i] = offset;
    const auto& source = sample.masks[i].counts;
    std::ranges::copy(source, counts + offset);
    offset += static_cast<int64_t>(source.size());
  }
  offsets[masks] = offset;
  return runs;
}

model::Target target(const dataset::Sample& sample, at::Device device) {
  const auto objects = static_cast<int64_t>(sample.labels.size());
  model::Target target;
  target.boxes = at::empty({objects, 4}, at::kFloat);
  std::ranges::copy(sample.boxes, target.boxes.data_ptr<float>());
  target.labels = at::empty({objects}, at::kLong);
  std::ranges::copy(sample.labels, target.labels.data_ptr<int64_t>());
  target.boxes = target.boxes.to(device);
  target.labels = target.labels.to(device);
  target.masks = mask_runs(sample);
  return target;
}

}  // namespace

dataset::PixelMemory pixel_memory_for(at::Device device) {
  if (!device.is_cuda()) return dataset::ordinary_pixel_memory;
  return [](size_t bytes) {
    auto* allocator = at::detail::getCUDAHooks().getPinnedMemoryAllocator();
    const auto owner = std::make_shared<at::DataPtr>(allocator->allocate(bytes));
    return std::shared_ptr<std::byte>(owner, static_cast<std::byte*>(owner->get()));
  };
}

BatchTensors to_tensors(dataset::Batch batch, at::Device device) {
  BatchTensors tensors;
  const auto images = static_cast<int64_t>(batch.samples.size());
  const at::Tensor pixels = pixel_view(std::move(batch.pixels), images, batch.height, batch.width);
  tensors.images.pixels = pixels.to(device, pixels.scalar_type(), /*non_blocking=*/true);
  if (!device.is_cpu()) tensors.copied_from = pixels;
  for (const auto& sample : batch.samples) {
    tensors.images.sizes.push_back({sample.resized.height, sample.resized.width});
    tensors.images.image_ids.push_back(sample.image_id);
    tensors.targets.push_back(target(sample, device));
  }
  return tensors;
}

}  // namespace atl::train
