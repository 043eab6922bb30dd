// The pieces of the five losses that more than one head uses. Everything is summed in f32, also
// when the heads run in bf16.
#pragma once

#include <ATen/core/Tensor.h>

namespace atl::model {

// Huber's loss with torchvision's beta of 1/9, summed over all elements, divided by `count`
// (at least 1). Zero with a gradient for empty inputs.
at::Tensor smooth_l1(const at::Tensor& predicted, const at::Tensor& wanted, int64_t count);

// Mean binary cross entropy of logits against targets in [0, 1] of the same shape. Zero with a
// gradient for empty inputs, where a mean would be NaN.
at::Tensor mean_binary_cross_entropy(const at::Tensor& logits, const at::Tensor& wanted);

// Mean cross entropy, logits (R, K) against labels (R,). Zero with a gradient for R = 0.
at::Tensor mean_cross_entropy(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace atl::model
