#include "model/layers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace atl::model {
namespace {

// oneDNN's kernel for channels that do not fill its vectors is not used; see layers.cpp.
class StridedConvolutionOf : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Channels, StridedConvolutionOf, testing::Values(4, 8, 12, 20));

TEST_P(StridedConvolutionOf, few_channels_is_that_of_many) {
  constexpr int64_t kMany = 32, kImages = 3;
  const int64_t few = GetParam();
  ModelConfig config;
  ParameterSet narrow_set(at::kCPU, 3);
  ParameterSet wide_set(at::kCPU, 3);
  const NormConv narrow = make_norm_conv(narrow_set, "c", "n", {few, 8, 1, 2}, config, true, false);
  const NormConv wide = make_norm_conv(wide_set, "c", "n", {kMany, 8, 1, 2}, config, true, false);
  at::manual_seed(1);
  const at::Tensor pixels = at::randn({kImages, few, 7, 10});
  {
    const at::NoGradGuard no_grad;
    wide.weight.zero_();
    wide.weight.narrow(1, 0, few).copy_(narrow.weight);
  }
  const auto run = [](const NormConv& layer, const at::Tensor& x) {
    const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
    const at::Tensor y = layer(input, true);
    (y * y).sum().backward();
    return std::tuple(y.detach(), input.grad(), layer.weight.grad());
  };
  const auto [y, x_gradient, weight_gradient] = run(narrow, pixels);
  const auto [wide_y, wide_x_gradient, wide_weight_gradient] =
      run(wide, at::cat({pixels, at::zeros({kImages, kMany - few, 7, 10})}, 1));
  EXPECT_EQ(y.sizes(), at::IntArrayRef({kImages, 8, 4, 5}));
  EXPECT_TRUE(at::allclose(y, wide_y, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(x_gradient, wide_x_gradient.narrow(1, 0, few), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(weight_gradient, wide_weight_gradient.narrow(1, 0, few), 1e-5, 1e-5));
}

}  // namespace
}  // namespace atl::model
