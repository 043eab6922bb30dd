// From the loader's plain buffers to what the model takes.
#pragma once

#include <vector>

#include "dataset/loader.h"
#include "model/mask_rcnn.h"

namespace atl::train {

struct BatchTensors {
  model::ImageBatch images;
  std::vector<model::Target> targets;  // one for each image; empty tensors where the batch has none
  // What images.pixels is being copied from, where that goes on beside the host's work: it must
  // live until something has waited for the device. Undefined on the CPU.
  at::Tensor copied_from;
};

// Where a loader's batches must lie for to_tensors() to copy them to the device without waiting:
// pinned memory for a GPU, ordinary memory for the CPU.
dataset::PixelMemory pixel_memory_for(at::Device device);

// The pixels are not copied on the CPU: the tensor is a channels-last view that keeps the buffer
// alive.
BatchTensors to_tensors(dataset::Batch batch, at::Device device);

}  // namespace atl::train
