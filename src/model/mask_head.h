// Mask head: pooled features to one mask for each RoI, that of its class.
//
// Legend: R RoIs, F FPN channels, P pooled size (14), M = 2 P mask size (28).
//   (R, F, P, P) -> 3x3 convolutions with ReLU -> (R, C, P, P)
//   -> transposed 2x2 convolution, stride 2, ReLU -> (R, D, M, M) -> 1x1 for the class -> (R, M, M)
//
// The transposed convolution writes every output pixel from one input pixel: it is a matrix product
// (R P P, C) x (C, 4 D), and since the last layer works pixel by pixel, too, nothing needs sorting
// into M x M before the masks are down to one channel. The last layer is computed for one class
// instead of all K.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/layers.h"

namespace atl::model {

class MaskHead {
 public:
  MaskHead(ParameterSet& parameters, const ModelConfig& config);
  // Logits (R, M, M). labels (R,) int64 on the device.
  at::Tensor forward(const at::Tensor& pooled, const at::Tensor& labels) const;

 private:
  std::vector<Conv> convs_;
  at::Tensor up_weight_;    // (C, D, 2, 2)
  at::Tensor up_bias_;      // (D,)
  at::Tensor mask_weight_;  // (K, D, 1, 1)
  at::Tensor mask_bias_;    // (K,)
};

}  // namespace atl::model
