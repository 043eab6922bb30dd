#include "model/shared_batch_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

namespace atl::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// For the backward pass; a node keeps nothing else but tensors and numbers.
struct KeptRanks : torch::CustomClassHolder {
  explicit KeptRanks(Ranks given) : ranks(std::move(given)) {}
  Ranks ranks;
};

at::Tensor by_channel(const at::Tensor& values) {
  return values.to(at::kFloat).view({1, -1, 1, 1});
}

class SharedBatchNorm : public torch::autograd::Function<SharedBatchNorm> {
 public:
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& x,
                            const at::Tensor& gamma,
                            const at::Tensor& beta,
                            const BatchNormTensors& norm,
                            const Ranks& ranks) {
    const int64_t channels = x.size(1);
    const double pixels =
        ranks.placeholder ? 0.0 : static_cast<double>(x.numel()) / static_cast<double>(channels);
    auto [own_mean, own_var] = at::batch_norm_update_stats(x.to(at::kFloat), {}, {}, norm.momentum);
    own_mean = own_mean.to(at::kDouble);
    const at::Tensor sums =
        at::cat({own_mean, own_var.to(at::kDouble) + own_mean * own_mean, own_mean.new_ones({1})})
            .mul_(pixels);
    ranks.sum(sums);
    const double count = sums[2 * channels].item<double>();
    const at::Tensor mean = sums.narrow(0, 0, channels) / count;
    const at::Tensor var = (sums.narrow(0, channels, channels) / count - mean * mean).clamp_min_(0);
    // As at::batch_norm: the unbiased variance is what is kept.
    norm.running_mean.mul_(1 - norm.momentum).add_(mean.to(at::kFloat), norm.momentum);
    norm.running_var.mul_(1 - norm.momentum)
        .add_((var * (count / (count - 1))).to(at::kFloat), norm.momentum);
    const at::Tensor mean_f32 = mean.to(at::kFloat);
    const at::Tensor var_f32 = var.to(at::kFloat);
    context->save_for_backward({x, gamma, mean_f32, var_f32});
    context->saved_data["count"] = count;
    context->saved_data["eps"] = norm.eps;
    context->saved_data["ranks"] = c10::IValue::make_capsule(c10::make_intrusive<KeptRanks>(ranks));
    return std::get<0>(at::native_batch_norm(
        x, gamma, beta, mean_f32, var_f32, /*training=*/false, norm.momentum, norm.eps));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& gamma = saved[1];
    const at::Tensor& mean = saved[2];
    const at::Tensor& var = saved[3];
    const at::Tensor& dy = gradients[0];
    const double count = context->saved_data["count"].toDouble();
    const double eps = context->saved_data["eps"].toDouble();
    const auto capsule = context->saved_data["ranks"].toCapsule();
    const Ranks& ranks = static_cast<const KeptRanks&>(*capsule).ranks;
    // With the statistics as constants, the gradients of gamma and beta are the two sums.
    const auto [none, gamma_gradient, beta_gradient] = at::native_batch_norm_backward(
        dy, x, gamma, mean, var, {}, {}, /*train=*/false, eps, {false, true, true});
    at::Tensor dx;
    if (context->needs_input_grad(0)) {
      const at::Tensor sums = at::cat({gamma_gradient, beta_gradient}).to(at::kDouble);
      ranks.sum(sums);
      if (ranks.placeholder) {
        dx = at::zeros_like(x);
      } else {
        const int64_t channels = x.size(1);
        const at::Tensor scale = (var.to(at::kDouble) + eps).rsqrt();
        const at::Tensor of_dy = gamma.to(at::kDouble) * scale;
        const at::Tensor of_x = of_dy * scale * sums.narrow(0, 0, channels) / -count;
        const at::Tensor constant =
            of_dy * sums.narrow(0, channels, channels) / -count - of_x * mean.to(at::kDouble);
        dx = (dy * by_channel(of_dy))
                 .add_(at::addcmul(by_channel(constant), x.to(at::kFloat), by_channel(of_x)))
                 .to(x.scalar_type());
      }
    }
    return {dx, gamma_gradient, beta_gradient, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor shared_batch_norm(const at::Tensor& x,
                             const BatchNormTensors& norm,
                             const Ranks& ranks) {
  return SharedBatchNorm::apply(x, norm.gamma, norm.beta, norm, ranks);
}

}  // namespace atl::model
