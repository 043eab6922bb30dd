#include "model/losses.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace atl::model {
namespace {

constexpr double kSmoothL1Beta = 1.0 / 9.0;

}  // namespace

at::Tensor smooth_l1_sum(const at::Tensor& predicted, const at::Tensor& wanted) {
  return at::smooth_l1_loss(predicted.to(at::kFloat), wanted, at::Reduction::Sum, kSmoothL1Beta);
}

at::Tensor binary_cross_entropy_sum(const at::Tensor& logits, const at::Tensor& wanted) {
  return at::binary_cross_entropy_with_logits(
      logits.to(at::kFloat), wanted, {}, {}, at::Reduction::Sum);
}

at::Tensor cross_entropy_sum(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits.to(at::kFloat), labels, {}, at::Reduction::Sum);
}

at::Tensor mean_of(const at::Tensor& sum, int64_t count) {
  return sum / static_cast<double>(std::max<int64_t>(count, 1));
}

}  // namespace atl::model
