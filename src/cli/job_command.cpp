// atoll job: training jobs, on this machine as at SageMaker. Those that speak to SageMaker or look after a job are here,
// `run` has a file of its own.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/job_options.h"
#include "sagemaker/local_jobs.h"
#include "sagemaker/local_logs.h"
#include "sagemaker/metric_definitions.h"
#include "sagemaker/training_jobs.h"
#include "storage/storage.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "run plays a job on this machine, through the same life as at SageMaker: nothing else is "
    "needed "
    "to try\n"
    "one out. render, submit, status, stop and logs speak to SageMaker; the last three know the "
    "jobs "
    "of this\n"
    "machine, too. docs/jobs.md describes the file.\n"
    "\n"
    "Examples:\n"
    "  atoll job run job.toml\n"
    "  atoll job render job.toml\n"
    "  atoll job submit job.toml --unique --wait\n"
    "  atoll job logs coco-r50 --follow";

constexpr const char* kGoesOn = "no longer watching; the job goes on";
constexpr std::chrono::milliseconds kLookEvery{200};  // at a job of this machine

void print_transition(const sagemaker::Transition& transition) {
  fmt::print(stderr, "-- {}\n", sagemaker::transition_line(transition));
}

// 0: Completed; 1: Failed or Stopped.
int print_job(const sagemaker::JobRecord& job) {
  fmt::print("{}", sagemaker::job_text(job));
  return job.has_ended() && job.status != "Completed" ? 1 : 0;
}

Result<nlohmann::json> render(const JobFileOptions& options, std::string& region) {
  const auto job = ATOLL_TRY(read_job_file(options));
  ATOLL_TRY(report_problems(sagemaker::problems_of_request(job), job));
  region = job.region;
  return sagemaker::training_job_request(job, sagemaker::metric_definitions());
}

struct SubmitCommand {
  JobFileOptions file;
  bool wait = false;
};

Result<sagemaker::JobRecord> wait_for(aws::AwsClient& client,
                                      const std::string& name,
                                      const std::stop_token& stop) {
  sagemaker::Waiting waiting;
  waiting.entered = print_transition;
  return sagemaker::wait_for_job(client, name, waiting, stop);
}

Result<int> run_submit(const SubmitCommand& command, CommandContext& context) {
  std::string region;
  const auto request = ATOLL_TRY(render(command.file, region));
  const std::string name = request.at("TrainingJobName");
  const auto stop = context.stop(kGoesOn);
  const auto client = ATOLL_TRY(open_aws(region));
  const std::string arn = ATOLL_TRY(sagemaker::submit_job(*client, request, stop));
  fmt::print("{}\n", arn);
  std::fflush(stdout);
  if (!command.wait) return 0;
  const auto job = ATOLL_TRY(wait_for(*client, name, stop));
  return print_job(job);
}

struct StatusCommand {
  NamedJobOptions job;
  bool wait = false;
};

Result<sagemaker::JobRecord> wait_for_local(const NamedJobOptions& options,
                                            const std::stop_token& stop) {
  size_t shown = 0;
  while (true) {
    const auto job = ATOLL_TRY(sagemaker::read_local_job(options.root()));
    if (!job) return fail(ErrorCode::kNotFound, fmt::format("{} is gone", options.root().string()));
    const auto& transitions = job->record.transitions;
    for (; shown < transitions.size(); ++shown) print_transition(transitions[shown]);
    if (job->record.has_ended()) return job->record;
    if (!sagemaker::wait_or_stop(kLookEvery, nullptr, stop)) {
      return fail(ErrorCode::kCancelled, fmt::format("{} goes on", options.name));
    }
  }
}

Result<int> run_status(const StatusCommand& command, CommandContext& context) {
  const auto local = ATOLL_TRY(find_local_job(command.job));
  const auto stop = context.stop(command.wait ? kGoesOn : "");
  if (local) {
    if (!command.wait) return print_job(local->record);
    const auto ended = ATOLL_TRY(wait_for_local(command.job, stop));
    return print_job(ended);
  }
  const auto client = ATOLL_TRY(open_aws());
  const std::string& name = command.job.name;
  auto described =
      command.wait ? wait_for(*client, name, stop) : sagemaker::describe_job(*client, name, stop);
  const auto job = ATOLL_TRY(std::move(described));
  return print_job(job);
}

Result<int> run_stop(const NamedJobOptions& options) {
  if (const auto local = ATOLL_TRY(find_local_job(options))) {
    ATOLL_TRY(sagemaker::stop_local_job(*local));
    fmt::print(stderr, "{} is asked to stop\n", options.name);
    return 0;
  }
  const auto client = ATOLL_TRY(open_aws());
  const auto job = ATOLL_TRY(sagemaker::stop_job(*client, options.name));
  fmt::print("{}  {}\n", job.name, job.status);
  return 0;
}

struct LogsCommand {
  NamedJobOptions job;
  bool follow = false;
};

