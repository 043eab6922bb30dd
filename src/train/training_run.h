// One run of `atoll train`, from opened data to the written model. training_run.cpp makes it ready
// (data, model, resumption, logs), loop.cpp goes through the steps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "dataset/loader.h"
#include "dataset/sampler.h"
#include "storage/storage.h"
#include "trace/system_sampler.h"
#include "trace/trace.h"
#include "train/batch_feed.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/split.h"
#include "train/train.h"
#include "train/trainer.h"

namespace atl::train {

class TrainingRun {
 public:
  TrainingRun(const RunConfig& config,
              bool override_options,
              const Console& console,
              std::stop_token stop);

  Result<void> prepare();
  Result<TrainResult> run();
  // For a viewer, however the run ended.
  void write_trace();

 private:
  // --- training_run.cpp ---
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

  // --- loop.cpp ---
  Result<TrainResult> run_to_end();
  Result<TrainResult> stop_here();
  tl::unexpected<Error> end_with(Error error);
  Result<void> train_step();
  Result<void> feed_trainer(std::vector<int64_t>& image_indices);
  Result<void> handle_skipped_step(const StepResult& result,
                                   const std::vector<int64_t>& image_indices);
  void report_step(const StepResult& result, size_t images, double seconds, double waited_s);
  Result<void> note_bad_images();
  bool evaluation_due() const;
  bool checkpoint_due() const;
  void checkpoint();
  Result<void> flush_logs();
  Result<EvaluationResult> evaluate_now(PredictionsFile* predictions);
  Result<TrainResult> finish();

  RunConfig config_;
  bool override_options_;
  const Console& console_;
  std::stop_token stop_;
  trace::Clock::time_point began_ = trace::Clock::now();
  trace::Tracer tracer_;
  trace::SystemSampler system_sampler_{&tracer_, std::chrono::milliseconds(500)};

  std::unique_ptr<storage::ObjectStore> out_;
  storage::Claim claim_;  // no second run writes there
  std::optional<Split> data_;
  std::optional<Split> validation_;
  std::optional<dataset::Sampler> sampler_;
  int64_t steps_ = 0;

  std::unique_ptr<Trainer> trainer_;
  std::optional<Metrics> metrics_;
  RunState state_;
  bool write_failed_ = false;
  int64_t last_good_checkpoint_ = -1;
  double step_seconds_ = 0;  // moving average
  int64_t steps_here_ = 0;   // since the program started

  std::unique_ptr<dataset::Loader> loader_;
  std::unique_ptr<BatchFeed> feed_;  // from the loader
};

}  // namespace atl::train
