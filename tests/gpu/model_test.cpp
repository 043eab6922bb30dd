// The network, and steps of training it, on a GPU against the CPU: within 1e-3.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "gpu.h"
#include "train/small_batch.h"
#include "train/trainer.h"

namespace atl::train {
namespace {

constexpr double kTolerance = 1e-3;

class GpuModel : public OnGpu {
 protected:
  static RunConfig config() {
    RunConfig config = *preset_config("tiny");
    config.model.num_classes = 3;
    return config;
  }
};

TEST_F(GpuModel, features_and_proposals_of_the_stages) {
  model::MaskRcnn cpu(config().model, at::kCPU, 1);
  model::MaskRcnn gpu(config().model, device_, 1);
  const auto expected = cpu.forward_stages(small_batch(at::kCPU).images);
  const auto found = gpu.forward_stages(small_batch(device_).images);
  for (size_t level = 0; level < expected.features.size(); ++level) {
    EXPECT_LT(relative_error(found.features[level], expected.features[level]), kTolerance);
    EXPECT_LT(relative_error(found.objectness[level], expected.objectness[level]), kTolerance);
    EXPECT_LT(relative_error(found.box_deltas[level], expected.box_deltas[level]), kTolerance);
  }
  for (size_t image = 0; image < expected.proposals.size(); ++image) {
    ASSERT_EQ(found.proposals[image].sizes(), expected.proposals[image].sizes());
    EXPECT_LT(relative_error(found.proposals[image], expected.proposals[image]), kTolerance);
  }
}

TEST_F(GpuModel, losses_and_gradients) {
  model::MaskRcnn cpu(config().model, at::kCPU, 1);
  model::MaskRcnn gpu(config().model, device_, 1);
  const auto losses_of = [](model::MaskRcnn& model) {
    const auto batch = small_batch(model.device());
    const auto losses = model.loss(batch.images, batch.targets, {0, 0});
    losses.total().backward();
    return losses.named();
  };
  const auto expected = losses_of(cpu);
  const auto found = losses_of(gpu);
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto value = expected[i].second.item<double>();
    EXPECT_NEAR(found[i].second.item<double>(), value, kTolerance * value) << expected[i].first;
  }
  std::vector<at::Tensor> expected_gradients;
  std::vector<at::Tensor> found_gradients;
  for (size_t i = 0; i < cpu.parameters().size(); ++i) {
    if (!cpu.parameters()[i].trainable) continue;
    expected_gradients.push_back(cpu.parameters()[i].tensor.grad().flatten());
    found_gradients.push_back(gpu.parameters()[i].tensor.grad().cpu().flatten());
  }
  EXPECT_LT(relative_error(at::cat(found_gradients), at::cat(expected_gradients)), kTolerance);
}

// So that a batch is copied beside the host's work.
TEST_F(GpuModel, batches_lie_in_pinned_memory) {
  dataset::PixelPool pool(pixel_memory_for(device_));
  const auto buffer = pool.get(dataset::PixelType::kFloat32, 1000);
  const at::Tensor view = at::from_blob(buffer.bytes().data(), {1000}, at::kFloat);
  EXPECT_EQ(view.is_pinned(), device_.is_cuda());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.bytes().data()) % 64, 0);
}

TEST_F(GpuModel, three_steps_of_training) {
  auto options = config();
  // Plain gradient steps: AdamW's first ones are signs, which magnify what rounding differs by.
  options.train.optimizer = "sgd";
  options.train.learning_rate = 1e-3;
  options.train.warmup_steps = 0;
  options.train.ema_decay = 0.9;
  Trainer cpu(options, options.model, at::kCPU, 3, nullptr);
  Trainer gpu(options, options.model, device_, 3, nullptr);
  for (int64_t step = 0; step < 3; ++step) {
    const auto step_of = [&](Trainer& trainer) {
      trainer.begin_step(step);
      trainer.accumulate(small_batch(trainer.model().device()));
      return trainer.finish_step();
    };
    const auto expected = step_of(cpu);
    const auto found = step_of(gpu);
    EXPECT_TRUE(found.updated);
    EXPECT_NEAR(found.loss, expected.loss, kTolerance * expected.loss) << "step " << step;
    EXPECT_NEAR(found.gradient_norm, expected.gradient_norm, 10 * kTolerance * expected.loss);
  }
  // From one device to the other and on.
  ASSERT_TRUE(gpu.load_state(cpu.state()));
  for (const auto& [name, tensor] : gpu.state()) {
    EXPECT_TRUE(at::equal(tensor.cpu(), cpu.state().at(name))) << name;
  }
}

}  // namespace
}  // namespace atl::train
