// Gradients summed over the ranks while the backward pass still runs, by c10d's Reducer: parameters are
// laid into buckets from the last to the first, as their gradients come, and a bucket whose last gradient
// has come is on its way at once.
//
// Summed, not averaged: a rank's losses are divided by counts over all ranks already (model/mask_rcnn.h), so
// their sum is the loss of the whole batch and the gradients' sum is its gradient.
//
// The buckets are a function of the parameters alone. DDP in Python sorts them anew after the first step, by
// the order in which gradients came; since the order in which ranks are added up depends on a number's place
// in its bucket, a run that goes on from a checkpoint would then differ from one that was never stopped.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "parallel/group.h"

namespace atl::parallel {

// What is sent. Half the bytes, and rounded before they are summed: 11 bits of mantissa with a range up to
// 65,504, or 8 bits with that of f32.
enum class GradientType : uint8_t { kFloat32, kFloat16, kBfloat16 };

struct GradientOptions {
  GradientType type = GradientType::kFloat32;
  int64_t first_bucket_bytes = int64_t{1} << 20;  // small, so that sending begins early
  int64_t bucket_bytes = int64_t{25} << 20;
};

// How the sums of a backward pass lay in time, on this rank.
struct SumTimes {
  double under_way_s = 0;  // while at least one bucket was being summed
  double alone_s =
      0;  // of that, after the last bucket had been handed over: nothing is left to compute
  // Of the sums' time, what the backward pass hid, 0..1.
  double hidden_share() const { return under_way_s > 0 ? 1 - alone_s / under_way_s : 0; }
};

// One thread's.
class Gradients {
 public:
  // Those that are trained, f32, in the order of the forward pass; the same on all ranks. Every one must get
  // a gradient, zero if need be, in every backward pass that is summed: nothing is searched for and left out,
  // which would cost a walk through the graph and one more collective a step. The group must outlive this.
  static Result<Gradients> make(Group& group,
                                std::vector<at::Tensor> parameters,
                                const GradientOptions& options = {});
  Gradients(Gradients&&) noexcept;
  ~Gradients();

  // The backward pass of this rank's part of the loss. Gradients add up to those that are there; if `sum`,
  // what comes of it is summed over the ranks. An Error is the group's; exceptions are the pass's own.
  Result<void> backward(const at::Tensor& loss, bool sum);
  // Sums the gradients as they are, for a step whose last backward pass is not to come. Missing ones are zero.
  Result<void> sum();
  // Of the last backward pass that summed. nullopt: none has, or the sums are of a device that tells no
  // times (a library that queues them behind the device's kernels is done before they are).
  std::optional<SumTimes> sum_times() const;

 private:
  struct Impl;
  explicit Gradients(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace atl::parallel
