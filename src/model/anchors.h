// Anchors: the boxes that the RPN classifies, one for each cell, ratio and level.
//
// Legend: L levels, A anchors of all levels, in the order (level, row, column, ratio).
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "model/model_config.h"

namespace atl::model {

struct Anchors {
  at::Tensor boxes;             // (A, 4) f32 on the device
  std::vector<int64_t> counts;  // L, anchors of each level; they sum to A
};

// Makes them for a batch's shape, or finds them again: batches of equal shapes are the rule.
class AnchorMaker {
 public:
  AnchorMaker(const ModelConfig& config, at::Device device);
  // features: L tensors (N, C, H_l, W_l) of padded images height x width.
  const Anchors& get(at::TensorList features, int64_t height, int64_t width);

 private:
  std::vector<at::Tensor> cells_;  // L tensors (ratios, 4), around (0, 0)
  std::map<std::vector<int64_t>, Anchors> made_;
};

}  // namespace atl::model
