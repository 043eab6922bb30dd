// From the loader's plain buffers to what the model takes.
#pragma once

#include <vector>

#include "dataset/loader.h"
#include "model/mask_rcnn.h"

namespace atl::train {

struct BatchTensors {
  model::ImageBatch images;
  std::vector<model::Target> targets;  // one for each image; empty tensors where the batch has none
};

// The pixels are not copied on the CPU: the tensor is a channels-last view that keeps the buffer
// alive.
BatchTensors to_tensors(dataset::Batch batch, at::Device device);

}  // namespace atl::train
