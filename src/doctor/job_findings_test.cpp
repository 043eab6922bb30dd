// The findings of a job's network, file system and role, from facts as literals.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "doctor/job_checks.h"

namespace atl::doctor {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

SecurityRule rule(std::string protocol, PortRange ports, std::vector<std::string> groups) {
  return {std::move(protocol), ports, std::move(groups), {}, {}};
}

AddressRange range(std::string_view text) { return parse_address_range(text).value(); }

// A job and a file system as they should be: one group that opens itself to itself, a gateway endpoint.
class JobFindings : public testing::Test {
 protected:
  JobFindings() {
    facts_.region = "eu-central-1";
    facts_.subnets = {
        {"subnet-1", "vpc-1", "eu-central-1a", "euc1-az2", {range("10.0.1.0/24")}, 100}};
    const SecurityRule own = rule("-1", {-1, -1}, {"sg-1"});
    SecurityRule https = rule("tcp", {443, 443}, {});
    https.prefix_lists = {"pl-s3"};
    facts_.groups = {{"sg-1", "vpc-1", {own}, {own, https}}};
    facts_.file_system = FileSystem{.id = "fs-1",
                                    .type = "LUSTRE",
                                    .state = "AVAILABLE",
                                    .vpc = "vpc-1",
                                    .subnets = {"subnet-1"},
                                    .mount_name = "abcdefgh",
                                    .deployment = "SCRATCH_2",
                                    .version = "2.15"};
    facts_.file_system_subnets = facts_.subnets;
    facts_.file_system_groups = facts_.groups;
    facts_.associations = {{{"dra-1", "AVAILABLE", "/coco", "s3://bucket/coco", ""}}};
    facts_.route_tables["subnet-1"] = {"rtb-1", {{"10.0.0.0/16", "local", true}}};
    facts_.s3_endpoints = {{{"vpce-1", true, true, false, {"rtb-1"}}}};
    facts_.s3_prefix_list = "pl-s3";
    facts_.prefix_lists["pl-s3"] = {range("52.219.0.0/16")};
    plan_.subnets = {"subnet-1"};
    plan_.security_groups = {"sg-1"};
    plan_.file_system = "fs-1";
    plan_.directories = {"/abcdefgh/coco"};
    plan_.instance_type = "ml.g5.xlarge";
  }

  std::vector<Finding> all() const {
    std::vector<Finding> findings;
    for (const auto& some : {subnet_findings(plan_, facts_),
                             vpc_findings(facts_),
                             lustre_port_findings(facts_),
                             efa_findings(plan_, facts_),
                             s3_route_findings(facts_),
                             s3_egress_findings(facts_),
                             file_system_findings(plan_, facts_)}) {
      findings.insert(findings.end(), some.begin(), some.end());
    }
    return findings;
  }
  // The only one that is worse than good.
  Finding trouble() const {
    std::vector<Finding> bad;
    for (const Finding& finding : all()) {
      if (finding.severity != Severity::kOk) bad.push_back(finding);
    }
    EXPECT_THAT(bad, SizeIs(1));
    return bad.empty() ? Finding{} : bad.front();
  }

  JobPlan plan_;
  JobFacts facts_;
};

TEST_F(JobFindings, what_is_right_has_nothing_but_good_findings) {
  const auto findings = all();
  EXPECT_THAT(findings, SizeIs(9));
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.severity, Severity::kOk) << finding.id << ": " << finding.what;
    EXPECT_THAT(finding.mend, IsEmpty());
  }
}

TEST_F(JobFindings, every_instance_needs_two_addresses_and_one_for_each_efa_interface) {
  plan_.instances = 50;
  EXPECT_EQ(subnet_findings(plan_, facts_).at(0).severity, Severity::kOk);
  plan_.instances = 51;
  EXPECT_EQ(trouble().id, id::kAddresses);
  EXPECT_EQ(trouble().severity, Severity::kFailure);
  EXPECT_THAT(trouble().why, HasSubstr("51 instances need 102"));
  plan_.instances = 20;
  facts_.efa = EfaSupport{true, 4};
  EXPECT_EQ(subnet_findings(plan_, facts_).at(0).severity, Severity::kFailure);
  facts_.subnets.push_back(facts_.subnets.front());
  EXPECT_EQ(subnet_findings(plan_, facts_).at(0).severity, Severity::kOk);
}

