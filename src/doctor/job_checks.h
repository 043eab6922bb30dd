// The AWS side of a training job: its network, its file system, its role. Each finding is a function of what AWS says
// (aws_facts.h); job_checks() asks, and hands over.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"
#include "doctor/aws_facts.h"
#include "doctor/checks.h"
#include "doctor/security_rules.h"

namespace atl::doctor {

// What the job names; what it does not name is not looked at.
struct JobPlan {
  std::vector<std::string> subnets;
  std::vector<std::string> security_groups;
  std::string file_system;               // "fs-0123456789abcdef0"
  std::vector<std::string> directories;  // of its channels: "/MOUNTNAME/coco"
  std::string role;                      // a name or an ARN
  std::string instance_type;             // "ml.p4d.24xlarge"
  int64_t instances = 1;

  std::vector<std::string> reads;   // s3://…
  std::vector<std::string> writes;  // s3://…
  std::string image;                // "ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG"
  std::string kms_key;              // an ARN

  bool is_empty() const {
    return subnets.empty() && security_groups.empty() && file_system.empty() && role.empty();
  }
};

// What AWS says, as far as it may be asked; nullopt: not known.
struct JobFacts {
  std::string region;
  std::vector<Subnet> subnets;        // of the job
  std::vector<SecurityGroup> groups;  // of the job
  std::optional<FileSystem> file_system;
  std::optional<std::vector<Association>> associations;
  std::vector<Subnet> file_system_subnets;
  std::optional<std::vector<SecurityGroup>> file_system_groups;
  std::map<std::string, RouteTable> route_tables;  // by the job's subnet
  std::optional<std::vector<VpcEndpoint>> s3_endpoints;
  std::string s3_prefix_list;  // its id; "": not known
  PrefixLists prefix_lists;
  std::optional<EfaSupport> efa;
};

std::vector<Finding> subnet_findings(const JobPlan& plan, const JobFacts& facts);  // kAddresses
std::vector<Finding> vpc_findings(const JobFacts& facts);                          // kVpc, kZone
std::vector<Finding> lustre_port_findings(const JobFacts& facts);
std::vector<Finding> efa_findings(const JobPlan& plan, const JobFacts& facts);
std::vector<Finding> s3_route_findings(const JobFacts& facts);
std::vector<Finding> s3_egress_findings(const JobFacts& facts);
std::vector<Finding> file_system_findings(const JobPlan& plan, const JobFacts& facts);

// Actions on one resource that the role needs.
struct Need {
  std::vector<std::string> actions;
  std::string resource;
  // What the request will say of itself, for policies that ask: "s3:prefix", "coco/". "": nothing.
  std::string context_key = {};
  std::string context_value = {};
};
std::vector<Need> needs_of(const JobPlan& plan, std::string_view region, std::string_view account);
// What the role does not have, with the command that gives it.
Finding permission_finding(std::string_view role_name, const std::vector<Decision>& decisions);
Finding trust_finding(std::string_view role_name, std::string_view encoded_policy);
// "arn:aws:iam::123456789012:role/path/NAME": "NAME", and "123456789012"; a name as it is.
std::string role_name_of(std::string_view role);
std::string account_of(std::string_view arn);

// kInvalidInput: what is no id.
Result<void> check_job_plan(const JobPlan& plan);
std::vector<Check> job_checks(const std::shared_ptr<aws::AwsClient>& client, const JobPlan& plan);
// As the environment says, giving up soon. kInvalidInput: no region is named anywhere.
// `region`: of the job, behind what the environment says.
Result<std::shared_ptr<aws::AwsClient>> open_job_client(const std::string& region = {});

}  // namespace atl::doctor
