#include "model/layers.h"

#include <ATen/ATen.h>

#include "model/shared_batch_norm.h"

namespace atl::model {
namespace {

constexpr double kMomentum = 0.1;  // of the running statistics, torch's default
constexpr int64_t kVectorChannels = 16;

at::Tensor convolve(const at::Tensor& x,
                    const at::Tensor& weight,
                    const at::Tensor& bias,
                    int64_t stride,
                    int64_t padding) {
  // Where the channels do not fill its vectors, 8 of AVX2 or 16 of AVX-512, oneDNN writes the weight gradient of a
  // strided 1 x 1 convolution beyond its memory (torch 2.11). Taking the pixels first gives the same sums
  // with stride one.
  const bool is_1x1 = weight.size(2) == 1 && weight.size(3) == 1;
  if (is_1x1 && stride > 1 && weight.size(1) % kVectorChannels != 0) {
    return convolve(
        x.slice(2, 0, std::nullopt, stride).slice(3, 0, std::nullopt, stride), weight, bias, 1, 0);
  }
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
}

}  // namespace

at::Tensor Conv::operator()(const at::Tensor& x) const {
  return convolve(x, weight, bias, stride, padding);
}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }

at::Tensor NormConv::operator()(const at::Tensor& x, bool training, const Ranks& ranks) const {
  if (norm == Norm::kBatchNorm && training) {
    num_batches_tracked.add_(1);
    if (ranks.sum) {
      return shared_batch_norm(convolve(x, weight, {}, stride, padding),
                               {gamma, beta, running_mean, running_var, kMomentum, eps},
                               ranks);
    }
    return at::batch_norm(convolve(x, weight, {}, stride, padding),
                          gamma,
                          beta,
                          running_mean,
                          running_var,
                          /*training=*/true,
                          kMomentum,
                          eps,
                          /*cudnn_enabled=*/true);
  }
  const at::Tensor scale = gamma * (running_var + eps).rsqrt();
  const at::Tensor shift = beta - running_mean * scale;
  return convolve(x, weight * scale.view({-1, 1, 1, 1}), shift, stride, padding);
}

NormConv make_norm_conv(ParameterSet& parameters,
                        const std::string& conv,
                        const std::string& norm,
                        const NormConvShape& shape,
                        const ModelConfig& config,
                        bool conv_trainable,
                        bool norm_trainable) {
  const std::array<int64_t, 4> weight = {shape.out, shape.in, shape.kernel, shape.kernel};
  NormConv layer;
  layer.norm = config.norm;
  layer.eps = config.norm_eps;
  layer.stride = shape.stride;
  layer.padding = shape.kernel / 2;
  layer.weight = parameters.parameter(
      conv + ".weight", weight, kaiming_fan_out(weight), conv_trainable, ParameterSet::Decay::kYes);
  if (config.norm == Norm::kBatchNorm) {
    const auto decay = ParameterSet::Decay::kNo;
    layer.gamma =
        parameters.parameter(norm + ".weight", {shape.out}, constant(1), norm_trainable, decay);
    layer.beta =
        parameters.parameter(norm + ".bias", {shape.out}, constant(0), norm_trainable, decay);
    layer.num_batches_tracked =
        parameters.buffer(norm + ".num_batches_tracked", at::zeros({}, at::kLong));
  } else {
    layer.gamma = parameters.buffer(norm + ".weight", at::ones({shape.out}));
    layer.beta = parameters.buffer(norm + ".bias", at::zeros({shape.out}));
  }
  layer.running_mean = parameters.buffer(norm + ".running_mean", at::zeros({shape.out}));
  layer.running_var = parameters.buffer(norm + ".running_var", at::ones({shape.out}));
  return layer;
}

Conv make_conv(ParameterSet& parameters,
               const std::string& name,
               const ConvShape& shape,
               const Init& init) {
  Conv layer;
  layer.padding = shape.kernel / 2;
  layer.weight = parameters.parameter(name + ".weight",
                                      {shape.out, shape.in, shape.kernel, shape.kernel},
                                      init,
                                      true,
                                      ParameterSet::Decay::kYes);
  layer.bias = parameters.parameter(
      name + ".bias", {shape.out}, constant(0), true, ParameterSet::Decay::kNo);
  return layer;
}

Linear make_linear(ParameterSet& parameters, const std::string& name, int64_t in, int64_t out) {
  Linear layer;
  layer.weight = parameters.parameter(
      name + ".weight", {out, in}, torch_default(in), true, ParameterSet::Decay::kYes);
  layer.bias = parameters.parameter(
      name + ".bias", {out}, torch_default(in), true, ParameterSet::Decay::kNo);
  return layer;
}

}  // namespace atl::model
