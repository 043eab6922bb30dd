#include "cli/job_options.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "aws/ids.h"
#include "storage/environment.h"
#include "storage/s3/aws_config.h"
#include "storage/storage.h"

namespace atl::cli {

void add_job_file_options(CLI::App& command, JobFileOptions& options) {
  command.add_option("JOB", options.file, "The job: a TOML file (docs/jobs.md)")
      ->required()
      ->type_name("");
  command.add_option("--name", options.name, "Name of the job [the file's]")->type_name("NAME");
  command.add_flag("--unique", options.unique, "Add the time to the name: NAME-20260131-154500");
}

Result<sagemaker::JobFile> read_job_file(const JobFileOptions& options) {
  auto location = ATOLL_TRY(storage::open_location(options.file));
  const auto text = ATOLL_TRY_CONTEXT(location.store->get(location.key), "reading the job");
  auto job = ATOLL_TRY(sagemaker::parse_job_file(text.text(), options.file));
  if (!options.name.empty()) job.name = options.name;
  if (options.unique) {
    job.name +=
        fmt::format("-{:%Y%m%d-%H%M%S}",
                    std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  }
  return job;
}

Result<void> report_problems(const sagemaker::Problems& problems, const sagemaker::JobFile& job) {
  for (const std::string& problem : problems) fmt::print(stderr, "{}: {}\n", job.file, problem);
  if (problems.empty()) return {};
  return fail(
      ErrorCode::kInvalidInput,
      fmt::format("{} is not a job that can be run: {} to mend",
                  job.file,
                  problems.size() == 1 ? "1 line" : fmt::format("{} lines", problems.size())));
}

void add_named_job_options(CLI::App& command, NamedJobOptions& options) {
  command.add_option("NAME", options.name, "Name of the job")->required()->type_name("");
  command.add_option("--jobs", options.jobs, "Where jobs of this machine are")
      ->type_name("DIR")
      ->capture_default_str();
  command.add_flag("--sagemaker", options.sagemaker, "Not a job of this machine, if there is one");
}

Result<std::optional<sagemaker::LocalJob>> find_local_job(const NamedJobOptions& options) {
  if (!aws::is_training_job_name(options.name)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" is no job's name", options.name),
                "1 to 63 letters, digits and '-', with a letter or digit at both ends");
  }
  if (options.sagemaker) return std::optional<sagemaker::LocalJob>();
  return sagemaker::read_local_job(options.root());
}

Result<std::shared_ptr<aws::AwsClient>> open_aws(const std::string& region) {
  aws::AwsClientOptions options;
  if (!region.empty()) {
    const auto config = ATOLL_TRY(storage::read_aws_config(storage::environment_variable));
    if (config.region.empty()) options.region = region;
  }
  return aws::AwsClient::open(std::move(options));
}

}  // namespace atl::cli
