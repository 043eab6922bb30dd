// The pieces of the five losses that more than one head uses: sums, and what makes means of them. Everything
// is summed in f32, also when the heads run in bf16. A sum over nothing is zero, with a gradient.
#pragma once

#include <ATen/core/Tensor.h>

namespace atl::model {

// Huber's loss with torchvision's beta of 1/9, over all elements.
at::Tensor smooth_l1_sum(const at::Tensor& predicted, const at::Tensor& wanted);

// Binary cross entropy of logits against targets in [0, 1] of the same shape.
at::Tensor binary_cross_entropy_sum(const at::Tensor& logits, const at::Tensor& wanted);

// Cross entropy, logits (R, K) against labels (R,).
at::Tensor cross_entropy_sum(const at::Tensor& logits, const at::Tensor& labels);

// Divided by `count`, at least 1: zero for nothing, where a mean would be NaN.
at::Tensor mean_of(const at::Tensor& sum, int64_t count);

}  // namespace atl::model
