// What SageMaker tells a training container, and where it looks for what comes of it. Source: "How Amazon SageMaker AI
// Provides Training Information" and "… Processes Training Output" (developer guide); the local mode of its SDK writes
// the same files with fewer keys.
//
//   ROOT/input/config/hyperparameters.json     sagemaker/hyperparameters.h
//   ROOT/input/config/inputdataconfig.json     the channels
//   ROOT/input/config/resourceconfig.json      the hosts (job/resource_config.h)
//   ROOT/input/data/CHANNEL                    a folder; for Pipe mode FIFOs CHANNEL_0, CHANNEL_1 …
//   ROOT/checkpoints                           kept in S3 while the job runs, and restored when it starts again
//   ROOT/model, ROOT/output/data               an archive each at the end, of all hosts together
//   ROOT/output/failure                        why the job failed (sagemaker/failure.h)
//
// ROOT is /opt/ml, unless ATOLL_SAGEMAKER_ROOT says otherwise, as it does for jobs that are tried out on one machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "job/resource_config.h"
#include "sagemaker/hyperparameters.h"

namespace atl::sagemaker {

struct Paths {
  std::string root = job::kSageMakerRoot;

  std::string config() const { return root + "/input/config"; }
  std::string channels() const { return root + "/input/data"; }
  std::string checkpoints() const { return root + "/checkpoints"; }
  std::string model() const { return root + "/model"; }
  std::string output() const { return root + "/output"; }
  std::string output_data() const { return root + "/output/data"; }
  // What a person calls /opt/ml/…, also behind "tfrecord:", where the root is another one.
  std::string here(std::string path) const;
};

enum class InputMode { kFile, kFastFile, kPipe };

struct Channel {
  std::string name;
  InputMode mode = InputMode::kFile;
  bool record_io = false;  // each object of a pipe is a RecordIO record
  bool sharded = false;    // every host has a part of the objects only

  bool operator==(const Channel&) const = default;
};

struct Contract {
  Paths paths;
  std::vector<Hyperparameter> hyperparameters;
  std::vector<Channel> channels;  // by name
  job::ResourceConfig resources;

  const std::string& host() const {
    return resources.hosts[static_cast<size_t>(resources.current)];
  }
};

// inputdataconfig.json. kInvalidInput says which channel is wrong; kUnsupported: a mode that Atoll does not know.
Result<std::vector<Channel>> parse_input_data_config(std::string_view json);

// Whether a training job was started here: its hyperparameters are there.
bool has_contract(const Paths& paths);

// kInvalidInput: a file that is not there or not as it should be, with its path and what to do. Where there is no
// inputdataconfig.json the folders in input/data are the channels, in File mode; no hyperparameters.json is none.
Result<Contract> read_contract(const Paths& paths);

}  // namespace atl::sagemaker
