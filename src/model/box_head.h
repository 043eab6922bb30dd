// Box head: pooled features to class scores and box deltas of each class.
//
// Legend: R RoIs, F FPN channels, P pooled size (7), K classes with the background.
//   (R, F, P, P) -> fc6, ReLU, fc7, ReLU (R, C) -> scores (R, K), deltas (R, 4 K)
#pragma once

#include <ATen/core/Tensor.h>

#include "model/layers.h"

namespace atl::model {

class BoxHead {
 public:
  BoxHead(ParameterSet& parameters, const ModelConfig& config);
  struct Outputs {
    at::Tensor class_logits;  // (R, K)
    at::Tensor box_deltas;    // (R, 4 K)
  };
  Outputs forward(const at::Tensor& pooled) const;

 private:
  int64_t pool_size_;
  Linear fc6_;
  Linear fc7_;
  Linear scores_;
  Linear deltas_;
};

}  // namespace atl::model
