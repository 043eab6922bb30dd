#include "cli/container.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/own_program.h"
#include "job/launch.h"
#include "job/place.h"
#include "sagemaker/delivery.h"
#include "sagemaker/failure.h"
#include "sagemaker/pipe.h"
#include "sagemaker/plan.h"
#include "storage/storage.h"

namespace atl::cli {
namespace {

// SageMaker kills 120 s after its SIGTERM; what is left of them hands the model over.
constexpr std::chrono::seconds kGrace{100};
constexpr const char* kEfaDevices = "/dev/infiniband";

sagemaker::Paths contract_paths() {
  sagemaker::Paths paths;
  const char* const root = std::getenv(job::kSageMakerRootVariable);
  if (root != nullptr && *root != '\0') paths.root = root;
  while (paths.root.size() > 1 && paths.root.ends_with('/')) paths.root.pop_back();
  return paths;
}

// To where SageMaker's log is taken from, in order with what the ranks write.
void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// For what pipes bring; gone with the job.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make() {
    const char* const directory = std::getenv("TMPDIR");
    std::string path = fmt::format("{}/atoll-pipe-XXXXXX",
                                   directory != nullptr && *directory != '\0' ? directory : "/tmp");
    if (::mkdtemp(path.data()) == nullptr) return fail_errno("making " + path, errno);
    return ScratchFolder(std::move(path));
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

// Until the ranks run there is nothing to finish. As the first process of a container, which this mostly is, a program
// ignores signals that it does not handle.
class EndAtSignal {
 public:
  EndAtSignal() {
    struct sigaction end {};
    end.sa_handler = [](int number) { ::_exit(128 + number); };
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &end, &before_[i]);
  }
  ~EndAtSignal() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  }
  EndAtSignal(const EndAtSignal&) = delete;
  EndAtSignal& operator=(const EndAtSignal&) = delete;

 private:
  static constexpr std::array<int, 2> kSignals = {SIGTERM, SIGINT};
  std::array<struct sigaction, kSignals.size()> before_{};
};

struct JobEnd {
  int exit_code = 0;
  std::string failure;  // "" = none
};

// This host's ranks, to be started here.
Result<job::Place> find_host(const sagemaker::Contract& contract) {
  const job::PlaceSources machine = job::this_machine();
  job::PlaceFlags flags;
  job::Place place = ATOLL_TRY(job::find_place(flags, machine));
  flags.local_size = place.local_size;
  place = ATOLL_TRY(job::find_place(flags, machine));
  const size_t hosts = contract.resources.hosts.size();
  if (static_cast<size_t>(place.nodes) == hosts) return place;
  return fail(ErrorCode::kInvalidInput,
              fmt::format("resourceconfig.json names {}, but {} says {}",
                          format_count(hosts, "host"),
                          place.source,
                          place.nodes),
              "take that launcher's variables out of the job's environment");
}

// Where the data is not said otherwise, channels in Pipe mode are read to the end first.
Result<std::vector<sagemaker::ChannelFolder>> open_channels(const sagemaker::Contract& contract,
                                                            const sagemaker::Settings& settings,
                                                            const std::string& scratch) {
  const bool wanted =
      settings.data.empty() && settings.training_files.empty() && settings.validation_files.empty();
  std::vector<sagemaker::ChannelFolder> folders;
  for (const sagemaker::Channel& channel : contract.channels) {
    std::string folder = fmt::format("{}/{}", contract.paths.channels(), channel.name);
    if (channel.mode != sagemaker::InputMode::kPipe) {
      folders.push_back({channel, std::move(folder)});
    } else if (!sagemaker::holds_data(channel.name)) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("channel {} is in Pipe mode, which is for training data", channel.name),
          "make it FastFile or File");
    } else if (wanted) {
      sagemaker::SpoolOptions spool{.directory = scratch, .say = say};
      folders.push_back(ATOLL_TRY(sagemaker::spool_pipe(contract.paths, channel, spool)));
    }
  }
  return folders;
}

