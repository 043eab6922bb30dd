// Checkpoints that are written while the training goes on, by several ranks together.
//
// At a due step every rank that writes copies its shard's tensors into memory that it keeps for that (one
// copy of the shard, nothing else), and a thread of its own writes them; training goes on at once. When the shards of all
// are where they belong, rank 0's thread writes the manifest, and only then is there a checkpoint. One is in flight at
// most.
//
// No thread in the background talks to other ranks: that would race with the training's own collectives. How far
// each rank is stands in a few counts, which the training sums up where it asks between two steps anyway whether to stop;
// all ranks see the same sums, so all go on from one phase to the next together.
//
//   begin()          every rank: snapshot; its shard is being written
//   advance(sums)    all are written: their checksums are exchanged. Rank 0: its manifest is being written,
//                    or, where a shard could not be written, what is there is being removed
//   advance(sums)    rank 0 is done: the outcome
//
// Where rank 0 is the only writer the manifest follows its shard at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/group.h"
#include "storage/storage.h"
#include "trace/trace.h"
#include "train/background_thread.h"
#include "train/checkpoint.h"

namespace atl::train {

struct CheckpointOutcome {
  int64_t step = 0;
  bool whole = false;  // the same on all ranks, unlike what follows, which rank 0 alone knows
  std::optional<Error> reason;  // why it is not
  std::optional<Error> logs_not_durable;
  std::optional<Error> old_not_removed;
};

// Of one rank, or of all.
struct CheckpointCounts {
  int64_t written = 0;   // ranks whose thread is done with its shard, well or not
  int64_t whole = 0;     // 1: rank 0 is done, and the checkpoint is there
  int64_t given_up = 0;  // 1: rank 0 is done, and it is not
};

struct CheckpointRules {
  std::vector<int> writers = {0};  // ranks, ascending; rank 0 is always one
  int64_t keep = 1;                // newest ones that are not removed
};

// One thread's. The group must not be used by another thread meanwhile.
class CheckpointWriter {
 public:
  // The store is null on a rank that does not write. Everything outlives the writer; the tracer may be null.
  CheckpointWriter(storage::ObjectStore* store,
                   parallel::Group& group,
                   CheckpointRules rules,
                   trace::Tracer* tracer);
  // Waits for what this rank is writing.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The step of the one that is being written: the same answer on all ranks.
  std::optional<int64_t> in_flight() const;
  // None may be in flight. Copies what it needs of `live`, the same tensors on all ranks, before it returns.
  // All ranks call it for the same step; the state is rank 0's.
  void begin(const RunState& state, const TensorMap& live);

  // --- on all ranks together; errors are the group's ---
  CheckpointCounts counts() const;  // of this rank
  Result<std::optional<CheckpointOutcome>> advance(const CheckpointCounts& sums);
  // Waits for the one in flight, which there must be.
  Result<CheckpointOutcome> finish();

  // On rank 0, when the others are gone: what has become of the one in flight; nullopt: there was none, or nobody can
  // know of the others' shards.
  std::optional<CheckpointOutcome> finish_alone();

 private:
  enum class Phase { kNone, kShards, kClosing };

  bool sole_writer() const { return rules_.writers.size() == 1; }
  void take_snapshot(const TensorMap& share);
  void write_own_shard();
  void close(std::optional<Error> reason);
  Result<void> exchange_checksums();
  CheckpointOutcome end();

  storage::ObjectStore* store_;
  parallel::Group& group_;
  CheckpointRules rules_;
  trace::Tracer* tracer_;
  std::optional<size_t> own_;  // the number of this rank's shard

  Phase phase_ = Phase::kNone;
  // The thread's, while it is busy.
  TensorMap snapshot_;  // memory that the next one uses again
  Manifest manifest_;   // its step on every rank, the rest on rank 0
  std::optional<Result<WrittenShard>> shard_;
  CheckpointOutcome outcome_;
  std::unique_ptr<BackgroundThread> thread_;  // null on a rank that does not write
};

}  // namespace atl::train
