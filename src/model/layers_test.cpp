#include "model/layers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace atl::model {
namespace {

// oneDNN's kernel for fewer than eight channels is not used; see layers.cpp.
TEST(NormConv, strided_1x1_convolutions_of_few_channels_are_those_of_many) {
  ModelConfig config;
  ParameterSet few(at::kCPU, 3);
  ParameterSet many(at::kCPU, 3);
  const NormConv narrow = make_norm_conv(few, "c", "n", {4, 8, 1, 2}, config, true, false);
  const NormConv wide = make_norm_conv(many, "c", "n", {16, 8, 1, 2}, config, true, false);
  at::manual_seed(1);
  const at::Tensor pixels = at::randn({2, 4, 7, 10});
  {
    const at::NoGradGuard no_grad;
    wide.weight.zero_();
    wide.weight.narrow(1, 0, 4).copy_(narrow.weight);
  }
  const auto run = [](const NormConv& layer, const at::Tensor& x) {
    const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
    const at::Tensor y = layer(input, true);
    (y * y).sum().backward();
    return std::tuple(y.detach(), input.grad(), layer.weight.grad());
  };
  const auto [y, x_gradient, weight_gradient] = run(narrow, pixels);
  const auto [wide_y, wide_x_gradient, wide_weight_gradient] =
      run(wide, at::cat({pixels, at::zeros({2, 12, 7, 10})}, 1));
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 8, 4, 5}));
  EXPECT_TRUE(at::allclose(y, wide_y, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(x_gradient, wide_x_gradient.narrow(1, 0, 4), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(weight_gradient, wide_weight_gradient.narrow(1, 0, 4), 1e-5, 1e-5));
}

}  // namespace
}  // namespace atl::model
