// The flat list of a model's parameters and buffers, under torchvision's state-dict names. Layers
// ask for their tensors here when they are built and keep handles to them; loading weights copies
// into the same tensors, so handles stay good.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/mask_rcnn.h"

namespace atl::model {

// How torchvision fills a new parameter. `fan` is the layer's fan-in or fan-out.
struct Init {
  enum class Kind { kConstant, kNormal, kUniform };
  Kind kind = Kind::kConstant;
  double value = 0;  // the constant, the standard deviation, or the bound
};
Init constant(double value);
Init normal(double deviation);
Init uniform(double bound);
// He et al. 2015, fan-out and ReLU, for a weight (O, I, kh, kw).
Init kaiming_fan_out(at::IntArrayRef shape);
// torch's default for convolutions and linear layers: uniform within 1 / sqrt(fan in); weight and
// bias.
Init torch_default(int64_t fan_in);

// FNV-1a, 64 bits: what a parameter's name contributes to the key of its random numbers.
uint64_t hash_name(std::string_view name);

class ParameterSet {
 public:
  // Without a seed nothing is drawn (the weights are about to be loaded): zeros.
  ParameterSet(at::Device device, std::optional<uint64_t> seed) : device_(device), seed_(seed) {}

  enum class Decay { kYes, kNo };
  at::Tensor parameter(const std::string& name,
                       at::IntArrayRef shape,
                       const Init& init,
                       bool trainable,
                       Decay decay);
  at::Tensor buffer(const std::string& name, const at::Tensor& value);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::map<std::string, at::Tensor>& state() const { return state_; }
  at::Device device() const { return device_; }

 private:
  at::Device device_;
  std::optional<uint64_t> seed_;
  std::vector<Parameter> parameters_;
  std::map<std::string, at::Tensor> state_;
};

}  // namespace atl::model
