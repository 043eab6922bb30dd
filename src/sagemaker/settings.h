// Hyperparameters as what Atoll is to do. Three kinds of names are known (docs/sagemaker.md has the table):
//
//   Atoll's own      keys of the configuration (train.steps, model.norm; out, preset, weights, device, threads), the
//                    shortcuts of atoll train (data, steps, batch, seed, checkpoint-every), config and override
//   the TensorFlow   mode, total_steps, train_batch_size …: NVIDIA's Mask R-CNN for TensorFlow, as the SageMaker
//   lab's            lab starts it. Batch sizes are of one GPU there, rates are those of the whole batch, and
//                    steps where the rate falls are absolute.
//   sagemaker_*      what SageMaker's SDK adds for its own containers: passed over
//
// Any other name is an error: a run with a misspelt one would be another run than was asked for.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sagemaker/hyperparameters.h"

namespace atl::sagemaker {

enum class Mode { kTrain, kEvaluate, kTrainAndEvaluate };

struct Settings {
  Mode mode = Mode::kTrainAndEvaluate;
  // For --set, in order: "train.steps=500". Without what stands below.
  std::vector<std::string> sets;
  std::string config_file;
  bool override_options = false;
  std::string data;                    // data.path
  std::string out;                     // of the run; "" = below checkpoints/
  std::optional<std::string> weights;  // "" = from random ones
  // The lab's, to be looked for on this machine.
  std::string checkpoint;
  std::string model_dir;
  std::string training_files;  // patterns of TFRecords
  std::string validation_files;
  int64_t evaluation_batch = 0;  // of atoll eval; 0: its own
  int64_t evaluation_images = 0;
  // For people: what has no counterpart, or was understood in a way that should be known.
  std::vector<std::string> notes;
};

// `ranks`: of the whole job. kInvalidInput: an unknown name, a value that is none, two names that set one key
// differently.
Result<Settings> settings_of(std::span<const Hyperparameter> hyperparameters, int ranks);

// "key=value" for --set, where a value that begins with a quote would be taken for TOML.
std::string setting(std::string_view key, std::string_view value);

// The lab's names, for documentation and tests.
std::vector<std::string> lab_names();

}  // namespace atl::sagemaker