TEST_F(JobFindings, several_vpcs_are_a_failure) {
  facts_.file_system->vpc = "vpc-2";
  EXPECT_EQ(trouble().id, id::kVpc);
  EXPECT_EQ(trouble().severity, Severity::kFailure);
  EXPECT_THAT(trouble().mend, HasSubstr("Name=vpc-id,Values=vpc-2"));
  facts_.file_system.reset();
  EXPECT_EQ(vpc_findings(facts_).at(0).severity, Severity::kOk);
  facts_.groups.front().vpc = "vpc-3";
  EXPECT_EQ(vpc_findings(facts_).at(0).severity, Severity::kFailure);
}

TEST_F(JobFindings, another_zone_is_a_warning) {
  facts_.file_system_subnets = {
      {"subnet-9", "vpc-1", "eu-central-1b", "euc1-az3", {range("10.0.9.0/24")}, 9}};
  EXPECT_EQ(trouble().id, id::kZone);
  EXPECT_EQ(trouble().severity, Severity::kWarning);
  EXPECT_EQ(trouble().mend, "--subnet subnet-9");
}

TEST_F(JobFindings, the_old_ports_1021_to_1023_are_not_enough) {
  facts_.groups.front().inbound = {rule("tcp", {988, 988}, {"sg-1"}),
                                   rule("tcp", {1021, 1023}, {"sg-1"})};
  facts_.file_system_groups = facts_.groups;
  EXPECT_EQ(trouble().id, id::kLustrePorts);
  EXPECT_EQ(trouble().severity, Severity::kFailure);
  EXPECT_EQ(trouble().what, "sg-1 lets no tcp 1018-1020 in from sg-1");
  EXPECT_EQ(trouble().mend,
            "aws ec2 authorize-security-group-ingress --region eu-central-1 --group-id sg-1 "
            "--ip-permissions "
            "'IpProtocol=tcp,FromPort=1018,ToPort=1020,UserIdGroupPairs=[{GroupId=sg-1}]'");
}

TEST_F(JobFindings, both_sides_and_both_directions_are_looked_at) {
  facts_.file_system_groups = {{"sg-2", "vpc-1", {}, {}}};
  std::vector<std::string> what;
  for (const Finding& finding : lustre_port_findings(facts_)) {
    EXPECT_EQ(finding.severity, Severity::kFailure);
    what.push_back(finding.what);
  }
  EXPECT_THAT(what,
              ElementsAre("sg-1 lets no tcp 988, 1018-1023 out to sg-2",
                          "sg-2 lets no tcp 988, 1018-1023 in from sg-1",
                          "sg-1 lets no tcp 988, 1018-1023 in from sg-2",
                          "sg-2 lets no tcp 988, 1018-1023 out to sg-1"));
}

TEST_F(JobFindings, rules_by_address_serve_as_well) {
  SecurityRule by_address = rule("tcp", {0, 65535}, {});
  by_address.ranges = {range("10.0.0.0/16")};
  facts_.file_system_groups = {{"sg-2", "vpc-1", {by_address}, {by_address}}};
  facts_.groups.front().inbound = {by_address};
  facts_.groups.front().outbound.push_back(by_address);
  EXPECT_EQ(lustre_port_findings(facts_).at(0).severity, Severity::kOk);
}

TEST_F(JobFindings, efa_needs_all_traffic_within_the_group) {
  plan_.instances = 2;
  plan_.instance_type = "ml.p4d.24xlarge";
  facts_.efa = EfaSupport{true, 4};
  EXPECT_EQ(efa_findings(plan_, facts_).at(0).severity, Severity::kOk);
  facts_.groups.front().outbound = {rule("tcp", {0, 65535}, {"sg-1"})};
  const Finding finding = efa_findings(plan_, facts_).at(0);
  EXPECT_EQ(finding.severity, Severity::kFailure);
  EXPECT_THAT(finding.mend,
              AllOf(HasSubstr("authorize-security-group-ingress"),
                    HasSubstr("authorize-security-group-egress"),
                    HasSubstr("'IpProtocol=-1,UserIdGroupPairs=[{GroupId=sg-1}]'")));
  plan_.instances = 1;
  EXPECT_THAT(efa_findings(plan_, facts_), IsEmpty());
}

