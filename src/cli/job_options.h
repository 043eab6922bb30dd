// What the commands of `atoll job` have in common: the job file, where jobs of this machine are, and a client for SageMaker.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "aws/client.h"
#include "base/error.h"
#include "sagemaker/job_file.h"
#include "sagemaker/local_jobs.h"
#include "sagemaker/request.h"
#include "sagemaker/validation.h"

namespace atl::cli {

struct JobFileOptions {
  std::string file;
  std::string name;  // instead of the file's
  bool unique = false;
};
void add_job_file_options(CLI::App& command, JobFileOptions& options);
// Read from a path or a URI, with the name that the options give.
Result<sagemaker::JobFile> read_job_file(const JobFileOptions& options);

// Each problem is a line on standard error; kInvalidInput where there is one.
Result<void> report_problems(const sagemaker::Problems& problems, const sagemaker::JobFile& job);

struct NamedJobOptions {
  std::string name;
  std::string jobs = sagemaker::kJobsFolder;
  bool sagemaker = false;  // also where a job of this machine has the name

  std::filesystem::path root() const { return std::filesystem::path(jobs) / name; }
};
void add_named_job_options(CLI::App& command, NamedJobOptions& options);
// The job of this machine that is meant; nullopt: SageMaker's.
Result<std::optional<sagemaker::LocalJob>> find_local_job(const NamedJobOptions& options);

// `region`: the job file's, behind --region and the environment.
Result<std::shared_ptr<aws::AwsClient>> open_aws(const std::string& region = {});

}  // namespace atl::cli
