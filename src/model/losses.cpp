#include "model/losses.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace atl::model {
namespace {

constexpr double kSmoothL1Beta = 1.0 / 9.0;

double divisor(int64_t count) { return static_cast<double>(std::max<int64_t>(count, 1)); }

}  // namespace

at::Tensor smooth_l1(const at::Tensor& predicted, const at::Tensor& wanted, int64_t count) {
  return at::smooth_l1_loss(predicted.to(at::kFloat), wanted, at::Reduction::Sum, kSmoothL1Beta) /
         divisor(count);
}

at::Tensor mean_binary_cross_entropy(const at::Tensor& logits, const at::Tensor& wanted) {
  return at::binary_cross_entropy_with_logits(
             logits.to(at::kFloat), wanted, {}, {}, at::Reduction::Sum) /
         divisor(logits.numel());
}

at::Tensor mean_cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits.to(at::kFloat), labels, {}, at::Reduction::Sum) /
         divisor(logits.size(0));
}

}  // namespace atl::model