class S3Route : public JobFindings {
 protected:
  Finding look() const { return s3_route_findings(facts_).at(0); }
  void set_default_route(const std::string& target, bool is_active = true) {
    facts_.route_tables["subnet-1"].routes = {{"10.0.0.0/16", "local", true},
                                              {"0.0.0.0/0", target, is_active}};
  }
};

TEST_F(S3Route, a_gateway_endpoint_counts_only_on_the_subnets_own_table) {
  EXPECT_EQ(look().severity, Severity::kOk);
  facts_.s3_endpoints->front().route_tables = {"rtb-other"};
  EXPECT_EQ(look().severity, Severity::kFailure);
  EXPECT_THAT(look().what, HasSubstr("has no way to S3"));
  EXPECT_EQ(look().mend,
            "aws ec2 create-vpc-endpoint --region eu-central-1 --vpc-id vpc-1 --service-name "
            "com.amazonaws.eu-central-1.s3 --route-table-ids rtb-1");
}

TEST_F(S3Route, an_interface_endpoint_needs_private_names) {
  facts_.s3_endpoints = {{{"vpce-2", false, true, true, {}}}};
  EXPECT_EQ(look().severity, Severity::kOk);
  facts_.s3_endpoints->front().has_private_names = false;
  EXPECT_EQ(look().severity, Severity::kFailure);
}

TEST_F(S3Route, a_nat_device_works_and_is_paid_for) {
  facts_.s3_endpoints->clear();
  for (const char* target : {"nat-1", "tgw-1", "eni-1"}) {
    set_default_route(target);
    EXPECT_EQ(look().severity, Severity::kNote) << target;
    EXPECT_THAT(look().mend, HasSubstr("create-vpc-endpoint"));
  }
  set_default_route("nat-1", /*is_active=*/false);
  EXPECT_EQ(look().severity, Severity::kFailure);
}

TEST_F(S3Route, an_internet_gateway_is_none_for_addresses_that_are_private) {
  facts_.s3_endpoints->clear();
  set_default_route("igw-1");
  EXPECT_EQ(look().severity, Severity::kFailure);
  EXPECT_THAT(look().what, HasSubstr("internet gateway"));
}

TEST_F(S3Route, an_endpoint_that_is_not_there_yet_does_not_count) {
  facts_.s3_endpoints->front().is_available = false;
  EXPECT_EQ(look().severity, Severity::kFailure);
}

TEST_F(S3Route, what_could_not_be_asked_is_not_judged) {
  facts_.s3_endpoints.reset();
  EXPECT_THAT(s3_route_findings(facts_), IsEmpty());
}

TEST_F(JobFindings, a_group_that_lets_no_https_out_is_told) {
  facts_.groups.front().outbound.pop_back();
  EXPECT_EQ(trouble().id, id::kS3Egress);
  EXPECT_THAT(trouble().mend, HasSubstr("PrefixListIds=[{PrefixListId=pl-s3}]"));
  SecurityRule everywhere = rule("tcp", {443, 443}, {});
  everywhere.ranges = {range("0.0.0.0/0")};
  facts_.groups.front().outbound.push_back(everywhere);
  EXPECT_EQ(s3_egress_findings(facts_).at(0).severity, Severity::kOk);
  facts_.s3_prefix_list.clear();
  facts_.prefix_lists.clear();
  EXPECT_EQ(s3_egress_findings(facts_).at(0).severity, Severity::kOk);
}

TEST_F(JobFindings, a_file_system_that_is_not_there_yet_or_ill_is_a_failure) {
  for (const char* state :
       {"CREATING", "FAILED", "DELETING", "MISCONFIGURED", "MISCONFIGURED_UNAVAILABLE", ""}) {
    facts_.file_system->state = state;
    EXPECT_EQ(trouble().id, id::kFileSystem);
    EXPECT_EQ(trouble().severity, Severity::kFailure) << state;
    EXPECT_THAT(trouble().mend, HasSubstr("aws fsx describe-file-systems"));
  }
  facts_.file_system->state = "UPDATING";
  EXPECT_EQ(file_system_findings(plan_, facts_).at(0).severity, Severity::kOk);
  facts_.file_system->type = "OPENZFS";
  EXPECT_EQ(trouble().severity, Severity::kFailure);
}

