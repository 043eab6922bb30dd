#include "model/parameters.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "base/check.h"
#include "base/keyed_random.h"

namespace atl::model {
namespace {

// Chunks have keys of their own, so that threads can share the work and the numbers do not depend
// on how many there are.
constexpr int64_t kChunk = 4096;

void fill(at::Tensor& tensor, const Init& init, uint64_t key) {
  float* const data = tensor.mutable_data_ptr<float>();
  const int64_t count = tensor.numel();
  at::parallel_for(0, (count + kChunk - 1) / kChunk, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      KeyedRandom random({key, static_cast<uint64_t>(chunk)});
      const int64_t stop = std::min(count, (chunk + 1) * kChunk);
      for (int64_t i = chunk * kChunk; i < stop; ++i) {
        data[i] = static_cast<float>(init.kind == Init::Kind::kNormal
                                         ? init.value * random.normal()
                                         : random.uniform(-init.value, init.value));
      }
    }
  });
}

}  // namespace

Init constant(double value) { return {Init::Kind::kConstant, value}; }
Init normal(double deviation) { return {Init::Kind::kNormal, deviation}; }
Init uniform(double bound) { return {Init::Kind::kUniform, bound}; }

Init kaiming_fan_out(at::IntArrayRef shape) {
  const auto fan_out = static_cast<double>(shape[0] * shape[2] * shape[3]);
  return normal(std::sqrt(2.0 / fan_out));
}

Init torch_default(int64_t fan_in) { return uniform(1.0 / std::sqrt(static_cast<double>(fan_in))); }

uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

at::Tensor ParameterSet::parameter(
    const std::string& name, at::IntArrayRef shape, const Init& init, bool trainable, Decay decay) {
  at::Tensor tensor = at::zeros(shape, at::kFloat);
  if (init.kind == Init::Kind::kConstant) {
    tensor.fill_(init.value);
  } else if (seed_) {
    fill(tensor, init, hash_key({*seed_, hash_name(name)}));
  }
  tensor = tensor.to(device_);
  if (tensor.dim() == 4) tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
  tensor.requires_grad_(trainable);
  parameters_.push_back({name, tensor, trainable, decay == Decay::kYes});
  ATOLL_CHECK(state_.emplace(name, tensor).second) << name;
  return tensor;
}

at::Tensor ParameterSet::buffer(const std::string& name, const at::Tensor& value) {
  at::Tensor tensor = value.to(device_);
  ATOLL_CHECK(state_.emplace(name, tensor).second) << name;
  return tensor;
}

}  // namespace atl::model
