#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/model_archive.h"
#include "cli/progress_bar.h"
#include "job/launch_variables.h"
#include "job/place.h"
#include "parallel/options.h"
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

// How long ranks wait for each other at the start, where hosts come late.
constexpr const char* kJoinTimeoutVariable = "ATOLL_JOIN_TIMEOUT";

Result<std::chrono::milliseconds> parse_join_timeout(const std::string& text) {
  constexpr int64_t kMostSeconds = 86'400;
  int64_t seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seconds);
  if (error != std::errc() || stop != end || seconds < 1 || seconds > kMostSeconds) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}=\"{}\" is not a number of seconds from 1 to {}",
                            kJoinTimeoutVariable,
                            text,
                            kMostSeconds));
  }
  return std::chrono::seconds(seconds);
}

// This process's place among those of its job.
Result<parallel::GroupOptions> find_group(const job::PlaceSources& machine) {
  const job::Place place = ATOLL_TRY(job::find_place({}, machine));
  if (!place.note.empty()) fmt::print(stderr, "atoll: {}\n", place.note);
  if (!place.local_rank) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} has started one process on this host, which is to run {}",
                            place.source,
                            format_count(static_cast<uint64_t>(place.local_size), "rank")),
                "put \"launch --\" before train: atoll launch -- train …");
  }
  if (place.size > 1 && place.rank == 0) {
    fmt::print(stderr,
               "{} on {}, by {}\n",
               format_count(static_cast<uint64_t>(place.size), "rank"),
               format_count(static_cast<uint64_t>(place.nodes), "host"),
               place.source);
  }
  parallel::GroupOptions options;
  options.rank = place.rank;
  options.size = place.size;
  options.local_rank = place.local_rank.value_or(0);
  options.master_host = place.master_host;
  options.master_port = place.master_port;
  options.interface = place.network_interface;
  if (options.interface.empty()) {
    options.interface = machine.variable("GLOO_SOCKET_IFNAME").value_or("");
  }
  if (const auto timeout = machine.variable(kJoinTimeoutVariable); timeout && !timeout->empty()) {
    options.join_timeout = ATOLL_TRY(parse_join_timeout(*timeout));
  }
  for (int rank = 0; !place.hosts.empty() && rank < place.size; ++rank) {
    options.rank_hosts.push_back(place.hosts[static_cast<size_t>(rank / place.local_size)]);
  }
  return options;
}

// `command` is done by one process: each of several would do all of it and write the same files.
Result<void> refuse_several(std::string_view command, std::string_view what_to_do) {
  const auto place = job::find_place({}, job::this_machine());
  if (!place) {
    // It needs no other process. What is left of a launcher in a shell or a notebook is told and no more.
    Error error = place.error();
    error.hint.clear();
    fmt::print(stderr, "atoll: {}; {} runs as one process\n", error.to_string(), command);
    return {};
  }
  // Who is to start the ranks of its host is one process there.
  const int processes = place->local_rank ? place->size : place->nodes;
  if (processes == 1) return {};
  return fail(
      ErrorCode::kInvalidInput,
      fmt::format(
          "{} is for one process, and this is one of {}, by {}", command, processes, place->source),
      fmt::format("{}; where it is one and has another job's variables: atoll launch --nodes 1 "
                  "-n 1 -- {} …",
                  what_to_do,
                  command));
}

// What a job says goes to the bar.
train::Console console_of(ProgressBar& bar) {
  train::Console console = bar.console();
  console.cache_folder = cache_folder();
  return console;
}

// Tells the launcher the first step that is done here, by which it knows that a round has come further than the one
// before.
train::Console told_to_launcher(train::Console console, std::shared_ptr<UniqueFd> steps) {
  if (!*steps) return console;
  console.progress = [inner = std::move(console.progress),
                      steps = std::move(steps)](const train::Progress& progress) {
    if (*steps && std::string_view(progress.phase) == "train") {
      const std::string line = fmt::format("{}\n", progress.done);
      // A launcher that is gone takes us with it.
      (void)!::write(steps->get(), line.data(), line.size());
      *steps = UniqueFd();
    }
    if (inner) inner(progress);
  };
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
    const job::PlaceSources machine = job::this_machine();
    job::Inheritance inherited = job::inheritance(machine);
    auto group = ATOLL_TRY(find_group(machine));
    const auto stop = context.stop();
    group.stop = stop;
    // The store that rank 0 opens closes it.
    if (group.rank == 0 && group.size > 1) group.listen_fd = inherited.listener.release();
    ProgressBar bar = ProgressBar::on_standard_streams();
    train::Console console =
        told_to_launcher(console_of(bar), std::make_shared<UniqueFd>(std::move(inherited.steps)));
    console.wait_for_output = inherited.output_wait;
    const auto result =
        ATOLL_TRY(train::run_training(config, arguments.override_options, console, stop, group));
    bar.finish();
    // Without a signal here it was another rank's.
    return result.stopped ? context.signal_exit_code().value_or(128 + SIGTERM) : 0;
  }

  Result<int> evaluate(const train::EvaluateOptions& options, CommandContext& context) override {
    ATOLL_TRY(
        refuse_several("eval", "run it as one process: train evaluates over all ranks by itself"));
    const auto stop = context.stop();
    const ModelFile model = ATOLL_TRY(ModelFile::open(options.weights));
    train::EvaluateOptions unpacked = options;
    unpacked.weights = model.path();
    ProgressBar bar = ProgressBar::on_standard_streams();
    ATOLL_TRY(train::run_evaluation(unpacked, console_of(bar), stop));
    bar.finish();
    return 0;
  }

  Result<int> predict(const train::PredictOptions& options, CommandContext& context) override {
    ATOLL_TRY(refuse_several("predict", "run it as one process"));
    const auto stop = context.stop();
    const ModelFile model = ATOLL_TRY(ModelFile::open(options.weights));
    train::PredictOptions unpacked = options;
    unpacked.weights = model.path();
    ProgressBar bar = ProgressBar::on_standard_streams();
    ATOLL_TRY(train::run_prediction(unpacked, console_of(bar), stop));
    bar.finish();
    return 0;
  }
};

}  // namespace

std::unique_ptr<Engine> make_engine(char**) { return std::make_unique<LinkedEngine>(); }

}  // namespace atl::cli
