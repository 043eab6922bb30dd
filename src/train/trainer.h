// One optimiser step after another: model, optimiser and weight average, and what of them a
// checkpoint holds. Knows no files and no data loading; loop.cpp brings the batches.
//
//   for each step: begin_step(); accumulate(micro-batch) …; finish_step() or abandon_step()
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/mask_rcnn.h"
#include "trace/trace.h"
#include "train/batch_tensors.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/event_file.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace atl::train {

struct StepResult {
  double loss = 0;             // the five's sum; means over the micro-batches
  std::vector<Scalar> losses;  // always the same five names, in the same order
  double gradient_norm = 0;
  double learning_rate = 0;
  bool updated = false;  // false: something was not finite, or no image; nothing was changed
};

class Trainer {
 public:
  // `steps` of the whole run. The tracer may be null, and outlives the trainer.
  Trainer(const RunConfig& config,
          const model::ModelConfig& model,
          at::Device device,
          int64_t steps,
          trace::Tracer* tracer);

  void begin_step(int64_t step);
  // Forward and backward pass; gradients add up over a step's micro-batches.
  void accumulate(const BatchTensors& batch);
  StepResult finish_step();
  // The step that was begun is not to be, whatever ended it: everything is again as it was before
  // begin_step(). Does nothing after finish_step(). False when that itself was interrupted in the
  // update: then the weights are those of no step, and must not be kept.
  [[nodiscard]] bool abandon_step();

  model::MaskRcnn& model() { return model_; }
  const Schedule& schedule() const { return schedule_; }
  // Null when train.ema_decay is 0.
  WeightAverage* average() { return average_ ? &*average_ : nullptr; }

  // Live tensors, by the names of a checkpoint.
  TensorMap state() const;
  Result<void> load_state(const TensorMap& tensors);

 private:
  enum class Phase { kBetweenSteps, kCollecting, kUpdating };
  void restore_statistics();

  RunConfig config_;
  model::MaskRcnn model_;
  Schedule schedule_;
  Optimizer optimizer_;
  std::optional<WeightAverage> average_;
  trace::Tracer* tracer_;

  // Batch-norm statistics, which a forward pass changes; copies bring them back when its step is
  // skipped or abandoned.
  std::vector<at::Tensor> statistics_;
  std::vector<at::Tensor> statistics_before_;

  Phase phase_ = Phase::kBetweenSteps;
  int64_t step_ = 0;
  int64_t accumulated_ = 0;
  std::vector<at::Tensor> copied_from_;  // of batches that may still be on their way to the device
  at::Tensor loss_sums_;                 // (5,) of this step, on the device
  std::vector<std::string> names_;       // of the five
};

}  // namespace atl::train
