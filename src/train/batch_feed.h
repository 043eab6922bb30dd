// The loader's batches as tensors on the device. On a GPU the next batch is copied by a stream of its
// own while the one at hand is computed; on the CPU there is nothing to copy and nothing is done ahead.
//
//   feed.next()      batch n, which the copying stream has brought or is bringing
//   accumulate(...)  puts the work of batch n into the device's queue
//   feed.stage()     takes batch n + 1 from the loader and begins to copy it beside that work
//
// No CUDA header: streams and events are c10's, of whatever device has them.
#pragma once

#include <c10/core/Stream.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dataset/loader.h"
#include "train/batch_tensors.h"

namespace atl::train {

struct FedBatch {
  int64_t step = 0;                     // of the loader
  std::vector<int64_t> images;          // indices in the dataset
  std::optional<BatchTensors> tensors;  // nullopt: no image of the batch could be read
};

// One thread's.
class BatchFeed {
 public:
  using Source = std::function<Result<std::optional<dataset::Batch>>()>;

  BatchFeed(Source source, at::Device device);
  ~BatchFeed();  // waits for a copy that is under way

  // In the source's order; nullopt at its end. An error that staging met comes out here, in its turn.
  Result<std::optional<FedBatch>> next();
  void stage();

  // Seconds in which the device had nothing to do but wait for the source, since the last call.
  double take_waited_s();

 private:
  struct Staged;

  Result<std::optional<FedBatch>> fetch();

  Source source_;
  at::Device device_;
  std::optional<c10::Stream> copying_;  // nullopt on the CPU
  std::unique_ptr<Staged> staged_;
  double waited_s_ = 0;
};

}  // namespace atl::train
