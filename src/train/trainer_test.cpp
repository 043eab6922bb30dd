#include "train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "train/device.h"

namespace atl::train {
namespace {

RunConfig tiny() {
  RunConfig config = *preset_config("tiny");
  config.model.num_classes = 3;
  return config;
}

// Two images, the second without objects.
BatchTensors batch_on(at::Device device) {
  dataset::Batch batch;
  batch.height = 64;
  batch.width = 64;
  batch.pixels = dataset::PixelBuffer(dataset::PixelType::kFloat32, size_t{2} * 64 * 64 * 3);
  for (size_t i = 0; i < batch.pixels.size(); ++i) {
    batch.pixels.floats()[i] = std::sin(static_cast<float>(i) * 0.37F);
  }
  batch.samples.resize(2);
  batch.samples[0].image_id = 0;
  batch.samples[1].image_id = 9;
  for (auto& sample : batch.samples) sample.resized = {64, 64};
  batch.samples[0].boxes = {8, 8, 40, 56};
  batch.samples[0].labels = {2};
  batch.samples[0].masks = {{64, 64, {64 * 8, 64 * 32, 64 * 24}}};
  return to_tensors(std::move(batch), device);
}

StepResult one_step(Trainer& trainer, int64_t step, const BatchTensors& batch) {
  trainer.begin_step(step);
  trainer.accumulate(batch);
  return trainer.finish_step();
}

std::map<std::string, at::Tensor> copies(const TensorMap& tensors) {
  TensorMap result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor.detach().clone();
  return result;
}

void expect_equal(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
}

TEST(Trainer, a_nan_changes_nothing_and_the_loss_keys_stay_the_same) {
  Trainer trainer(tiny(), tiny().model, at::kCPU, 10, nullptr);
  auto batch = batch_on(at::kCPU);
  const auto good = one_step(trainer, 0, batch);
  EXPECT_TRUE(good.updated);
  EXPECT_TRUE(std::isfinite(good.loss));
  const auto before = copies(trainer.state());
  batch.images.pixels = batch.images.pixels * std::numeric_limits<float>::quiet_NaN();
  const auto bad = one_step(trainer, 1, batch);
  EXPECT_FALSE(bad.updated);
  expect_equal(before, trainer.state());
  trainer.begin_step(2);
  const auto empty = trainer.finish_step();
  EXPECT_FALSE(empty.updated);
  for (const auto* result : {&bad, &empty}) {
    ASSERT_EQ(result->losses.size(), 5U);
    for (size_t i = 0; i < 5; ++i) EXPECT_EQ(result->losses[i].first, good.losses[i].first);
  }
}

TEST(Trainer, a_restored_trainer_goes_on_bit_for_bit) {
  auto config = tiny();
  config.train.ema_decay = 0.9;
  const auto batch = batch_on(at::kCPU);
  Trainer first(config, config.model, at::kCPU, 10, nullptr);
  for (int64_t step = 0; step < 2; ++step) one_step(first, step, batch);
  Trainer second(config, config.model, at::kCPU, 10, nullptr);
  one_step(second, 7, batch);  // somewhere else; all of it is overwritten
  ASSERT_TRUE(second.load_state(copies(first.state())));
  EXPECT_EQ(one_step(first, 2, batch).loss, one_step(second, 2, batch).loss);
  expect_equal(first.state(), second.state());
}

// Trainable norms have taken in the first micro-batch when the second one throws.
TEST(Trainer, an_abandoned_step_changes_nothing) {
  auto config = tiny();
  config.train.accumulation = 2;
  config.train.ema_decay = 0.9;
  ASSERT_EQ(config.model.norm, model::Norm::kBatchNorm);
  const auto batch = batch_on(at::kCPU);
  auto broken = batch;
  broken.images.pixels = broken.images.pixels.slice(1, 0, 2);
  Trainer trainer(config, config.model, at::kCPU, 10, nullptr);
  one_step(trainer, 0, batch);
  const auto before = copies(trainer.state());
  trainer.begin_step(1);
  trainer.accumulate(batch);
  EXPECT_ANY_THROW(trainer.accumulate(broken));
  EXPECT_FALSE(at::equal(before.at("model.backbone.body.bn1.running_mean"),
                         trainer.state().at("model.backbone.body.bn1.running_mean")));
  EXPECT_TRUE(trainer.abandon_step());
  expect_equal(before, trainer.state());

  one_step(trainer, 1, batch);
  const auto after = copies(trainer.state());
  EXPECT_TRUE(trainer.abandon_step());  // of a step that is finished
  expect_equal(after, trainer.state());
}

TEST(Trainer, the_loss_falls_on_one_batch) {
  const auto batch = batch_on(at::kCPU);
  auto config = tiny();
  config.train.warmup_steps = 0;
  Trainer trainer(config, config.model, at::kCPU, 20, nullptr);
  const double before = one_step(trainer, 0, batch).loss;
  double after = before;
  for (int64_t step = 1; step < 8; ++step) after = one_step(trainer, step, batch).loss;
  EXPECT_LT(after, before);
}

TEST(Trainer, a_step_on_the_gpu_gives_the_losses_of_the_cpu) {
  const auto device = choose_device("cuda");
  if (!device) GTEST_SKIP() << device.error().to_string();
  Trainer cpu(tiny(), tiny().model, at::kCPU, 10, nullptr);
  Trainer gpu(tiny(), tiny().model, *device, 10, nullptr);
  const auto expected = one_step(cpu, 0, batch_on(at::kCPU));
  const auto found = one_step(gpu, 0, batch_on(*device));
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(found.losses[i].second, expected.losses[i].second, 0.01) << found.losses[i].first;
  }
}

}  // namespace
}  // namespace atl::train
