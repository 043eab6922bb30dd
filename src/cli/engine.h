// The jobs that need LibTorch, seen from the command line. Loading it takes longer than `atoll
// --help` may, so there are two programs from the same sources:
//   atoll         links engine_exec.cpp: a job replaces the process by atoll-engine, same arguments
//   atoll-engine  links engine_linked.cpp: a job runs
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/train.h"

namespace atl::cli {

class CommandContext;

struct TrainArguments {
  std::string config_file;
  std::vector<std::string> sets;  // "section.key=value"; the shortcuts come last
  bool override_options = false;
  bool print_config = false;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Result<int> train(const TrainArguments& arguments, CommandContext& context) = 0;
  virtual Result<int> evaluate(const train::EvaluateOptions& options, CommandContext& context) = 0;
  virtual Result<int> predict(const train::PredictOptions& options, CommandContext& context) = 0;
};

// The one that this program is linked with. `argv` is main's, and must outlive it.
std::unique_ptr<Engine> make_engine(char** argv);

}  // namespace atl::cli