Result<job::LaunchOutcome> start_ranks(const sagemaker::Plan& plan, const job::Place& place) {
  job::LaunchOptions options;
  options.place = place;
  options.command.push_back(ATOLL_TRY(own_program()));
  options.command.insert(options.command.end(), plan.arguments.begin(), plan.arguments.end());
  options.environment = job::own_environment();
  for (std::string& variable : sagemaker::efa_variables(options.environment, kEfaDevices)) {
    say(fmt::format("EFA: {}", variable));
    options.environment.push_back(std::move(variable));
  }
  options.hand_over_listener = true;
  options.grace = kGrace;
  // Whom a failure ends has a checkpoint to write, too.
  options.failure_grace = kGrace;
  std::fflush(nullptr);
  return job::launch(options);
}

Result<void> hand_over(const sagemaker::Plan& plan, const sagemaker::Paths& paths, bool stopped) {
  const auto run = ATOLL_TRY(storage::open_store(plan.run));
  const auto model = ATOLL_TRY(storage::open_store(paths.model(), /*for_writing=*/true));
  const auto output = ATOLL_TRY(storage::open_store(paths.output_data(), /*for_writing=*/true));
  const auto delivered = ATOLL_TRY(sagemaker::deliver(*run, *model, *output));
  say(fmt::format("{} of {} are in {} and {}{}",
                  format_count(delivered.files, "file"),
                  plan.run,
                  paths.model(),
                  paths.output_data(),
                  delivered.model ? stopped ? ": the model as it was when the job was stopped" : ""
                                  : "; there is no model yet"));
  return {};
}

Result<JobEnd> run_job(const sagemaker::Paths& paths) {
  const auto contract = ATOLL_TRY(sagemaker::read_contract(paths));
  job::Place place = ATOLL_TRY(find_host(contract));
  const auto settings = ATOLL_TRY(sagemaker::settings_of(contract.hyperparameters, place.size));
  say(fmt::format("SageMaker training: host {} of {}, {} on each",
                  contract.host(),
                  format_count(contract.resources.hosts.size(), "host"),
                  format_count(static_cast<uint64_t>(place.local_size), "rank")));
  const bool first = place.node == 0;
  if (settings.mode == sagemaker::Mode::kEvaluate) {
    if (!first) {
      say(fmt::format("{} evaluates alone", contract.resources.hosts.front()));
      return JobEnd{};
    }
    place = {.source = place.source, .host = place.host};
  }
  auto early = std::make_optional<EndAtSignal>();
  const ScratchFolder scratch = ATOLL_TRY(ScratchFolder::make());
  const auto channels = ATOLL_TRY(open_channels(contract, settings, scratch.path()));
  const auto plan = ATOLL_TRY(sagemaker::plan_job(contract, settings, channels));
  for (const std::string& line : plan.lines) say(line);

  early.reset();
  const auto outcome = ATOLL_TRY(start_ranks(plan, place));
  const int code = outcome.exit_code;
  const bool stopped = code == 128 + SIGTERM || code == 128 + SIGINT;
  if (code != 0 && !stopped) {
    return JobEnd{code, sagemaker::message_of_rank(outcome.last_lines, outcome.how_it_ended)};
  }
  if (first && !plan.run.empty()) ATOLL_TRY(hand_over(plan, paths, stopped));
  return JobEnd{code, ""};
}

void leave_failure(const sagemaker::Paths& paths, const std::string& message) {
  const auto written = sagemaker::write_failure(paths, message);
  if (!written) fmt::print(stderr, "atoll: output/failure: {}\n", written.error().to_string());
}

}  // namespace

bool is_called_train(const char* program) {
  return program != nullptr && std::filesystem::path(program).filename() == "train";
}

bool is_container_start(int argc, const char* const* argv) {
  if (argc == 1) return is_called_train(argv[0]);
  return argc == 2 && std::string_view(argv[1]) == "train" &&
         sagemaker::has_contract(contract_paths());
}

Result<int> run_container() {
  const sagemaker::Paths paths = contract_paths();
  const auto end = run_job(paths);
  if (!end) {
    leave_failure(paths, end.error().to_string());
    return tl::unexpected(end.error());
  }
  if (!end->failure.empty()) leave_failure(paths, end->failure);
  return end->exit_code;
}

}  // namespace atl::cli
