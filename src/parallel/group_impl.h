// What a group is made of, for the files of this room.
#pragma once

#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

#include "parallel/group.h"
#include "parallel/meeting.h"
#include "parallel/watch.h"
#include "trace/trace.h"

namespace atl::parallel {

struct Group::Impl {
  ~Impl();

  // Starts and waits for one collective; `start` returns c10d's work.
  template <typename Start>
  Result<void> run(const char* name, const Start& start);
  bool is_timeout(std::chrono::steady_clock::time_point begin) const;

  GroupOptions options;
  std::string host;
  // Gradients have connections of their own: they are summed while the backward pass sums the statistics
  // of batch norms, and each kind keeps its order for itself.
  c10::intrusive_ptr<c10d::ProcessGroup> control;
  c10::intrusive_ptr<c10d::ProcessGroup> gradients;
  // Of few numbers on the CPU, one after the other (parallel/ring_sizes.h); empty: `control` does them.
  std::vector<c10::intrusive_ptr<c10d::ProcessGroup>> rings;
  c10::intrusive_ptr<c10d::Store> store;  // on rank 0 with the server, so it goes last
  std::unique_ptr<Watch> watch;
  bool finished = false;
};

template <typename Start>
Result<void> Group::Impl::run(const char* name, const Start& start) {
  const trace::Span span(options.tracer, name);
  watch->entering(name);
  const auto begin = std::chrono::steady_clock::now();
  try {
    watch->wait(*start());
    return {};
  } catch (const std::exception& error) {
    return tl::unexpected(watch->explain(name, error.what(), is_timeout(begin)));
  }
}

}  // namespace atl::parallel
