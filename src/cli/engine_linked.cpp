#include <cstdio>

#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/progress_bar.h"
#include "storage/storage.h"
#include "train/config.h"
#include "train/train.h"

namespace atl::cli {
namespace {

Result<train::RunConfig> read_config(const TrainArguments& arguments) {
  train::ConfigSources sources;
  sources.sets = arguments.sets;
  if (!arguments.config_file.empty()) {
    auto location = ATOLL_TRY(storage::open_location(arguments.config_file));
    sources.file_name = arguments.config_file;
    sources.toml =
        ATOLL_TRY_CONTEXT(location.store->get(location.key), "reading the configuration").text();
  }
  return train::parse_config(sources);
}

// What a job says goes to the bar.
train::Console console_of(ProgressBar& bar) {
  train::Console console = bar.console();
  console.cache_folder = cache_folder();
  return console;
}

class LinkedEngine : public Engine {
 public:
  Result<int> train(const TrainArguments& arguments, CommandContext& context) override {
    const auto config = ATOLL_TRY(read_config(arguments));
    if (arguments.print_config) {
      std::fputs(train::to_toml(config).c_str(), stdout);
      return 0;
    }
    const auto stop = context.stop();
    ProgressBar bar = ProgressBar::on_standard_streams();
    const auto result =
        ATOLL_TRY(train::run_training(config, arguments.override_options, console_of(bar), stop));
    bar.finish();
    return result.stopped ? context.signal_exit_code().value_or(1) : 0;
  }

  Result<int> evaluate(const train::EvaluateOptions& options, CommandContext& context) override {
    const auto stop = context.stop();
    ProgressBar bar = ProgressBar::on_standard_streams();
    ATOLL_TRY(train::run_evaluation(options, console_of(bar), stop));
    bar.finish();
    return 0;
  }

  Result<int> predict(const train::PredictOptions& options, CommandContext& context) override {
    const auto stop = context.stop();
    ProgressBar bar = ProgressBar::on_standard_streams();
    ATOLL_TRY(train::run_prediction(options, console_of(bar), stop));
    bar.finish();
    return 0;
  }
};

}  // namespace

std::unique_ptr<Engine> make_engine(char**) { return std::make_unique<LinkedEngine>(); }

}  // namespace atl::cli
