// The jobs that need a model: train, evaluate, predict. Entry points return Result; exceptions of
// the libraries below end here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
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
};

struct Console {
  std::function<void(const std::string& line)> line;  // one line for people
  std::function<void(const Progress&)> progress;
  // Where indexes of large annotations may be kept (dataset/index.h); "": nowhere.
  std::string cache_folder;
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
Result<TrainResult> run_training(const RunConfig& config,
                                 bool override_options,
                                 const Console& console,
                                 std::stop_token stop);

struct EvaluateOptions {
  std::string weights;
  std::string data;
  std::string annotations;  // "" = found
  std::string images;
  std::string out;  // eval.json, predictions.json; "" = none
  std::string device = "auto";
  int threads = 0;
  int64_t batch = 1;
  int64_t limit_images = 0;
};
// The printed tables come through console.line; returns eval.json's text.
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
