#include "model/mask_head.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace atl::model {

MaskHead::MaskHead(ParameterSet& parameters, const ModelConfig& config) {
  int64_t in = config.fpn_channels;
  for (const int64_t out : config.mask_conv_channels) {
    convs_.push_back(make_conv(parameters,
                               fmt::format("roi_heads.mask_head.{}.0", convs_.size()),
                               {in, out, 3},
                               kaiming_fan_out({out, in, 3, 3})));
    in = out;
  }
  const int64_t up = config.mask_deconv_channels;
  const int64_t classes = config.num_classes;
  const std::string name = "roi_heads.mask_predictor.";
  const auto weight = [&](const char* layer, const std::array<int64_t, 4>& shape) {
    return parameters.parameter(
        name + layer, shape, kaiming_fan_out(shape), true, ParameterSet::Decay::kYes);
  };
  // The biases keep torch's default; for a transposed convolution that counts weight.size(1).
  const auto bias = [&](const char* layer, int64_t out, int64_t fan_in) {
    return parameters.parameter(
        name + layer, {out}, torch_default(fan_in), true, ParameterSet::Decay::kNo);
  };
  up_weight_ = weight("conv5_mask.weight", {in, up, 2, 2});
  up_bias_ = bias("conv5_mask.bias", up, up * 4);
  mask_weight_ = weight("mask_fcn_logits.weight", {classes, up, 1, 1});
  mask_bias_ = bias("mask_fcn_logits.bias", classes, up);
}

at::Tensor MaskHead::forward(const at::Tensor& pooled, const at::Tensor& labels) const {
  const int64_t rois = pooled.size(0);
  const int64_t size = pooled.size(2);
  at::Tensor x = pooled;
  for (const Conv& conv : convs_) x = conv(x).relu_();
  const int64_t in = up_weight_.size(0);
  const int64_t up = up_weight_.size(1);
  // Rows are cells (R P P, C); columns (dy, dx, d).
  const at::Tensor cells = x.permute({0, 2, 3, 1}).reshape({rois * size * size, in});
  const at::Tensor weight = up_weight_.permute({2, 3, 1, 0}).reshape({4 * up, in});
  x = at::linear(cells, weight, up_bias_.repeat({4})).relu_().view({rois, size * size * 4, up});
  const at::Tensor class_weight =
      mask_weight_.view({-1, up}).index_select(0, labels).unsqueeze(2);  // (R, D, 1)
  const at::Tensor class_bias = mask_bias_.index_select(0, labels).view({-1, 1, 1});
  return (at::bmm(x, class_weight) + class_bias)
      .view({rois, size, size, 2, 2})
      .permute({0, 1, 3, 2, 4})
      .reshape({rois, 2 * size, 2 * size});
}

}  // namespace atl::model
