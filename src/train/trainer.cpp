#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

namespace atl::train {
namespace {

// bf16 where the operators allow it, for its lifetime; parameters and losses stay f32.
class Autocast {
 public:
  Autocast(bool on, at::DeviceType device) : on_(on), device_(device) {
    if (!on_) return;
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!on_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_;
  at::DeviceType device_;
};

// Floating tensors of the state that are no parameters.
std::vector<at::Tensor> statistics_of(const model::MaskRcnn& model) {
  auto state = model.state();
  for (const auto& parameter : model.parameters()) state.erase(parameter.name);
  std::vector<at::Tensor> statistics;
  statistics.reserve(state.size());
  for (const auto& [name, tensor] : state) statistics.push_back(tensor);
  return statistics;
}

}  // namespace

Trainer::Trainer(const RunConfig& config,
                 const model::ModelConfig& model,
                 at::Device device,
                 int64_t steps,
                 trace::Tracer* tracer)
    : config_(config),
      model_(model, device, config.train.seed),
      schedule_(config.train, steps),
      optimizer_(config.train, model_.parameters()),
      tracer_(tracer) {
  if (config.train.ema_decay > 0) average_.emplace(config.train.ema_decay, model_.parameters());
  if (model.norm == model::Norm::kBatchNorm) statistics_ = statistics_of(model_);
  for (const auto& tensor : statistics_) statistics_before_.push_back(at::empty_like(tensor));
}

void Trainer::begin_step(int64_t step) {
  const at::NoGradGuard no_grad;
  step_ = step;
  phase_ = Phase::kCollecting;
  accumulated_ = 0;
  copied_from_.clear();  // the step before has waited for its losses, and so for its batches
  loss_sums_ = at::Tensor();
  optimizer_.clear_gradients();
  for (size_t i = 0; i < statistics_.size(); ++i) statistics_before_[i].copy_(statistics_[i]);
}

void Trainer::accumulate(const BatchTensors& batch) {
  model::Losses losses;
  if (batch.copied_from.defined()) copied_from_.push_back(batch.copied_from);
  {
    const trace::Span span(tracer_, "forward", step_);
    const Autocast autocast(config_.train.bf16, model_.device().type());
    losses = model_.loss(
        batch.images, batch.targets, {config_.train.seed, static_cast<uint64_t>(step_)});
  }
  const trace::Span span(tracer_, "backward", step_);
  const auto named = losses.named();
  std::vector<at::Tensor> values;
  names_.clear();
  for (const auto& [name, value] : named) {
    names_.push_back(name);
    values.push_back(value.detach().to(at::kFloat));
  }
  const at::Tensor stacked = at::stack(values);
  loss_sums_ = loss_sums_.defined() ? loss_sums_ + stacked : stacked;
  ++accumulated_;
  at::Tensor total = losses.total();
  if (config_.train.accumulation > 1) {
    total = total / static_cast<double>(config_.train.accumulation);
  }
  total.backward();
}

StepResult Trainer::finish_step() {
  const trace::Span span(tracer_, "update", step_);
  StepResult result;
  result.learning_rate = schedule_.rate(step_);
  if (accumulated_ > 0) {
    const at::Tensor means =
        (loss_sums_ / static_cast<double>(accumulated_)).to(at::kCPU, at::kDouble).contiguous();
    for (size_t i = 0; i < names_.size(); ++i) {
      const double value = means.const_data_ptr<double>()[i];
      result.losses.emplace_back(names_[i], value);
      result.loss += value;
    }
    result.gradient_norm = optimizer_.clip_gradients(config_.train.clip_norm);
  } else {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    // In the order of Losses::named().
    for (const char* name :
         {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}) {
      result.losses.emplace_back(name, kNone);
    }
    result.loss = kNone;
  }
  result.updated = std::isfinite(result.loss) && std::isfinite(result.gradient_norm);
  if (result.updated) {
    phase_ = Phase::kUpdating;
    optimizer_.step(result.learning_rate);
    if (average_) average_->update(step_);
  } else {
    restore_statistics();
  }
  phase_ = Phase::kBetweenSteps;
  return result;
}

bool Trainer::abandon_step() {
  if (phase_ == Phase::kUpdating) return false;
  if (phase_ == Phase::kCollecting) {
    restore_statistics();
    optimizer_.clear_gradients();
  }
  phase_ = Phase::kBetweenSteps;
  return true;
}

void Trainer::restore_statistics() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < statistics_.size(); ++i) statistics_[i].copy_(statistics_before_[i]);
}

TensorMap Trainer::state() const {
  TensorMap tensors;
  add_with_prefix(tensors, "model", model_.state());
  add_with_prefix(tensors, "optimizer", optimizer_.state());
  if (average_) add_with_prefix(tensors, "average", average_->state());
  return tensors;
}

Result<void> Trainer::load_state(const TensorMap& tensors) {
  ATOLL_TRY_CONTEXT(model_.load_state(with_prefix_removed(tensors, "model")), "the model");
  ATOLL_TRY_CONTEXT(optimizer_.load_state(with_prefix_removed(tensors, "optimizer")),
                    "the optimiser's state");
  if (!average_) return {};
  const auto average = with_prefix_removed(tensors, "average");
  // Switched on in a run that goes on: it begins at the weights as they are.
  if (average.empty()) {
    average_.emplace(config_.train.ema_decay, model_.parameters());
    return {};
  }
  return average_->load_state(average);
}

}  // namespace atl::train
