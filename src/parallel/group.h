// The processes of a job, each a rank, and what they do together: sums, broadcasts, gathering. A thin
// API over c10d of LibTorch, whose exceptions end here as Errors.
//
// All ranks call the same collectives in the same order; one that does not come is waited for until
// GroupOptions::timeout. After an error the group is of no more use, on any rank: the first trouble
// anywhere ends every collective everywhere within seconds, with an Error that says which rank it was, on
// which machine, and what that rank said or in which collective it is missing (parallel/watch.h).
//
// A group of one process does nothing at all: no socket, no thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "parallel/options.h"

namespace atl::parallel {

// One thread's, but for failure(); sum() may also run in a backward pass, which has a thread of its own on
// some devices, as long as nothing else runs then.
class Group {
 public:
  Group();  // of one process
  // Waits for the other ranks. `device`: of the tensors that are summed and broadcast; those of the CPU
  // always can be. `agreed`: what must be the same on all ranks, beside Atoll's version and build, and torch's version.
  // Errors are those of parallel/meeting.h; kUnsupported: no library for the device's tensors.
  static Result<Group> join(const GroupOptions& options, at::Device device, Agreed agreed);
  Group(Group&&) noexcept;
  Group& operator=(Group&&) noexcept;
  // Without finish() or end_with() before it, the others learn that this rank ended without a reason.
  ~Group();

  int rank() const;
  int size() const;
  bool first() const { return rank() == 0; }
  bool alone() const { return size() == 1; }
  std::string host() const;  // this machine, as the others know it; "" for one process

  // `name` is for messages and the trace, a string literal: "the sum of the losses".

  // Element-wise over all ranks, in place; the same bits on all of them. Same shape, type and strides on all
  // ranks; dense.
  Result<void> sum(const at::Tensor& tensor, const char* name);
  // From rank 0, in place. Same shapes and types on all ranks.
  Result<void> broadcast(std::span<const at::Tensor> tensors, const char* name);
  // Rank 0's; what others pass is ignored.
  Result<std::string> broadcast(std::string_view bytes, const char* name);
  // By rank; of any lengths. Empty elsewhere than on rank 0.
  Result<std::vector<std::string>> gather(std::string_view bytes, const char* name);
  // By rank, on every rank.
  Result<std::vector<std::string>> all_gather(std::string_view bytes, const char* name);
  Result<void> barrier(const char* name);
  // Whether it is so on any rank: the same answer on all.
  Result<bool> any(bool own, const char* name);

  // Why the group is of no more use; nullopt: it is.
  std::optional<Error> failure() const;
  // This rank ends with an error of its own, which becomes the others' answer. Does nothing where
  // failure() is one already.
  void end_with(const Error& error);
  // All ranks are done: waits for them, and takes leave. Nothing but the destructor may follow.
  Result<void> finish();

  struct Impl;  // parallel/group_impl.h
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;  // null for one process
};

}  // namespace atl::parallel
