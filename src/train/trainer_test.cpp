#include "train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "train/small_batch.h"

namespace atl::train {
namespace {

RunConfig tiny() {
  RunConfig config = *preset_config("tiny");
  config.model.num_classes = 3;
  return config;
}

// The same pixels upside down under other ids, with an object elsewhere.
BatchTensors other_batch() {
  auto batch = small_batch(at::kCPU);
  batch.images.pixels = batch.images.pixels.flip({2}).contiguous(at::MemoryFormat::ChannelsLast);
  batch.images.image_ids = {4, 5};
  batch.targets[0].boxes = at::tensor({20.F, 4.F, 60.F, 30.F}).view({1, 4});
  batch.targets[0].labels = at::tensor({1}, at::kLong);
  batch.targets[0].masks.counts = at::tensor({64 * 20 + 4, 26, 64 * 44 - 30}, at::kInt);
  return batch;
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
  auto batch = small_batch(at::kCPU);
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
  const auto batch = small_batch(at::kCPU);
  Trainer first(config, config.model, at::kCPU, 10, nullptr);
  for (int64_t step = 0; step < 2; ++step) one_step(first, step, batch);
  Trainer second(config, config.model, at::kCPU, 10, nullptr);
  one_step(second, 7, batch);  // somewhere else; all of it is overwritten
  ASSERT_TRUE(second.load_state(copies(first.state())));
  EXPECT_EQ(one_step(first, 2, batch).loss, one_step(second, 2, batch).loss);
  expect_equal(first.state(), second.state());
}

// A step's gradient is the mean of its micro-batches' gradients, its losses the means of theirs.
TEST(Trainer, a_step_of_two_micro_batches_is_the_mean_of_two_steps) {
  auto config = tiny();
  config.model.norm = model::Norm::kFrozenBatchNorm;  // no statistics that depend on the batch
  config.train.optimizer = "sgd";
  config.train.momentum = 0;
  config.train.weight_decay = 0;
  config.train.clip_norm = 0;
  config.train.warmup_steps = 0;
  const std::array batches = {small_batch(at::kCPU), other_batch()};
  const auto after_step = [&](std::span<const BatchTensors> micro_batches) {
    auto with = config;
    with.train.accumulation = static_cast<int64_t>(micro_batches.size());
    Trainer trainer(with, with.model, at::kCPU, 10, nullptr);
    trainer.begin_step(0);
    for (const auto& batch : micro_batches) trainer.accumulate(batch);
    const double loss = trainer.finish_step().loss;
    return std::pair(loss, copies(trainer.state()));
  };
  const auto [both_loss, both] = after_step(batches);
  const auto [first_loss, first] = after_step(std::span(batches).first(1));
  const auto [second_loss, second] = after_step(std::span(batches).last(1));
  EXPECT_NE(first_loss, second_loss);
  EXPECT_NEAR(both_loss, (first_loss + second_loss) / 2, 1e-5 * both_loss);
  for (const auto& [name, tensor] : both) {
    if (!tensor.is_floating_point()) continue;
    const at::Tensor mean = (first.at(name) + second.at(name)) / 2;
    EXPECT_TRUE(at::allclose(tensor, mean, 1e-4, 1e-6)) << name;
  }
  EXPECT_FALSE(at::allclose(first.at("model.rpn.head.cls_logits.bias"),
                            second.at("model.rpn.head.cls_logits.bias"),
                            1e-4,
                            1e-6));
}

// Trainable norms have taken in the first micro-batch when the second one throws.
TEST(Trainer, an_abandoned_step_changes_nothing) {
  auto config = tiny();
  config.train.accumulation = 2;
  config.train.ema_decay = 0.9;
  ASSERT_EQ(config.model.norm, model::Norm::kBatchNorm);
  const auto batch = small_batch(at::kCPU);
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
  const auto batch = small_batch(at::kCPU);
  auto config = tiny();
  config.train.warmup_steps = 0;
  Trainer trainer(config, config.model, at::kCPU, 20, nullptr);
  const double before = one_step(trainer, 0, batch).loss;
  double after = before;
  for (int64_t step = 1; step < 8; ++step) after = one_step(trainer, step, batch).loss;
  EXPECT_LT(after, before);
}

}  // namespace
}  // namespace atl::train
