// One optimiser step after another: model, optimiser and weight average, and what of them a
// checkpoint holds. Knows no files and no data loading; loop.cpp brings the batches.
//
//   for each step: begin_step(); accumulate(micro-batch) …; finish_step() or abandon_step()
//
// Several ranks share the images of every micro-batch. Each has its own; all go through the same calls, and
// losses, gradients, norms and weights are the same on all of them (docs/distributed.md). Where the group
// fails, what is called throws; Group::failure() says why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/mask_rcnn.h"
#include "parallel/gradients.h"
#include "parallel/group.h"
#include "trace/trace.h"
#include "train/batch_tensors.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/event_file.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace atl::train {

struct StepResult {
  double loss = 0;             // the five's sum; means over the micro-batches; of all ranks
  std::vector<Scalar> losses;  // always the same five names, in the same order
  double gradient_norm = 0;
  double learning_rate = 0;
  std::optional<parallel::SumTimes> sum_times;  // of several ranks' gradients
  bool updated = false;  // false: something was not finite, or no image; nothing was changed
};

class Trainer {
 public:
  // `steps` of the whole run. The tracer may be null, and outlives the trainer, as does the group: null
  // for one process.
  Trainer(const RunConfig& config,
          const model::ModelConfig& model,
          at::Device device,
          int64_t steps,
          trace::Tracer* tracer,
          parallel::Group* group = nullptr);

  void begin_step(int64_t step);
  // Forward and backward pass; gradients add up over a step's micro-batches. What every step has, as many
  // times as it is accumulated over, is one of these three.
  void accumulate(const BatchTensors& batch);
  // Other ranks have images of the micro-batch, this one none: it does what they do, for nothing.
  void accumulate_none();
  // Nobody has an image of the micro-batch.
  void pass_over() { ++micro_batches_; }
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
  void accumulate(const BatchTensors& batch, bool placeholder);
  void backward(const at::Tensor& loss);
  void make_gradients();
  at::Tensor mean_losses() const;
  double clip_gradients();
  void restore_statistics();

  RunConfig config_;
  model::MaskRcnn model_;
  Schedule schedule_;
  Optimizer optimizer_;
  std::optional<WeightAverage> average_;
  trace::Tracer* tracer_;
  parallel::Group* group_;                        // null for one process
  std::optional<parallel::Gradients> gradients_;  // where there is a group

  // Batch-norm statistics, which a forward pass changes; copies bring them back when its step is
  // skipped or abandoned.
  std::vector<at::Tensor> statistics_;
  std::vector<at::Tensor> statistics_before_;

  Phase phase_ = Phase::kBetweenSteps;
  int64_t step_ = 0;
  int64_t micro_batches_ = 0;            // of this step so far
  int64_t accumulated_ = 0;              // of them, those with images
  bool summed_ = false;                  // the gradients, over the ranks
  std::vector<at::Tensor> copied_from_;  // of batches that may still be on their way to the device
  at::Tensor loss_sums_;                 // (5,) of this step, on the device
  std::vector<std::string> names_;       // of the five
};

}  // namespace atl::train
