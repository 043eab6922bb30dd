// For tests: two images of 64 x 64, of which the second has no objects.
#pragma once

#include <cmath>

#include "train/batch_tensors.h"

namespace atl::train {

inline BatchTensors small_batch(at::Device device) {
  dataset::Batch batch;
  batch.height = 64;
  batch.width = 64;
  batch.pixels = dataset::PixelBuffer(dataset::PixelType::kFloat32, size_t{2} * 64 * 64 * 3);
  for (size_t i = 0; i < batch.pixels.size(); ++i) {
    batch.pixels.floats()[i] = std::sin(static_cast<float>(i) * 0.37F);
  }
  batch.samples.resize(2);
  batch.samples[0].image_id = 0;
  batch.samples[1].image_id = 9;
  for (auto& sample : batch.samples) sample.resized = {64, 64};
  batch.samples[0].boxes = {8, 8, 40, 56};
  batch.samples[0].labels = {2};
  batch.samples[0].masks = {{64, 64, {64 * 8, 64 * 32, 64 * 24}}};
  return to_tensors(std::move(batch), device);
}

}  // namespace atl::train