TEST_F(JobFindings, the_directory_begins_with_the_mount_name) {
  for (const char* directory : {"/fsx/coco", "/abcdefghi", "coco", "/"}) {
    plan_.directories = {directory};
    EXPECT_EQ(trouble().id, id::kMountName) << directory;
    EXPECT_EQ(trouble().severity, Severity::kFailure);
  }
  plan_.directories = {"/coco"};
  EXPECT_EQ(trouble().mend, "directory = \"/abcdefgh/coco\"");
  plan_.directories = {"/abcdefgh"};
  EXPECT_EQ(file_system_findings(plan_, facts_).at(1).severity, Severity::kOk);
  plan_.directories.clear();
  EXPECT_THAT(file_system_findings(plan_, facts_).at(1).what, HasSubstr("/abcdefgh/"));
  facts_.file_system->mount_name.clear();
  EXPECT_EQ(file_system_findings(plan_, facts_).at(1).severity, Severity::kWarning);
}

TEST_F(JobFindings, an_association_that_is_not_available_is_told) {
  Association& one = facts_.associations->front();
  one.state = "MISCONFIGURED";
  one.trouble = "the bucket's policy has changed";
  EXPECT_EQ(trouble().id, id::kAssociation);
  EXPECT_EQ(trouble().severity, Severity::kFailure);
  EXPECT_EQ(trouble().why, "the bucket's policy has changed");
  one.state = "CREATING";
  EXPECT_EQ(trouble().severity, Severity::kWarning);
  facts_.associations->clear();
  EXPECT_EQ(trouble().severity, Severity::kNote);
  EXPECT_THAT(trouble().mend, HasSubstr("create-data-repository-association"));
  facts_.file_system->import_path = "s3://bucket/coco";
  EXPECT_EQ(file_system_findings(plan_, facts_).at(2).what, "linked to s3://bucket/coco");
}

TEST(RoleFindings, a_role_that_sagemaker_may_not_take_is_a_failure) {
  const auto look = [](std::string_view policy) { return trust_finding("job", policy).severity; };
  EXPECT_EQ(
      look("%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service"
           "%22%3A%22sagemaker.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%"
           "7D"),
      Severity::kOk);
  EXPECT_EQ(look(R"({"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com",
                    "sagemaker.amazonaws.com"]},"Action":["sts:AssumeRole","sts:TagSession"]}})"),
            Severity::kOk);
  for (
      const char* policy :
      {"",
       "%7B",
       "[]",
       R"({"Statement":"x"})",
       R"({"Statement":[3]})",
       R"({"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]})",
       R"({"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]})",
       R"({"Statement":[{"Effect":"Deny","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]})"}) {
    EXPECT_EQ(look(policy), Severity::kFailure) << policy;
  }
  EXPECT_THAT(trust_finding("job", "").mend,
              HasSubstr("aws iam update-assume-role-policy --role-name job"));
}

TEST(RoleFindings, what_is_missing_comes_as_one_policy) {
  const std::vector<Decision> decisions = {{"s3:GetObject", "arn:aws:s3:::b/*"},
                                           {"s3:PutObject", "arn:aws:s3:::b/*"},
                                           {"s3:ListBucket", "arn:aws:s3:::b", true},
                                           {"logs:PutLogEvents", "*"}};
  const Finding finding = permission_finding("job", decisions);
  EXPECT_EQ(finding.severity, Severity::kFailure);
  const size_t begin = finding.mend.find('{');
  const auto policy =
      nlohmann::json::parse(finding.mend.substr(begin, finding.mend.rfind('}') + 1 - begin));
  EXPECT_EQ(policy["Statement"].size(), 2u);
  EXPECT_EQ(policy["Statement"][1]["Action"], nlohmann::json({"s3:GetObject", "s3:PutObject"}));
  EXPECT_EQ(policy["Statement"][1]["Resource"], "arn:aws:s3:::b/*");
  EXPECT_EQ(permission_finding("job", {decisions[2]}).severity, Severity::kOk);
  // What is granted on a condition that nobody can know here.
  Decision conditional{"ec2:CreateNetworkInterface", "*"};
  conditional.depends = true;
  EXPECT_EQ(permission_finding("job", {conditional}).severity, Severity::kNote);
  EXPECT_EQ(permission_finding("job", {conditional, decisions[0]}).severity, Severity::kFailure);
}

