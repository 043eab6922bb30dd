// Checkpoints: everything that a run needs to go on as if it had never stopped.
//
//   tensors   model.NAME (weights and batch-norm statistics), optimizer.NAME, average.NAME
//   RunState  in the manifest
//
// There is no random state to store: every random choice is keyed by seed, step and image. What lies where in
// the store: train/manifest.h. How ranks write one together, and in the background: train/checkpoint_writer.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"
#include "train/manifest.h"

namespace atl::train {

using TensorMap = std::map<std::string, at::Tensor>;

struct Checkpoint {
  RunState state;
  TensorMap tensors;
};

struct DamagedCheckpoint {
  int64_t step = 0;
  std::string reason;  // with its name
};

struct FoundCheckpoint {
  std::optional<Checkpoint> checkpoint;    // none: a fresh directory
  std::vector<DamagedCheckpoint> damaged;  // newer ones that were passed over
};

// By number, the tensors of each shard: a function of names, sizes and the number of shards, so that every rank knows
// its own without asking.
std::vector<TensorMap> divide_into_shards(const TensorMap& tensors, size_t shards);
Result<WrittenShard> write_shard(storage::ObjectStore& store,
                                 int64_t step,
                                 size_t shard,
                                 size_t shards,
                                 const TensorMap& tensors);
// Of a checkpoint of these shards, as divide_into_shards() gives them. What is still unknown is what was written.
Manifest make_manifest(const RunState& state, std::span<const TensorMap> divided);
// The checkpoint is there when this returns.
Result<void> write_manifest(storage::ObjectStore& store, const Manifest& manifest);
// All of it, one piece after the other.
Result<void> write_checkpoint(storage::ObjectStore& store,
                              const RunState& state,
                              const TensorMap& tensors,
                              size_t shards = 1);

// Written by any number of ranks. kNotFound: no manifest. kCorrupt: something of it is missing, cut, altered,
// exchanged, or not what the manifest says.
Result<Checkpoint> read_checkpoint(storage::ObjectStore& store, int64_t step);
// The newest whole one. kCorrupt when there are some and all are damaged.
Result<FoundCheckpoint> newest_checkpoint(storage::ObjectStore& store);
// The steps that have a manifest, newest first.
Result<std::vector<int64_t>> list_checkpoints(storage::ObjectStore& store);

// All of the step, also where it has no manifest; that goes first.
Result<void> remove_checkpoint(storage::ObjectStore& store, int64_t step);
// Removes, of those up to `newest`, all but the newest `keep` and the one at best_step, and shards that
// were left without a manifest. Steps beyond `newest` are of a way that the run has left.
Result<void> prune_checkpoints(storage::ObjectStore& store,
                               int64_t keep,
                               int64_t best_step,
                               int64_t newest);

// The tensors whose names begin with "prefix.", without it.
TensorMap with_prefix_removed(const TensorMap& tensors, std::string_view prefix);
void add_with_prefix(TensorMap& into, std::string_view prefix, const TensorMap& tensors);

}  // namespace atl::train
