// Checkpoints: everything that a run needs to go on as if it had never stopped, one file each.
//
//   checkpoints/step-00000400.safetensors
//     tensors   model.NAME (weights and batch-norm statistics), optimizer.NAME, average.NAME
//     metadata  "atoll.checkpoint": JSON of RunState, and the checksum of the tensors
//
// There is no random state to store: every random choice is keyed by seed, step and image. The
// store's put() is atomic, so a file is whole or absent; the checksum is for disks and copies that
// fail later.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"
#include "train/run_state.h"

namespace atl::train {

using TensorMap = std::map<std::string, at::Tensor>;

struct Checkpoint {
  RunState state;
  TensorMap tensors;
};

struct FoundCheckpoint {
  std::optional<Checkpoint> checkpoint;  // none: a fresh directory
  std::vector<std::string> damaged;      // newer ones that were passed over, with why
};

std::string checkpoint_key(int64_t step);
Result<void> write_checkpoint(storage::ObjectStore& store,
                              const RunState& state,
                              const TensorMap& tensors);
// kCorrupt: truncated, altered, or not a checkpoint.
Result<Checkpoint> read_checkpoint(storage::ObjectStore& store, std::string_view key);
// The newest whole one. kCorrupt when there are some and all are damaged.
Result<FoundCheckpoint> newest_checkpoint(storage::ObjectStore& store);
// Removes all but the newest `keep` and the one at best_step.
Result<void> prune_checkpoints(storage::ObjectStore& store, int64_t keep, int64_t best_step);

// The tensors whose names begin with "prefix.", without it.
TensorMap with_prefix_removed(const TensorMap& tensors, std::string_view prefix);
void add_with_prefix(TensorMap& into, std::string_view prefix, const TensorMap& tensors);

}  // namespace atl::train
