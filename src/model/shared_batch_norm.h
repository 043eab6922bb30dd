// Batch norm over images that are spread over several processes ("SyncBN"): at::batch_norm in training, with
// mean and variance of all of them. Made of sums over the ranks, so that it runs on every device.
//
// Legend: C channels; n pixels of all ranks and images, n_r those of rank r; m_r, v_r its mean and variance.
//   forward   one sum of 2 C + 1 f64:  n_r m_r,  n_r (v_r + m_r^2),  n_r
//             y = (x - m) / sqrt(v + eps) gamma + beta
//   backward  one sum of 2 C f64:  W = sum dy x^,  B = sum dy       with x^ = (x - m) / sqrt(v + eps)
//             dx = gamma / sqrt(v + eps) (dy - B / n - x^ W / n)
#pragma once

#include <ATen/core/Tensor.h>

#include "model/mask_rcnn.h"

namespace atl::model {

struct BatchNormTensors {
  at::Tensor gamma;  // (C,) f32, as are the rest
  at::Tensor beta;
  at::Tensor running_mean;  // updated, to the same bits on all ranks
  at::Tensor running_var;
  double momentum = 0.1;
  double eps = 1e-5;
};

// x (N, C, H, W), f32 or bf16; N H W > 0, but it counts for nothing where ranks.placeholder. Gradients of gamma
// and beta are this rank's part. On some rank there must be images.
at::Tensor shared_batch_norm(const at::Tensor& x, const BatchNormTensors& norm, const Ranks& ranks);

}  // namespace atl::model
