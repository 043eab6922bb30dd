// The jobs that need a model: train, evaluate, predict. Entry points return Result; exceptions of
// the libraries below end here.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "parallel/options.h"
#include "train/config.h"

namespace atl::train {

// What a run says while it goes on; the command line draws a bar from it, tests look at it.
struct Progress {
  const char* phase = "";  // "train", "evaluate", "predict"
  int64_t done = 0;        // steps or images
  int64_t total = 0;
  double images_per_s = 0;
  double data_wait_share = 0;  // of the step time, 0..1
  double loss = 0;
  double seconds_left = 0;
  double learning_rate = 0;
};

struct Console {
  std::function<void(const std::string& line)> line;  // one line for people
  std::function<void(const Progress&)> progress;
  // Where indexes of large annotations may be kept (dataset/index.h); "": nowhere.
  std::string cache_folder;
  // How long another writer of the output is waited for before it is an error: rank 0 of a job's last round may still be
  // ending.
  std::chrono::seconds wait_for_output{0};
};

struct TrainResult {
  int64_t steps = 0;
  bool stopped = false;   // by the stop token, after a checkpoint
  std::string eval_json;  // as in eval.json; empty when there was no evaluation
};

// Trains, checkpoints, evaluates on the validation split and leaves in config.out: config.toml,
// metrics.jsonl, events.out.tfevents.*, model.safetensors, checkpoints/, eval.json,
// predictions.json, pictures/, trace.json. Resumes from the newest whole checkpoint in config.out
// by itself; a changed option is refused and named unless `override_options`.
//
// With several ranks each process calls this with its place; what comes of it is what one process with the
// same train.global_batch does, to rounding (docs/distributed.md). Rank 0 alone writes, but for shards of
// checkpoints, and speaks to its console. A stop of one rank stops all, an error of one ends all.
Result<TrainResult> run_training(const RunConfig& config,
                                 bool override_options,
                                 const Console& console,
                                 std::stop_token stop,
                                 const parallel::GroupOptions& place = {});

struct EvaluateOptions {
  std::string weights;  // a model; or
  std::string run;      // what a run has left or is leaving: the newest whole checkpoint
  bool follow = false;  // of a run: go on with the next one, until the run's last
  std::chrono::milliseconds look_every = std::chrono::seconds(15);  // when following
  std::string data;         // of a run: "" = its own, with what follows
  std::string annotations;  // "" = found
  std::string images;
  std::string out;  // eval.json, predictions.json; "" = none
  std::string device = "auto";
  int threads = 0;
  int64_t batch = 1;
  int64_t limit_images = 0;
  std::optional<int64_t> max_bad_images;  // more is an error; not given: a run's own, else 10
};
// The printed tables come through console.line; returns eval.json's text. A run's evaluations stand in its
// eval.jsonl, where those of before are found again: no checkpoint is evaluated twice. Nothing else of a run is
// written.
Result<std::string> run_evaluation(const EvaluateOptions& options,
                                   const Console& console,
                                   std::stop_token stop);

struct PredictOptions {
  std::string weights;
  std::vector<std::string> inputs;  // files, directories, URIs
  std::string out;                  // pictures and predictions.json
  std::string device = "auto";
  int threads = 0;
  double score_threshold = 0.5;  // for the pictures; the JSON has all
};
Result<void> run_prediction(const PredictOptions& options,
                            const Console& console,
                            std::stop_token stop);

}  // namespace atl::train
