// SGD with momentum and AdamW over a model's trainable parameters, with the numbers of torch.optim.
//
//   SGD    g += wd p;  v = mu v + g;  p -= lr v                         (torch.optim.SGD)
//   AdamW  p -= lr wd p;  m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;
//          p -= lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps)      (Loshchilov & Hutter 2019)
//
// Weight decay applies to parameters whose `decay` is set. Not thread safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/mask_rcnn.h"
#include "train/config.h"

namespace atl::train {

class Optimizer {
 public:
  // Holds the live tensors of those parameters that are trainable.
  Optimizer(const TrainConfig& config, const std::vector<model::Parameter>& parameters);

  void clear_gradients();
  // The 2-norm over all gradients.
  double gradient_norm() const;
  // Scales gradients of that norm down to `limit` where it is above (0: no limit).
  void scale_gradients(double norm, double limit);
  // Both; returns the norm.
  double clip_gradients(double limit);
  void step(double rate);

  // Live tensors: "momentum.NAME", or "exp_avg.NAME", "exp_avg_sq.NAME" and "steps".
  std::map<std::string, at::Tensor> state() const;
  // kCorrupt: another set of tensors, or another shape.
  Result<void> load_state(const std::map<std::string, at::Tensor>& tensors);

 private:
  // Parameters that share a weight decay; the fused kernels take one for a whole list.
  struct Group {
    double weight_decay = 0;
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters;
    std::vector<at::Tensor> first;   // momentum, or exp_avg
    std::vector<at::Tensor> second;  // exp_avg_sq
  };
  std::vector<at::Tensor> gradients() const;
  void step_group(Group& group, double rate);

  TrainConfig config_;
  bool adamw_ = false;
  at::Tensor steps_;  // () f32 on the parameters' device, as the fused kernel wants it
  std::vector<Group> groups_;
};

// Exponential moving average of the trainable parameters. The decay grows with the steps,
// min(decay, (1 + t) / (10 + t)), so that the first steps do not hold the random start.
class WeightAverage {
 public:
  WeightAverage(double decay, const std::vector<model::Parameter>& parameters);
  void update(int64_t steps_done);

  std::map<std::string, at::Tensor> state() const;  // by parameter name, live
  Result<void> load_state(const std::map<std::string, at::Tensor>& tensors);

  // Puts the average in the parameters' place for its lifetime.
  class InPlace {
   public:
    explicit InPlace(WeightAverage* average);  // null: does nothing
    ~InPlace();
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;

   private:
    WeightAverage* average_;
    std::vector<at::Tensor> saved_;
  };

 private:
  double decay_ = 0;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> average_;
};

}  // namespace atl::train
