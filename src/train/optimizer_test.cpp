#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/safetensors.h"

namespace atl::train {
namespace {

class OptimizerGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto location =
        storage::open_location(ATOLL_SOURCE_DIR "/src/train/testdata/optimizer.safetensors");
    ASSERT_TRUE(location);
    auto file = model::read_safetensors(*location->store, location->key);
    ASSERT_TRUE(file) << file.error().to_string();
    golden_ = *std::move(file);
    config_.optimizer = GetParam();
    config_.momentum = 0.9;
    config_.weight_decay = 0.05;
  }
  at::Tensor golden(const std::string& name) const {
    return golden_.tensors.at(GetParam() + "." + name);
  }
  std::vector<model::Parameter> start(at::MemoryFormat format) const {
    return {
        {"weight", golden("weight.start").clone().contiguous(format).requires_grad_(), true, true},
        {"frozen", at::ones({3}), false, true},
        {"bias", golden("bias.start").clone().requires_grad_(), true, false}};
  }
  void step(Optimizer& optimizer, std::vector<model::Parameter>& parameters, int index) const {
    parameters[0].tensor.mutable_grad() = golden(fmt::format("weight.grad.{}", index)).clone();
    parameters[2].tensor.mutable_grad() = golden(fmt::format("bias.grad.{}", index)).clone();
    optimizer.step(0.01 * (1 + index));
  }

  TrainConfig config_;
  model::TensorFile golden_;
};

TEST_P(OptimizerGolden, ten_steps_give_the_numbers_of_torch_optim) {
  // Channels-last parameters with contiguous gradients: the layouts must not be mixed up.
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    auto parameters = start(format);
    Optimizer optimizer(config_, parameters);
    for (int i = 0; i < 10; ++i) {
      step(optimizer, parameters, i);
      // Values of order 1 after up to ten updates, each rounded once: 8 ulp.
      const auto far = [](const at::Tensor& a, const at::Tensor& b) {
        return (a - b).abs().max().item<double>();
      };
      EXPECT_LT(far(parameters[0].tensor, golden(fmt::format("weight.{}", i))), 1e-6) << i;
      EXPECT_LT(far(parameters[2].tensor, golden(fmt::format("bias.{}", i))), 1e-6) << i;
    }
    EXPECT_TRUE(at::equal(parameters[1].tensor, at::ones({3})));
  }
}

TEST_P(OptimizerGolden, a_restored_state_goes_on_bit_for_bit) {
  auto parameters = start(at::MemoryFormat::Contiguous);
  Optimizer optimizer(config_, parameters);
  for (int i = 0; i < 4; ++i) step(optimizer, parameters, i);
  std::map<std::string, at::Tensor> saved;
  for (const auto& [name, tensor] : optimizer.state()) saved[name] = tensor.clone();
  auto others = start(at::MemoryFormat::Contiguous);
  for (size_t i = 0; i < others.size(); ++i) {
    const at::NoGradGuard no_grad;
    others[i].tensor.copy_(parameters[i].tensor);
  }
  Optimizer restored(config_, others);
  ASSERT_TRUE(restored.load_state(saved));
  for (int i = 4; i < 10; ++i) {
    step(optimizer, parameters, i);
    step(restored, others, i);
  }
  EXPECT_TRUE(at::equal(parameters[0].tensor, others[0].tensor));
  EXPECT_TRUE(at::equal(parameters[2].tensor, others[2].tensor));
}

TEST_P(OptimizerGolden, another_models_state_is_refused) {
  auto parameters = start(at::MemoryFormat::Contiguous);
  Optimizer optimizer(config_, parameters);
  auto state = optimizer.state();
  state.begin()->second = at::zeros({1, 2});
  EXPECT_FALSE(optimizer.load_state(state));
  state.erase(state.begin());
  EXPECT_FALSE(optimizer.load_state(state));
}

INSTANTIATE_TEST_SUITE_P(Both,
                         OptimizerGolden,
                         testing::Values("sgd", "adamw"),
                         [](const auto& info) { return info.param; });

TEST(Optimizer, gradients_are_clipped_to_the_norm) {
  std::vector<model::Parameter> parameters = {{"a", at::zeros({2}).requires_grad_(), true, true},
                                              {"b", at::zeros({1}).requires_grad_(), true, false}};
  Optimizer optimizer({}, parameters);
  parameters[0].tensor.mutable_grad() = at::tensor({3.0F, 0.0F});
  parameters[1].tensor.mutable_grad() = at::tensor({4.0F});
  EXPECT_DOUBLE_EQ(optimizer.clip_gradients(10), 5);
  EXPECT_FLOAT_EQ(parameters[1].tensor.grad().item<float>(), 4.0F);
  EXPECT_DOUBLE_EQ(optimizer.clip_gradients(1), 5);
  EXPECT_NEAR(parameters[1].tensor.grad().item<float>(), 0.8F, 1e-6);
  optimizer.clear_gradients();
  EXPECT_FALSE(parameters[0].tensor.grad().defined());
}

TEST(WeightAverage, follows_the_weights_and_stands_in_for_them_for_a_while) {
  const at::NoGradGuard no_grad;
  std::vector<model::Parameter> parameters = {{"a", at::zeros({2}), true, true}};
  WeightAverage average(0.5, parameters);
  parameters[0].tensor.fill_(1);
  average.update(1'000'000);
  EXPECT_FLOAT_EQ(average.state().at("a")[0].item<float>(), 0.5F);
  {
    const WeightAverage::InPlace in_place(&average);
    EXPECT_FLOAT_EQ(parameters[0].tensor[0].item<float>(), 0.5F);
  }
  EXPECT_FLOAT_EQ(parameters[0].tensor[0].item<float>(), 1.0F);
  WeightAverage early(0.999, parameters);
  parameters[0].tensor.fill_(12);
  early.update(1);  // decay 2 / 11
  EXPECT_FLOAT_EQ(early.state().at("a")[0].item<float>(), 10.0F);
}

}  // namespace
}  // namespace atl::train
