// The layers that the network is made of: a convolution with bias, a convolution with batch norm, a
// linear layer. Activations and convolution weights are channels-last throughout.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/model_config.h"
#include "model/parameters.h"

namespace atl::model {

struct Conv {
  at::Tensor weight;  // (O, I, k, k)
  at::Tensor bias;    // (O,)
  int64_t stride = 1;
  int64_t padding = 0;
  at::Tensor operator()(const at::Tensor& x) const;
};

struct Linear {
  at::Tensor weight;  // (O, I)
  at::Tensor bias;    // (O,)
  at::Tensor operator()(const at::Tensor& x) const;
};

// Convolution without bias, then batch norm. With constants for statistics (frozen, or evaluating)
// the norm is folded into the convolution: weight * s and bias b - mean * s with s = gamma /
// sqrt(var + eps); the weight's gradient flows through the product.
struct NormConv {
  at::Tensor weight;  // (O, I, k, k)
  at::Tensor gamma;   // (O,), as are the rest
  at::Tensor beta;
  at::Tensor running_mean;
  at::Tensor running_var;
  at::Tensor num_batches_tracked;  // () int64; undefined when frozen
  Norm norm = Norm::kFrozenBatchNorm;
  double eps = 1e-5;
  int64_t stride = 1;
  int64_t padding = 0;
  // Batch statistics, where they are used, are those of all ranks.
  at::Tensor operator()(const at::Tensor& x, bool training, const Ranks& ranks = {}) const;
};

struct NormConvShape {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
};
// Names: `conv`.weight and `norm`.weight, .bias, .running_mean, .running_var.
NormConv make_norm_conv(ParameterSet& parameters,
                        const std::string& conv,
                        const std::string& norm,
                        const NormConvShape& shape,
                        const ModelConfig& config,
                        bool conv_trainable,
                        bool norm_trainable);

struct ConvShape {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel = 1;
};
// Stride 1, same size; bias zero at the start.
Conv make_conv(ParameterSet& parameters,
               const std::string& name,
               const ConvShape& shape,
               const Init& init);
Linear make_linear(ParameterSet& parameters, const std::string& name, int64_t in, int64_t out);

}  // namespace atl::model
