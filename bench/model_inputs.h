// What the programs that are compared with torchvision start from: pictures with their objects, a
// state dict and a configuration, as bench/compare.py and reference/compare_r50.py write them. A
// file that cannot be read ends the program with its message.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/mask_rcnn.h"

namespace atl::bench {

struct Picture {
  at::Tensor rgb;  // (H, W, 3) uint8
  model::Target target;
};

template <typename T>
T value_or_exit(Result<T> result) {
  if (!result) {
    std::cerr << result.error().to_string() << "\n";
    std::exit(1);
  }
  return std::move(*result);
}

model::ModelConfig read_config(const std::string& path);
// Of a safetensors file with I.image, I.boxes (G, 4), I.labels (G,) and I.masks (G, H, W) uint8.
std::vector<Picture> read_pictures(const std::string& path);
void load_weights(model::MaskRcnn& model, const std::string& path);
// Normalised and padded to multiples of 32; image ids count from 0.
model::ImageBatch to_batch(const std::vector<Picture>& pictures, const model::ModelConfig& config);

}  // namespace atl::bench
