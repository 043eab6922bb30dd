// A job's role. Source: "SageMaker execution roles" of the SageMaker developer guide.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/crc32c.h"
#include "base/shell_word.h"
#include "doctor/job_checks.h"
#include "storage/s3/s3_remote.h"

namespace atl::doctor {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kSageMakerService = "sagemaker.amazonaws.com";

struct BucketArn {
  std::string bucket;
  std::string objects;
  std::string prefix;
};

std::optional<BucketArn> arn_of(std::string_view uri, std::string_view partition) {
  const auto location = storage::parse_s3_uri(uri);
  if (!location) return std::nullopt;
  const std::string bucket = fmt::format("arn:{}:s3:::{}", partition, location->bucket);
  return BucketArn{bucket, fmt::format("{}/{}*", bucket, location->prefix), location->prefix};
}

// "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/atoll:1": the repository's ARN; "" for another registry's image.
std::string repository_arn(std::string_view image) {
  constexpr std::string_view kEcr = ".dkr.ecr.";
  const size_t ecr = image.find(kEcr);
  const size_t slash = image.find('/');
  if (ecr == std::string_view::npos || slash == std::string_view::npos || slash < ecr) return {};
  const std::string_view host = image.substr(ecr + kEcr.size(), slash - ecr - kEcr.size());
  const std::string_view region = host.substr(0, host.find('.'));
  std::string_view name = image.substr(slash + 1);
  name = name.substr(0, name.find('@'));
  name = name.substr(0, name.find(':'));
  return fmt::format("arn:{}:ecr:{}:{}:repository/{}",
                     aws::partition_of(region),
                     region,
                     image.substr(0, ecr),
                     name);
}

std::string policy_of(const ordered_json& statements) {
  return ordered_json{{"Version", "2012-10-17"}, {"Statement", statements}}.dump(
      -1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

std::string role_name_of(std::string_view role) {
  const size_t slash = role.rfind('/');
  return std::string(slash == std::string_view::npos ? role : role.substr(slash + 1));
}

std::string account_of(std::string_view arn) {
  for (int field = 0; field < 4; ++field) {
    const size_t colon = arn.find(':');
    if (colon == std::string_view::npos) return {};
    arn.remove_prefix(colon + 1);
  }
  return std::string(arn.substr(0, arn.find(':')));
}

std::vector<Need> needs_of(const JobPlan& plan, std::string_view region, std::string_view account) {
  const std::string_view partition = aws::partition_of(region);
  std::vector<Need> needs;
  for (const auto* const uris : {&plan.reads, &plan.writes}) {
    for (const std::string& uri : *uris) {
      const auto arn = arn_of(uri, partition);
      if (!arn) continue;
      needs.push_back({{"s3:ListBucket"}, arn->bucket, "s3:prefix", arn->prefix});
      needs.push_back(
          uris == &plan.reads
              ? Need{{"s3:GetObject"}, arn->objects}
              : Need{{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"},
                     arn->objects});
    }
  }
  if (const std::string repository = repository_arn(plan.image); !repository.empty()) {
    needs.push_back({{"ecr:GetAuthorizationToken"}, "*"});
    needs.push_back(
        {{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
         repository});
  }
  const std::string log_group = fmt::format(
      "arn:{}:logs:{}:{}:log-group:/aws/sagemaker/TrainingJobs", partition, region, account);
  needs.push_back({{"logs:CreateLogGroup"}, log_group});
  needs.push_back({{"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"},
                   log_group + ":log-stream:*"});
  needs.push_back(
      {{"cloudwatch:PutMetricData"}, "*", "cloudwatch:namespace", "/aws/sagemaker/TrainingJobs"});
  if (!plan.subnets.empty()) {
    needs.push_back(
        {{"ec2:CreateNetworkInterface",
          "ec2:CreateNetworkInterfacePermission",
          "ec2:DeleteNetworkInterface",
          "ec2:DeleteNetworkInterfacePermission"},
         fmt::format("arn:{}:ec2:{}:{}:network-interface/*", partition, region, account)});
    needs.push_back({{"ec2:DescribeNetworkInterfaces",
                      "ec2:DescribeVpcs",
                      "ec2:DescribeDhcpOptions",
                      "ec2:DescribeSubnets",
                      "ec2:DescribeSecurityGroups"},
                     "*"});
  }
  if (!plan.file_system.empty()) {
    needs.push_back(
        {{"fsx:DescribeFileSystems"},
         fmt::format(
             "arn:{}:fsx:{}:{}:file-system/{}", partition, region, account, plan.file_system)});
  }
  // An alias is no resource of a policy.
  if (plan.kms_key.starts_with("arn:")) {
    needs.push_back({{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"},
                     plan.kms_key});
  }
  return needs;
}

Finding permission_finding(std::string_view role_name, const std::vector<Decision>& decisions) {
  std::map<std::string, std::vector<std::string>> missing;  // actions by resource
  std::string conditional;
  for (const Decision& decision : decisions) {
    if (decision.is_allowed) continue;
    if (decision.depends) {
      conditional += fmt::format(
          "{}{} on {}", conditional.empty() ? "" : ", ", decision.action, decision.resource);
    } else {
      missing[decision.resource].push_back(decision.action);
    }
  }
  if (missing.empty() && !conditional.empty()) {
    return {id::kRolePermissions,
            Severity::kNote,
            fmt::format("{} has {} on conditions that only the job's own requests meet or not",
                        role_name,
                        conditional),
            "nothing can be said of them here",
            ""};
  }
  if (missing.empty()) {
    return {
        id::kRolePermissions,
        Severity::kOk,
        fmt::format("{} has the {} permissions that the job needs", role_name, decisions.size()),
        "",
        ""};
  }
  ordered_json statements = ordered_json::array();
  std::string names;
  for (const auto& [resource, actions] : missing) {
    statements.push_back({{"Effect", "Allow"}, {"Action", actions}, {"Resource", resource}});
    for (const std::string& action : actions) {
      names += fmt::format("{}{} on {}", names.empty() ? "" : ", ", action, resource);
    }
  }
  const std::string policy =
      policy_of(statements);  // by its own name: it takes nothing away that another has granted
  return {id::kRolePermissions,
          Severity::kFailure,
          fmt::format("{} lacks {}", role_name, names),
          "the job fails when it gets there",
          fmt::format("aws iam put-role-policy --role-name {} --policy-name atoll-job-{:08x} "
                      "--policy-document {}",
                      shell_word(role_name),
                      crc32c(policy),
                      shell_word(policy))};
}

Finding trust_finding(std::string_view role_name, std::string_view encoded_policy) {
  if (trusts_service(encoded_policy, kSageMakerService)) {
    return {id::kRoleTrust,
            Severity::kOk,
            fmt::format("{} may be taken by SageMaker", role_name),
            "",
            ""};
  }
  const ordered_json statements =
      ordered_json::array({{{"Effect", "Allow"},
                            {"Principal", {{"Service", kSageMakerService}}},
                            {"Action", "sts:AssumeRole"}}});
  return {id::kRoleTrust,
          Severity::kFailure,
          fmt::format("{} does not trust {}", role_name, kSageMakerService),
          "SageMaker cannot take the role: CreateTrainingJob is refused; the command replaces whom "
          "it trusts now",
          fmt::format("aws iam update-assume-role-policy --role-name {} --policy-document {}",
                      shell_word(role_name),
                      shell_word(policy_of(statements)))};
}

}  // namespace atl::doctor