Result<int> run_logs(const LogsCommand& command, CommandContext& context) {
  const bool follow = command.follow;
  const auto print = [follow](const sagemaker::LogLine& line) {
    if (!line.host.empty()) fmt::print("[{}] ", line.host);
    fmt::print("{}\n", line.text);
    if (follow) std::fflush(stdout);
  };
  sagemaker::Following following;
  following.follow = follow;
  if (ATOLL_TRY(find_local_job(command.job))) {
    following.every = kLookEvery;
    const auto stop = follow ? context.stop("") : std::stop_token();
    ATOLL_TRY(sagemaker::read_local_logs(command.job.root(), following, print, stop));
    return 0;
  }
  const auto stop = context.stop("");
  const auto client = ATOLL_TRY(open_aws());
  ATOLL_TRY(sagemaker::read_logs(*client, command.job.name, following, print, stop));
  return 0;
}

Result<int> run_upload(const NamedJobOptions& options, const std::string& to) {
  auto local = ATOLL_TRY(find_local_job(options));
  if (!local) {
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no job {} in {}", options.name, options.jobs));
  }
  if (!local->record.has_ended()) {
    return fail(ErrorCode::kConflict, fmt::format("the job {} runs", options.name));
  }
  const auto open = [](const std::string& uri) { return storage::open_store(uri); };
  local->record.model = ATOLL_TRY(sagemaker::upload_archives(options.root(), *local, open, to));
  if (local->record.model.empty()) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{}/output holds no model.tar.gz", options.root().string()));
  }
  if (!to.empty()) local->output = to;
  ATOLL_TRY(sagemaker::write_local_job(options.root(), *local));
  fmt::print("{}\n", local->record.model);
  return 0;
}

}  // namespace

void add_job_render(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("render", "Print the job as a request to SageMaker");
  const auto options = std::make_shared<JobFileOptions>();
  add_job_file_options(*command, *options);
  command->footer(
      "Everything is checked that can be before SageMaker is asked; this asks nobody.\n"
      "\n"
      "Examples:\n"
      "  atoll job render job.toml\n"
      "  aws sagemaker create-training-job --cli-input-json \"$(atoll job render job.toml)\"");
  context.on_run(command, [options]() -> Result<int> {
    std::string region;
    const auto request = ATOLL_TRY(render(*options, region));
    fmt::print("{}\n", request.dump(2));
    return 0;
  });
}

void add_job_submit(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("submit", "Start the job at SageMaker");
  const auto options = std::make_shared<SubmitCommand>();
  add_job_file_options(*command, options->file);
  command->add_flag("--wait", options->wait, "Show what becomes of it, until it has ended");
  command->footer(
      "Prints the job's ARN. With --wait: exit code 0 when it is Completed, 1 when it is Failed or "
      "Stopped.\n"
      "\n"
      "Examples:\n"
      "  atoll job submit job.toml --unique\n"
      "  atoll job submit job.toml --name coco-r50-2 --wait");
  context.on_run(command, [options, &context] { return run_submit(*options, context); });
}

void add_job_status(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("status", "What has become of a job");
  const auto options = std::make_shared<StatusCommand>();
  add_named_job_options(*command, options->job);
  command->add_flag("--wait", options->wait, "Until it has ended");
  command->footer(
      "Exit code 0 while it goes on and when it is Completed, 1 when it is Failed or Stopped.\n"
      "\n"
      "Examples:\n"
      "  atoll job status coco-r50\n"
      "  atoll job status coco-r50 --wait");
  context.on_run(command, [options, &context] { return run_status(*options, context); });
}

void add_job_stop(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("stop", "Stop a job, after a checkpoint");
  const auto options = std::make_shared<NamedJobOptions>();
  add_named_job_options(*command, *options);
  command->footer("Examples:\n  atoll job stop coco-r50");
  context.on_run(command, [options] { return run_stop(*options); });
}

void add_job_logs(CLI::App& job, CommandContext& context) {
  CLI::App* command = job.add_subcommand("logs", "Print what a job has written");
  const auto options = std::make_shared<LogsCommand>();
  add_named_job_options(*command, options->job);
  command->add_flag("--follow,-f", options->follow, "Until it has ended");
  command->footer(
      "Examples:\n"
      "  atoll job logs coco-r50\n"
      "  atoll job logs coco-r50 --follow | grep 'segm AP'");
  context.on_run(command, [options, &context] { return run_logs(*options, context); });
}

void add_job_upload(CLI::App& job, CommandContext& context) {
  CLI::App* command =
      job.add_subcommand("upload", "Upload the archives of a job of this machine once more");
  const auto options = std::make_shared<NamedJobOptions>();
  const auto to = std::make_shared<std::string>();
  add_named_job_options(*command, *options);
  command->add_option("--to", *to, "Instead of the job's output.uri")->type_name("URI");
  command->footer(
      "Where the upload at a job's end was refused: the archives are kept.\n"
      "\n"
      "Examples:\n"
      "  atoll job upload coco-r50\n"
      "  atoll job upload coco-r50 --to s3://other/jobs");
  context.on_run(command, [options, to] { return run_upload(*options, *to); });
}

void add_job(CLI::App& app, CommandContext& context) {
  CLI::App* job = app.add_subcommand("job", "Run training jobs, here as at SageMaker, or there");
  job->require_subcommand(1);
  job->footer(kFooter);
  add_job_run(*job, context);
  add_job_render(*job, context);
  add_job_submit(*job, context);
  add_job_status(*job, context);
  add_job_stop(*job, context);
  add_job_logs(*job, context);
  add_job_upload(*job, context);
}

}  // namespace atl::cli
