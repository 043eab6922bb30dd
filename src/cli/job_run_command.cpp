// atoll job run: a training job on this machine.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/own_program.h"
#include "cli/command.h"
#include "cli/fs_progress.h"
#include "cli/job_options.h"
#include "job/launch.h"
#include "job/place.h"
#include "sagemaker/local_run.h"
#include "storage/environment.h"
#include "storage/local_store.h"
#include "storage/s3/aws_config.h"

namespace atl::cli {
namespace {

namespace stdfs = std::filesystem;
using std::chrono::milliseconds;

constexpr const char* kFooter =
    "Makes what SageMaker gives a container for each of the job's hosts, puts the channels' data "
    "there, and\n"
    "starts `train` for each, a process that finds the others over this machine's own network. The "
    "times and\n"
    "states are SageMaker's; model.tar.gz goes to output.uri, or stays in the job's folder. Ctrl-C "
    "stops the\n"
    "job as StopTrainingJob does: a checkpoint is written, the model so far is uploaded.\n"
    "\n"
    "Examples:\n"
    "  atoll job run job.toml\n"
    "  atoll job run job.toml --hosts 2 --replace\n"
    "  atoll job run job.toml --spot-interrupt-after 5min\n"
    "\n"
    "Exit code: 0 Completed, 1 Failed, 130 or 143 stopped by a signal.";

struct RunCommand {
  JobFileOptions file;
  std::string jobs = sagemaker::kJobsFolder;
  std::optional<int64_t> hosts;
  std::string interrupt_after;
  std::string grace = "120s";
  std::string program;
  bool replace = false;
};

// "90", "20s", "5min", "1.5h".
Result<milliseconds> parse_duration(std::string_view text, std::string_view option) {
  constexpr double kMost_s = 28 * 86400;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  double factor = 0;
  if (unit.empty() || unit == "s") factor = 1;
  if (unit == "ms") factor = 0.001;
  if (unit == "m" || unit == "min") factor = 60;
  if (unit == "h") factor = 3600;
  const double seconds = number * factor;
  if (error != std::errc() || factor == 0 || !std::isfinite(seconds) || seconds < 0 ||
      seconds > kMost_s) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} = \"{}\" is no duration", option, text),
                "write for instance 20s, 5min or 1h, of at most 28 days");
  }
  return milliseconds(std::llround(seconds * 1000));
}

// What a container is started as: this program, by another name.
Result<std::string> make_train_link(const stdfs::path& root) {
  const stdfs::path folder = stdfs::absolute(root) / "bin";
  ATOLL_TRY(storage::make_directories(folder.string()));
  const std::string self = ATOLL_TRY(own_program());
  const stdfs::path link = folder / "train";
  std::error_code error;
  stdfs::remove(link, error);
  stdfs::create_symlink(self, link, error);
  if (error) return fail_errno(link.string(), error.value());
  return link.string();
}

// A command of ours, to its end; what it complained about where it failed.
Result<void> run_atoll(std::vector<std::string> arguments) {
  std::string complaint;
  sagemaker::HostProcesses process(
      [&](size_t, sagemaker::OutputStream, std::string_view line) { complaint = line; });
  arguments.insert(arguments.begin(), ATOLL_TRY(own_program()));
  ATOLL_TRY(process.start({{arguments, job::own_environment(), {}}}));
  while (!process.all_ended()) process.wait(milliseconds(100), -1);
  if (process.exit_code(0) == 0) return {};
  constexpr std::string_view kOurs = "atoll: ";
  if (complaint.starts_with(kOurs)) complaint.erase(0, kOurs.size());
  return fail(ErrorCode::kIo,
              fmt::format("atoll {} {}: {}", arguments[1], arguments[2], complaint));
}

Result<sagemaker::Mount> mount_bucket(const std::string& uri, const stdfs::path& folder) {
  ATOLL_TRY(run_atoll({"fs", "mount", uri, folder.string(), "--read-only"}));
  return sagemaker::Mount(static_cast<const void*>(nullptr), [folder](const void*) {
    if (const auto unmounted = run_atoll({"fs", "umount", folder.string()}); !unmounted) {
      fmt::print(stderr, "atoll: {}\n", unmounted.error().to_string());
    }
  });
}

// What cannot be written, for a full disk behind it, is no reason to end a training.
void put(std::FILE* file, const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), file);
  (void)std::fflush(file);
}

