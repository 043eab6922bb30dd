#include "doctor/job_file_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "sagemaker/validation.h"
#include "storage/open_s3.h"

namespace atl::doctor {
namespace {

void add_bucket(std::vector<std::string>& uris, const std::string& uri) {
  if (storage::is_s3_uri(uri) && std::ranges::count(uris, uri) == 0) uris.push_back(uri);
}

}  // namespace

JobPlan with_job_file(JobPlan plan, const sagemaker::JobFile& file) {
  const auto fill = [](auto& value, const auto& of_file) {
    if (value.empty()) value = of_file;
  };
  fill(plan.subnets, file.vpc.subnets);
  fill(plan.security_groups, file.vpc.security_groups);
  fill(plan.role, file.role);
  fill(plan.image, file.image);
  fill(plan.kms_key, file.output.kms_key);
  fill(plan.instance_type, file.instances.type);
  plan.instances = std::max(plan.instances, file.instances.count);
  for (const sagemaker::JobChannel& channel : file.channels) {
    add_bucket(plan.reads, channel.uri);
    if (!channel.file_system || !channel.file_system->is_lustre) continue;
    if (plan.file_system.empty()) plan.file_system = channel.file_system->id;
    if (plan.file_system != channel.file_system->id) continue;
    plan.directories.push_back(channel.file_system->directory);
  }
  add_bucket(plan.writes, file.output.uri);
  add_bucket(plan.writes, file.checkpoints.uri);
  return plan;
}

std::vector<Finding> job_file_findings(const sagemaker::JobFile& file, const JobPlan& plan) {
  std::vector<Finding> findings;
  if (const auto sound = check_job_plan(plan); !sound) {
    findings.push_back({.id = id::kJobFile,
                        .severity = Severity::kFailure,
                        .what = fmt::format("{}: {}", file.file, sound.error().message),
                        .why = "the job's AWS side cannot be looked at",
                        .mend = sound.error().hint});
  }
  for (const std::string& problem : sagemaker::problems_of_request(file)) {
    findings.push_back({.id = id::kJobFile,
                        .severity = Severity::kFailure,
                        .what = fmt::format("{}: {}", file.file, problem),
                        .why = "\"atoll job submit\" refuses it",
                        .mend = ""});
  }
  if (findings.empty()) {
    findings.push_back({.id = id::kJobFile,
                        .severity = Severity::kOk,
                        .what = fmt::format("{} is a request that can be sent", file.file),
                        .why = "",
                        .mend = ""});
  }
  return findings;
}

}  // namespace atl::doctor
