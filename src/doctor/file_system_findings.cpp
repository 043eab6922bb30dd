// A job's FSx for Lustre file system.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/job_checks.h"

namespace atl::doctor {
namespace {

Finding state_finding(const JobFacts& facts, const FileSystem& system) {
  const std::string describe = fmt::format(
      "aws fsx describe-file-systems --region {} --file-system-ids {}", facts.region, system.id);
  Finding finding{.id = id::kFileSystem};
  finding.what =
      fmt::format("{} is {}", system.id, system.state.empty() ? "in no known state" : system.state);
  if (system.type != "LUSTRE") {
    finding.severity = Severity::kFailure;
    finding.what = fmt::format("{} is of the type {}", system.id, system.type);
    finding.why = "a training channel of this kind is an FSx for Lustre file system";
    finding.mend = fmt::format("aws fsx describe-file-systems --region {}", facts.region);
  } else if (system.state == "AVAILABLE" || system.state == "UPDATING") {
    if (!system.deployment.empty()) finding.what += ", " + system.deployment;
    if (!system.version.empty()) finding.what += ", Lustre " + system.version;
  } else if (system.state == "CREATING") {
    finding.severity = Severity::kFailure;
    finding.why = "a job that is submitted now fails";
    finding.mend =
        fmt::format("wait until \"{} --query 'FileSystems[].Lifecycle'\" says AVAILABLE", describe);
  } else {
    finding.severity = Severity::kFailure;
    finding.why = system.trouble.empty() ? "a job cannot mount it" : system.trouble;
    finding.mend = describe;
  }
  return finding;
}

Finding directory_finding(const std::string& root, const std::string& directory) {
  if (directory == root || directory.starts_with(root + "/")) {
    return {id::kMountName, Severity::kOk, directory + " begins with the MountName", "", ""};
  }
  return {id::kMountName,
          Severity::kFailure,
          fmt::format("the directory {} does not begin with {}", directory, root),
          "the job fails when it mounts the file system",
          fmt::format(
              "directory = \"{}{}{}\"", root, directory.starts_with('/') ? "" : "/", directory)};
}

std::vector<Finding> mount_name_findings(const JobPlan& plan, const FileSystem& system) {
  if (system.mount_name.empty()) {
    return {{id::kMountName,
             Severity::kWarning,
             fmt::format("AWS does not say what MountName {} has", system.id),
             "a channel's directory begins with it",
             fmt::format("aws fsx describe-file-systems --file-system-ids {} --query "
                         "'FileSystems[].LustreConfiguration.MountName'",
                         system.id)}};
  }
  const std::string root = "/" + system.mount_name;
  if (plan.directories.empty()) {
    return {{id::kMountName,
             Severity::kOk,
             fmt::format("a channel's directory is {}/…", root),
             "",
             ""}};
  }
  std::vector<Finding> findings;
  for (const std::string& directory : plan.directories) {
    findings.push_back(directory_finding(root, directory));
  }
  return findings;
}

// Of FSx itself, not of Atoll: a file system that is linked by an association has no ImportPath.
std::vector<Finding> association_findings(const JobFacts& facts, const FileSystem& system) {
  if (!facts.associations) return {};
  std::vector<Finding> findings;
  for (const Association& one : *facts.associations) {
    Finding finding{.id = id::kAssociation};
    finding.what = fmt::format("{} on {} is {}", one.uri, one.path, one.state);
    if (one.state != "AVAILABLE" && one.state != "UPDATING") {
      const bool is_coming = one.state == "CREATING";
      finding.severity = is_coming ? Severity::kWarning : Severity::kFailure;
      finding.why = !one.trouble.empty() ? one.trouble
                    : is_coming          ? "files of the bucket do not all show yet"
                                : "changes of the bucket do not show, or files do not reach it";
      finding.mend = fmt::format(
          "aws fsx describe-data-repository-associations --region {} --association-ids {}",
          facts.region,
          one.id);
    }
    findings.push_back(std::move(finding));
  }
  if (!findings.empty()) return findings;
  if (!system.import_path.empty()) {
    return {{id::kAssociation, Severity::kOk, "linked to " + system.import_path, "", ""}};
  }
  const std::string mend = fmt::format(
      "aws fsx create-data-repository-association --region {} --file-system-id {} "
      "--file-system-path /coco "
      "--data-repository-path s3://BUCKET/coco --s3 "
      "'AutoImportPolicy={{Events=[NEW,CHANGED,DELETED]}},AutoExportPolicy={{Events=[NEW,CHANGED,"
      "DELETED]}}'",
      facts.region,
      system.id);
  return {{id::kAssociation,
           Severity::kNote,
           system.id + " is linked to no bucket",
           "what is not copied into it is not there",
           mend}};
}

}  // namespace

std::vector<Finding> file_system_findings(const JobPlan& plan, const JobFacts& facts) {
  if (!facts.file_system) return {};
  const FileSystem& system = *facts.file_system;
  std::vector<Finding> findings = {state_finding(facts, system)};
  if (system.type != "LUSTRE") return findings;
  for (auto& finding : mount_name_findings(plan, system)) findings.push_back(std::move(finding));
  for (auto& finding : association_findings(facts, system)) findings.push_back(std::move(finding));
  return findings;
}

}  // namespace atl::doctor
