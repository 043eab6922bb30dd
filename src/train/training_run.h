// One run of `atoll train`, from opened data to the written model. training_run.cpp makes it ready
// (data, model, resumption, logs), loop.cpp goes through the steps, checkpointing.cpp keeps them, ranks.cpp is what
// ranks say to each other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "dataset/loader.h"
#include "dataset/sampler.h"
#include "parallel/group.h"
#include "storage/storage.h"
#include "trace/system_sampler.h"
#include "trace/trace.h"
#include "train/batch_feed.h"
#include "train/checkpoint_writer.h"
#include "train/config.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/split.h"
#include "train/train.h"
#include "train/trainer.h"

namespace atl::train {

// storage::open_store(), or another one in tests.
using OpenStore = std::function<Result<std::shared_ptr<storage::ObjectStore>>(
    const std::string& uri, bool for_writing)>;

class TrainingRun {
 public:
  TrainingRun(const RunConfig& config,
              bool override_options,
              const Console& console,
              std::stop_token stop,
              const parallel::GroupOptions& place,
              OpenStore open_store = nullptr);

  Result<void> prepare();
  Result<TrainResult> run();
  // For a viewer, however the run ended.
  void write_trace();
  // Why the run ends, where an exception or an error may be no more than another rank's end.
  Error reason(Error error) const;
  // What the run's end is in the light of the other ranks', which hear of it.
  Result<TrainResult> settle(Result<TrainResult> result);

 private:
  // --- training_run.cpp ---
  Result<void> open_output();
  Result<storage::Claim> claim_output();
  Result<void> open_data();
  void make_sampler();
  Result<void> make_trainer();
  Result<void> resume_or_start();
  Result<void> resume(Checkpoint checkpoint);
  Result<void> check_same_run(const RunState& found);
  Result<void> forget_repaired_images();
  void make_loader();
  void say(const std::string& line) const;
  void warn_once_if_failed(const Result<void>& result, const std::string& what);
  std::string where_it_goes_on() const;

  // --- ranks.cpp ---
  // A number of threads from the configuration, 0 for this process's share of the machine.
  Result<void> share_processors();
  int threads_for(int configured) const;
  Result<void> agree_on_data();
  // Rank 0's, on all.
  Result<void> share_state();
  struct MicroBatch {
    int64_t images = 0;   // over all ranks
    int64_t new_bad = 0;  // images that could not be read, named now
  };
  Result<MicroBatch> add_over_ranks(MicroBatch own);
  // Every rank's, in order of the ranks.
  Result<std::vector<std::string>> lines_of_all_ranks(const std::vector<std::string>& own,
                                                      const char* name);
  // Whether any rank is to stop: the same answer on all. The checkpoint in flight goes on by the way.
  Result<bool> stop_anywhere();
  // kInternal: some rank's weights are not rank 0's, bit for bit.
  Result<void> compare_weights();

  // --- loop.cpp ---
  Result<TrainResult> run_to_end();
  Result<TrainResult> go_through_steps();
  Result<TrainResult> stop_here();
  tl::unexpected<Error> end_with(Error error);
  Result<void> train_step();
  struct Fed {
    std::vector<int64_t> images;  // indices, of this rank
    int64_t everywhere = 0;       // images of all ranks
  };
  Result<Fed> feed_trainer();
  Result<void> handle_skipped_step(const StepResult& result,
                                   const std::vector<int64_t>& image_indices);
  void report_step(const StepResult& result, int64_t images, double seconds, double waited_s);
  std::vector<dataset::BadImage> new_bad_images() const;
  Result<void> note_bad_images(const std::vector<dataset::BadImage>& found);
  Result<void> check_bad_images() const;
  bool evaluation_due() const;
  Result<EvaluationResult> evaluate_now(PredictionsFile* predictions);
  Result<void> write_model();  // rank 0
  Result<TrainResult> finish();

  // --- checkpointing.cpp ---
  Result<std::vector<int>> find_writers();
  Result<void> make_checkpoint_writer();
  bool checkpoint_due() const;
  // Begins one of this step, where there is none. The errors of these three are the group's.
  Result<void> checkpoint();
  Result<void> wait_for_checkpoint();
  // The one in flight is over when this returns.
  Result<void> finish_checkpoint();
  // `current`: the state is that of a step, and is to be kept.
  void checkpoint_alone(bool current);
  void count_logs();
  void note(const CheckpointOutcome& outcome);
  void say_not_written(int64_t step, const Error& reason) const;

  RunConfig config_;
  bool override_options_;
  Console console_;
  std::stop_token stop_;
  parallel::GroupOptions place_;
  OpenStore open_store_;
  trace::Clock::time_point began_ = trace::Clock::now();
  trace::Tracer tracer_;
  trace::SystemSampler system_sampler_{&tracer_, std::chrono::milliseconds(500)};

  parallel::Group group_;
  int ranks_on_processors_ = 1;                // that may run where this one may
  std::shared_ptr<storage::ObjectStore> out_;  // rank 0's
  std::shared_ptr<storage::ObjectStore>
      out_seen_;          // the same on another rank, for its shards; null: not seen
  storage::Claim claim_;  // no second run writes there
  std::optional<Split> data_;
  std::optional<Split> validation_;
  std::optional<dataset::Sampler> sampler_;
  int64_t steps_ = 0;

  std::optional<at::Device> device_;
  std::unique_ptr<Trainer> trainer_;
  std::optional<Metrics> metrics_;  // rank 0's
  RunState state_;
  // Of state_.bad_images, whose lines are those of the rank that has found them, with paths of its machine.
  std::set<int64_t> bad_image_ids_;
  bool write_failed_ = false;
  bool weights_differ_ = false;  // between ranks: nobody knows whose are right
  bool waited_for_checkpoint_ = false;
  int64_t last_good_checkpoint_ = -1;  // the same on all ranks
  std::set<int64_t> damaged_steps_;    // rank 0's; of checkpoints that were passed over
  std::unique_ptr<CheckpointWriter> checkpoints_;
  double step_seconds_ = 0;  // moving average
  int64_t steps_here_ = 0;   // since the program started

  std::unique_ptr<dataset::Loader> loader_;
  std::unique_ptr<BatchFeed> feed_;  // from the loader
};

// A run from its preparation to its end.
Result<TrainResult> run_training(TrainingRun& run);

}  // namespace atl::train
