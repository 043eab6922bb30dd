// The configuration of a run: one TOML file, `--set section.key=value` over it, and the command
// line's shortcuts over that. The effective values are printed at the start and stored as
// config.toml. No torch here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dataset/augment.h"
#include "model/model_config.h"

namespace atl::train {

struct DataConfig {
  std::string path;               // directory or URI with COCO's layout
  std::string train_annotations;  // keys, where the layout is another one; "" = found
  std::string train_images;
  std::string val_annotations;
  std::string val_images;
  int threads = 0;  // 0: all available
  int batches_ahead = 4;
  int64_t max_bad_images = 10;
  bool keep_empty = true;  // train on images without objects
  bool group_by_aspect = true;
  bool shrink_in_decoder = false;      // see dataset::LoaderOptions
  double repeat_factor_threshold = 0;  // 0: off; images with rarer categories come more often
  double flip_probability = 0.5;
  dataset::AugmentOptions augment;
  int64_t limit_images = 0;      // 0: all; else the first N of the split, for trying things out
  int64_t limit_val_images = 0;  // 0: as limit_images; else of the validation split
  int64_t validation_limit() const {
    return limit_val_images > 0 ? limit_val_images : limit_images;
  }
  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

struct TrainConfig {
  int64_t steps = 0;          // 0: 12 epochs of the training split (COCO's "1x")
  int64_t global_batch = 16;  // images a step
  int64_t accumulation = 1;   // micro-batches that a step is cut into, to save memory
  uint64_t seed = 0;
  std::string optimizer = "sgd";  // sgd | adamw
  double learning_rate = 0.02;    // at base_batch images a step
  int64_t base_batch = 16;        // learning rate is scaled by global_batch / base_batch
  double momentum = 0.9;
  double weight_decay = 1e-4;                     // not on biases and norms
  std::string schedule = "multistep";             // multistep | cosine
  std::vector<double> milestones = {0.67, 0.89};  // shares of steps
  double gamma = 0.1;
  int64_t warmup_steps = 500;  // at most half of the steps
  double warmup_factor = 0.001;
  double clip_norm = 0;  // 0: off
  double ema_decay = 0;  // 0: off; else evaluation and model.safetensors use the average
  bool bf16 = false;
  std::string gradient_type =
      "f32";  // f32 | f16 | bf16: as what ranks send gradients to each other
  int64_t checkpoint_every = 500;
  int64_t keep_checkpoints = 3;
  int64_t eval_every = 0;      // 0: only at the end
  bool evaluate = true;        // on the validation split, where there is one
  bool model_at_stop = false;  // a stopped run leaves model.safetensors, too
  int64_t max_bad_steps = 10;  // NaN or Inf losses in a row
  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;
};

struct RunConfig {
  std::string preset = "r50_fpn";
  std::string out;
  std::string weights;          // start from this weight file
  std::string device = "auto";  // auto | cpu | cuda
  int threads = 0;              // of the kernels; 0: all available
  DataConfig data;
  TrainConfig train;
  model::ModelConfig model;  // num_classes comes from the data
  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

struct ConfigSources {
  std::string file_name;          // for messages
  std::string toml;               // contents; may be empty
  std::vector<std::string> sets;  // "section.key=value", in order
};

// The defaults of a preset, for the model and for the training. kInvalidInput: no such preset.
Result<RunConfig> preset_config(std::string_view name);

// Preset first, then the file, then the sets. kInvalidInput: TOML errors with line and column; an
// unknown key with the nearest known one; a wrong type or range.
Result<RunConfig> parse_config(const ConfigSources& sources);
// Every effective value, with one-line comments; parse_config reads it back to the same RunConfig.
std::string to_toml(const RunConfig& config);

// A key that matters to what a run computes and differs between two configurations, so that the one
// cannot continue the other. Keys that a run may change on the way (threads, device, how often to
// checkpoint, …) are not among them.
struct ConfigChange {
  std::string key;
  std::string before;  // as TOML
  std::string after;
};
std::vector<ConfigChange> changes_that_matter(const RunConfig& before, const RunConfig& after);
// What must be the same on all ranks of a job: every key with its value as TOML, but for those that are a
// machine's own, places and numbers of threads.
std::vector<std::pair<std::string, std::string>> values_of_all_ranks(const RunConfig& config);
// "train.steps = 40, train.seed = 3": what differs from the preset's defaults, for one line.
std::string changes_from_preset(const RunConfig& config);

// One line for each key with its default in that preset: "train.steps = 400  # …", for --help and
// docs.
Result<std::string> describe_keys(std::string_view preset);

}  // namespace atl::train