void print_line(size_t host, size_t hosts, sagemaker::OutputStream stream, std::string_view line) {
  std::FILE* const file = stream == sagemaker::OutputStream::kOut ? stdout : stderr;
  put(file, hosts > 1 ? fmt::format("[algo-{}] {}\n", host + 1, line) : fmt::format("{}\n", line));
}

// Of each channel; a bar of its own.
class StagingBar {
 public:
  void update(std::string_view channel, const sagemaker::StagedData& data) {
    if (channel != channel_) {
      bar_.reset();  // it names the phase
      channel_ = channel;
      phase_ = fmt::format("channel {}", channel);
      bar_ = std::make_unique<FsProgress>(phase_.c_str());
    }
    bar_->update({.files = data.files,
                  .files_in_all = data.files_in_all,
                  .bytes = data.bytes,
                  .bytes_in_all = data.bytes_in_all});
  }
  void finish() {
    bar_.reset();
    channel_.clear();
  }

 private:
  std::string channel_;
  std::string phase_;
  std::unique_ptr<FsProgress> bar_;
};

Result<sagemaker::LocalRunOptions> options_of(const RunCommand& command) {
  sagemaker::LocalRunOptions options;
  options.job = ATOLL_TRY(read_job_file(command.file));
  if (command.hosts) options.job.instances.count = *command.hosts;
  ATOLL_TRY(report_problems(sagemaker::problems_of_local_run(options.job), options.job));
  options.root = stdfs::path(command.jobs) / options.job.name;
  options.replace = command.replace;
  options.grace = ATOLL_TRY(parse_duration(command.grace, "--grace"));
  if (!command.interrupt_after.empty()) {
    options.spot_interrupt_after =
        ATOLL_TRY(parse_duration(command.interrupt_after, "--spot-interrupt-after"));
  }
  const auto config = ATOLL_TRY(storage::read_aws_config(storage::environment_variable));
  options.region = config.region.empty() ? options.job.region : config.region;
  options.environment = job::own_environment();
  options.accelerators = job::this_machine().accelerators;
  options.mount = mount_bucket;
  return options;
}

Result<int> run_run(const RunCommand& command, CommandContext& context) {
  auto options = ATOLL_TRY(options_of(command));
  options.stop = context.stop("stopping the job after a checkpoint; once more ends it at once");
  std::string program = command.program;
  if (program.empty()) program = ATOLL_TRY(make_train_link(options.root));
  options.program = {std::move(program)};
  StagingBar bar;
  options.staging = [&](std::string_view channel, const sagemaker::StagedData& data) {
    bar.update(channel, data);
  };
  const size_t hosts = static_cast<size_t>(options.job.instances.count);
  options.on_line = [&](size_t host, sagemaker::OutputStream stream, std::string_view line) {
    print_line(host, hosts, stream, line);
  };
  options.entered = [&](const sagemaker::Transition& transition) {
    bar.finish();
    put(stderr, fmt::format("-- {}\n", sagemaker::transition_line(transition)));
  };
  options.note = [&](std::string_view text) {
    bar.finish();
    put(stderr, fmt::format("   {}\n", text));
  };
  const auto job = ATOLL_TRY(sagemaker::run_locally(options));
  fmt::print("{}", sagemaker::job_text(job));
  if (job.status == "Completed") return 0;
  if (job.status == "Failed") return 1;  // also where it had been told to stop
  return context.signal_exit_code().value_or(1);
}

}  // namespace

void add_job_run(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("run", "Run the job on this machine");
  const auto options = std::make_shared<RunCommand>();
  add_job_file_options(*command, options->file);
  command->add_option("--jobs", options->jobs, "Where its folder is made")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_option("--hosts", options->hosts, "Instead of instances.count")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_flag("--replace", options->replace, "A job of this name that has ended goes away");
  command
      ->add_option("--spot-interrupt-after",
                   options->interrupt_after,
                   "Take the instances away once, so long after training has begun")
      ->type_name("TIME");
  command->add_option("--grace", options->grace, "From SIGTERM to SIGKILL")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_option("--program", options->program)->group("");  // for tests
  command->footer(kFooter);
  context.on_run(command, [options, &context] { return run_run(*options, context); });
}

}  // namespace atl::cli