bool needs(const std::vector<Need>& needs, std::string_view action, std::string_view resource) {
  return std::ranges::any_of(needs, [&](const Need& need) {
    return need.resource == resource && std::ranges::count(need.actions, action) > 0;
  });
}

TEST(RoleFindings, a_job_needs_what_it_names) {
  JobPlan plan;
  plan.reads = {"s3://data/coco"};
  plan.writes = {"s3://runs"};
  plan.image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/atoll:1@sha256:00";
  plan.kms_key = "arn:aws:kms:eu-central-1:123456789012:key/k";
  auto all = needs_of(plan, "eu-central-1", "123456789012");
  EXPECT_TRUE(needs(all, "s3:ListBucket", "arn:aws:s3:::data"));
  EXPECT_EQ(all[0].context_key, "s3:prefix");
  EXPECT_EQ(all[0].context_value, "coco/");
  EXPECT_TRUE(needs(all, "s3:GetObject", "arn:aws:s3:::data/coco/*"));
  EXPECT_FALSE(needs(all, "s3:PutObject", "arn:aws:s3:::data/coco/*"));
  EXPECT_TRUE(needs(all, "s3:PutObject", "arn:aws:s3:::runs/*"));
  EXPECT_TRUE(needs(all, "s3:AbortMultipartUpload", "arn:aws:s3:::runs/*"));
  EXPECT_TRUE(needs(
      all, "ecr:BatchGetImage", "arn:aws:ecr:eu-central-1:123456789012:repository/team/atoll"));
  EXPECT_TRUE(needs(all, "kms:Decrypt", plan.kms_key));
  const std::string logs =
      "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/sagemaker/TrainingJobs";
  EXPECT_TRUE(needs(all, "logs:CreateLogGroup", logs));
  EXPECT_TRUE(needs(all, "logs:PutLogEvents", logs + ":log-stream:*"));
  EXPECT_THAT(all, Each(Not(Field(&Need::actions, Contains("ec2:CreateNetworkInterface")))));
  plan.subnets = {"subnet-1"};
  plan.file_system = "fs-1";
  plan.image = "docker.io/atoll";
  all = needs_of(plan, "cn-north-1", "1");
  EXPECT_TRUE(
      needs(all, "ec2:CreateNetworkInterface", "arn:aws-cn:ec2:cn-north-1:1:network-interface/*"));
  EXPECT_TRUE(
      needs(all, "fsx:DescribeFileSystems", "arn:aws-cn:fsx:cn-north-1:1:file-system/fs-1"));
  EXPECT_TRUE(needs(all, "s3:GetObject", "arn:aws-cn:s3:::data/coco/*"));
  EXPECT_FALSE(needs(all, "ecr:GetAuthorizationToken", "*"));
}

TEST(RoleFindings, a_role_is_named_by_its_arn_or_its_name) {
  EXPECT_EQ(role_name_of("arn:aws:iam::123456789012:role/service-role/job"), "job");
  EXPECT_EQ(role_name_of("job"), "job");
  EXPECT_EQ(account_of("arn:aws:iam::123456789012:role/job"), "123456789012");
  EXPECT_EQ(account_of("job"), "");
}

TEST(JobPlan, what_is_no_id_is_bad_input) {
  JobPlan good;
  good.subnets = {"subnet-0a1b2c3d"};
  good.security_groups = {"sg-0123456789abcdef0"};
  good.file_system = "fs-0123456789abcdef0";
  good.role = "arn:aws:iam::123456789012:role/team/job";
  EXPECT_TRUE(check_job_plan(good).has_value());
  good.role = "job";
  EXPECT_TRUE(check_job_plan(good).has_value());
  const auto is_bad = [&](auto change) {
    JobPlan plan = good;
    change(plan);
    const auto checked = check_job_plan(plan);
    return !checked && checked.error().code == ErrorCode::kInvalidInput;
  };
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.subnets = {"sg-0a1b2c3d"}; }));
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.subnets.emplace_back("subnet-1"); }));
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.security_groups = {"default"}; }));
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.file_system = "fs-XYZ45678"; }));
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.role = "my role"; }));
  EXPECT_TRUE(is_bad([](JobPlan& plan) { plan.role = "team/job"; }));
}

}  // namespace
}  // namespace atl::doctor
