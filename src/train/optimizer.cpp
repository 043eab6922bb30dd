#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

namespace atl::train {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

at::Tensor zeros_of(const at::Tensor& parameter) {
  return at::zeros_like(parameter, at::TensorOptions().requires_grad(false));
}

// The fused kernels walk over memory, so a gradient must be laid out as its parameter is.
at::Tensor laid_out_as(const at::Tensor& parameter, const at::Tensor& gradient) {
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

Result<void> copy_in(const std::map<std::string, at::Tensor>& source,
                     const std::map<std::string, at::Tensor>& target) {
  for (const auto& [name, tensor] : target) {
    const auto found = source.find(name);
    if (found == source.end()) {
      return fail(ErrorCode::kCorrupt, fmt::format("tensor {} is missing", name));
    }
    if (found->second.sizes() != tensor.sizes()) {
      return fail(ErrorCode::kCorrupt, fmt::format("tensor {} has another shape", name));
    }
  }
  if (source.size() != target.size()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} tensors instead of {}", source.size(), target.size()));
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : target) {
    at::Tensor live = tensor;
    live.copy_(source.at(name));
  }
  return {};
}

}  // namespace

Optimizer::Optimizer(const TrainConfig& config, const std::vector<model::Parameter>& parameters)
    : config_(config), adamw_(config.optimizer == "adamw"), groups_(2) {
  groups_[0].weight_decay = config.weight_decay;
  at::Device device = at::kCPU;
  for (const auto& parameter : parameters) {
    if (!parameter.trainable) continue;
    Group& group = groups_[parameter.decay ? 0 : 1];
    group.names.push_back(parameter.name);
    group.parameters.push_back(parameter.tensor);
    if (adamw_ || config.momentum != 0) group.first.push_back(zeros_of(parameter.tensor));
    if (adamw_) group.second.push_back(zeros_of(parameter.tensor));
    device = parameter.tensor.device();
  }
  steps_ = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device));
}

void Optimizer::clear_gradients() {
  for (auto& group : groups_) {
    for (auto& parameter : group.parameters) parameter.mutable_grad().reset();
  }
}

std::vector<at::Tensor> Optimizer::gradients() const {
  std::vector<at::Tensor> gradients;
  for (const auto& group : groups_) {
    for (const auto& parameter : group.parameters) {
      if (parameter.grad().defined()) gradients.push_back(parameter.grad());
    }
  }
  return gradients;
}

double Optimizer::gradient_norm() const {
  const at::NoGradGuard no_grad;
  const auto gradients = this->gradients();
  if (gradients.empty()) return 0;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).item<double>();
}

void Optimizer::scale_gradients(double norm, double limit) {
  const at::NoGradGuard no_grad;
  // As torch.nn.utils.clip_grad_norm_ does it.
  if (limit > 0 && norm > limit) at::_foreach_mul_(gradients(), limit / (norm + 1e-6));
}

double Optimizer::clip_gradients(double limit) {
  const double norm = gradient_norm();
  scale_gradients(norm, limit);
  return norm;
}

void Optimizer::step(double rate) {
  const at::NoGradGuard no_grad;
  if (adamw_) steps_ += 1;
  for (auto& group : groups_) step_group(group, rate);
}

void Optimizer::step_group(Group& group, double rate) {
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> first;
  std::vector<at::Tensor> second;
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    const at::Tensor& parameter = group.parameters[i];
    if (!parameter.grad().defined()) continue;
    parameters.push_back(parameter);
    gradients.push_back(laid_out_as(parameter, parameter.grad()));
    if (!group.first.empty()) first.push_back(group.first[i]);
    if (!group.second.empty()) second.push_back(group.second[i]);
  }
  if (parameters.empty()) return;
  if (adamw_) {
    const std::vector<at::Tensor> steps(parameters.size(), steps_);
    at::_fused_adamw_(parameters,
                      gradients,
                      first,
                      second,
                      /*max_exp_avg_sqs=*/{},
                      steps,
                      rate,
                      kBeta1,
                      kBeta2,
                      group.weight_decay,
                      kEpsilon,
                      /*amsgrad=*/false,
                      /*maximize=*/false);
  } else {
    at::_fused_sgd_(parameters,
                    gradients,
                    first,
                    group.weight_decay,
                    config_.momentum,
                    rate,
                    /*dampening=*/0,
                    /*nesterov=*/false,
                    /*maximize=*/false,
                    /*is_first_step=*/false);  // a buffer of zeros gives the first step's v = g
  }
}

std::map<std::string, at::Tensor> Optimizer::state() const {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& group : groups_) {
    for (size_t i = 0; i < group.first.size(); ++i) {
      tensors[(adamw_ ? "exp_avg." : "momentum.") + group.names[i]] = group.first[i];
    }
    for (size_t i = 0; i < group.second.size(); ++i) {
      tensors["exp_avg_sq." + group.names[i]] = group.second[i];
    }
  }
  if (adamw_) tensors["steps"] = steps_;
  return tensors;
}

Result<void> Optimizer::load_state(const std::map<std::string, at::Tensor>& tensors) {
  return copy_in(tensors, state());
}

WeightAverage::WeightAverage(double decay, const std::vector<model::Parameter>& parameters)
    : decay_(decay) {
  for (const auto& parameter : parameters) {
    if (!parameter.trainable) continue;
    names_.push_back(parameter.name);
    parameters_.push_back(parameter.tensor.detach());
    average_.push_back(parameter.tensor.detach().clone());
  }
}

void WeightAverage::update(int64_t steps_done) {
  const at::NoGradGuard no_grad;
  const auto steps = static_cast<double>(steps_done);
  const double decay = std::min(decay_, (1 + steps) / (10 + steps));
  at::_foreach_lerp_(average_, parameters_, 1 - decay);
}

std::map<std::string, at::Tensor> WeightAverage::state() const {
  std::map<std::string, at::Tensor> tensors;
  for (size_t i = 0; i < names_.size(); ++i) tensors[names_[i]] = average_[i];
  return tensors;
}

Result<void> WeightAverage::load_state(const std::map<std::string, at::Tensor>& tensors) {
  return copy_in(tensors, state());
}

WeightAverage::InPlace::InPlace(WeightAverage* average) : average_(average) {
  if (average_ == nullptr) return;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < average_->parameters_.size(); ++i) {
    saved_.push_back(average_->parameters_[i].clone());
    average_->parameters_[i].copy_(average_->average_[i]);
  }
}

WeightAverage::InPlace::~InPlace() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < saved_.size(); ++i) average_->parameters_[i].copy_(saved_[i]);
}

}  // namespace atl::train
