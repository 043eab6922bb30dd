#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>

namespace atl::train {
namespace {

constexpr int64_t kPlaceholder_px = 32;  // the least that the network takes

void throw_if_failed(const Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().to_string());
}

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
                 trace::Tracer* tracer,
                 parallel::Group* group)
    : config_(config),
      model_(model, device, config.train.seed),
      schedule_(config.train, steps),
      optimizer_(config.train, model_.parameters()),
      tracer_(tracer),
      group_(group != nullptr && group->alone() ? nullptr : group) {
  if (config.train.ema_decay > 0) average_.emplace(config.train.ema_decay, model_.parameters());
  if (model.norm == model::Norm::kBatchNorm) statistics_ = statistics_of(model_);
  for (const auto& tensor : statistics_) statistics_before_.push_back(at::empty_like(tensor));
  if (group_ != nullptr) make_gradients();
}

void Trainer::make_gradients() {
  std::vector<at::Tensor> trained;
  for (const auto& parameter : model_.parameters()) {
    if (parameter.trainable) trained.push_back(parameter.tensor);
  }
  parallel::GradientOptions options;
  if (config_.train.gradient_type == "f16") options.type = parallel::GradientType::kFloat16;
  if (config_.train.gradient_type == "bf16") options.type = parallel::GradientType::kBfloat16;
  auto made = parallel::Gradients::make(*group_, std::move(trained), options);
  if (!made) throw std::runtime_error(made.error().to_string());
  gradients_.emplace(*std::move(made));
}

void Trainer::begin_step(int64_t step) {
  const at::NoGradGuard no_grad;
  step_ = step;
  phase_ = Phase::kCollecting;
  micro_batches_ = 0;
  accumulated_ = 0;
  summed_ = false;
  copied_from_.clear();  // the step before has waited for its losses, and so for its batches
  loss_sums_ = at::Tensor();
  optimizer_.clear_gradients();
  for (size_t i = 0; i < statistics_.size(); ++i) statistics_before_[i].copy_(statistics_[i]);
}

void Trainer::accumulate(const BatchTensors& batch) { accumulate(batch, false); }

void Trainer::accumulate_none() {
  BatchTensors batch;
  batch.images.pixels = at::zeros({1, 3, kPlaceholder_px, kPlaceholder_px}, model_.device())
                            .contiguous(at::MemoryFormat::ChannelsLast);
  batch.images.sizes = {{kPlaceholder_px, kPlaceholder_px}};
  batch.images.image_ids = {0};
  batch.targets = {
      {at::zeros({0, 4}, model_.device()),
       at::zeros({0}, at::TensorOptions(model_.device()).dtype(at::kLong)),
       {at::zeros({0}, at::kInt), at::zeros({1}, at::kLong), kPlaceholder_px, kPlaceholder_px}}};
  accumulate(batch, true);
}

void Trainer::accumulate(const BatchTensors& batch, bool placeholder) {
  model::Losses losses;
  if (batch.copied_from.defined()) copied_from_.push_back(batch.copied_from);
  {
    const trace::Span span(tracer_, "forward", step_);
    const Autocast autocast(config_.train.bf16, model_.device().type());
    model::Ranks ranks;
    if (group_ != nullptr) {
      ranks.placeholder = placeholder;
      ranks.sum = [group = group_](const at::Tensor& tensor) {
        throw_if_failed(group->sum(tensor, "the sum of the batch's counts and statistics"));
      };
    }
    losses = model_.loss(
        batch.images, batch.targets, {config_.train.seed, static_cast<uint64_t>(step_)}, ranks);
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
  ++micro_batches_;
  at::Tensor total = losses.total();
  if (config_.train.accumulation > 1) {
    total = total / static_cast<double>(config_.train.accumulation);
  }
  backward(total);
}

// Gradients are summed over the ranks once a step, with the last micro-batch.
void Trainer::backward(const at::Tensor& loss) {
  if (!gradients_) {
    loss.backward();
    return;
  }
  summed_ = micro_batches_ == config_.train.accumulation;
  throw_if_failed(gradients_->backward(loss, summed_));
}

// (5,) f64 on the CPU.
at::Tensor Trainer::mean_losses() const {
  at::Tensor means =
      (loss_sums_ / static_cast<double>(accumulated_)).to(at::kCPU, at::kDouble).contiguous();
  if (group_ != nullptr) throw_if_failed(group_->sum(means, "the sum of the losses"));
  return means;
}

// The norm of gradients that are the same on all ranks is the same but for rounding, where ranks have
// different numbers of threads; weights must not drift apart by that.
double Trainer::clip_gradients() {
  if (!gradients_) return optimizer_.clip_gradients(config_.train.clip_norm);
  if (!summed_) throw_if_failed(gradients_->sum());  // nobody had an image in the last micro-batch
  const at::Tensor norm = at::full({}, optimizer_.gradient_norm(), at::kDouble);
  throw_if_failed(group_->broadcast(std::span(&norm, 1), "the gradients' norm"));
  optimizer_.scale_gradients(norm.item<double>(), config_.train.clip_norm);
  return norm.item<double>();
}

StepResult Trainer::finish_step() {
  const trace::Span span(tracer_, "update", step_);
  StepResult result;
  result.learning_rate = schedule_.rate(step_);
  if (accumulated_ > 0) {
    const at::Tensor means = mean_losses();
    for (size_t i = 0; i < names_.size(); ++i) {
      const double value = means.const_data_ptr<double>()[i];
      result.losses.emplace_back(names_[i], value);
      result.loss += value;
    }
    result.gradient_norm = clip_gradients();
    if (gradients_ && summed_) result.sum_times = gradients_->sum_times();
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
