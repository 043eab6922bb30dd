// What is asked of AWS, and what becomes of its answers.
#include "doctor/job_checks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "aws/fake_aws.h"
#include "doctor/fake_bucket.h"

namespace atl::doctor {
namespace {

using aws::FakeAws;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// In the form of the EC2 API reference's examples.
constexpr const char* kSubnets =
    "<DescribeSubnetsResponse><requestId>1</requestId><subnetSet><item><subnetId>subnet-0a1b2c3d</"
    "subnetId>"
    "<state>available</state><vpcId>vpc-1</vpcId><cidrBlock>10.0.1.0/24</cidrBlock>"
    "<availableIpAddressCount>250</availableIpAddressCount><availabilityZone>eu-central-1a</"
    "availabilityZone>"
    "<availabilityZoneId>euc1-az2</availabilityZoneId></item></subnetSet></"
    "DescribeSubnetsResponse>";
constexpr const char* kGroups =
    "<DescribeSecurityGroupsResponse><securityGroupInfo><item><ownerId>1</"
    "ownerId><groupId>sg-0a1b2c3d</groupId>"
    "<vpcId>vpc-1</vpcId><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>988</fromPort>"
    "<toPort>988</toPort><groups><item><userId>1</userId><groupId>sg-0a1b2c3d</groupId></item></"
    "groups>"
    "<ipRanges/><ipv6Ranges/><prefixListIds/></item></ipPermissions>"
    "<ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><groups/"
    "><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp>"
    "</item></ipRanges><ipv6Ranges/><prefixListIds/></item></ipPermissionsEgress></item></"
    "securityGroupInfo>"
    "</DescribeSecurityGroupsResponse>";
constexpr const char* kInterfaces =
    "<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-1"
    "</networkInterfaceId><groupSet><item><groupId>sg-0a1b2c3d</groupId></item></groupSet></item>"
    "</networkInterfaceSet></DescribeNetworkInterfacesResponse>";
constexpr const char* kNoTables =
    "<DescribeRouteTablesResponse><routeTableSet/></DescribeRouteTablesResponse>";
constexpr const char* kMainTable =
    "<DescribeRouteTablesResponse><routeTableSet><item><routeTableId>rtb-1</"
    "routeTableId><routeSet><item>"
    "<destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</"
    "gatewayId><state>active</state></item>"
    "<item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock><natGatewayId>nat-1</natGatewayId>"
    "<state>blackhole</state></item></routeSet></item></routeTableSet></"
    "DescribeRouteTablesResponse>";
constexpr const char* kEndpoints =
    "<DescribeVpcEndpointsResponse><vpcEndpointSet><item><vpcEndpointId>vpce-1</vpcEndpointId>"
    "<vpcEndpointType>Gateway</vpcEndpointType><state>available</"
    "state><routeTableIdSet><item>rtb-1</item>"
    "</routeTableIdSet></item></vpcEndpointSet></DescribeVpcEndpointsResponse>";
constexpr const char* kPrefixLists =
    "<DescribePrefixListsResponse><prefixListSet><item><prefixListId>pl-1</prefixListId><cidrSet>"
    "<item>52.219.0.0/16</item></cidrSet></item></prefixListSet></DescribePrefixListsResponse>";
constexpr const char* kInstanceType =
    "<DescribeInstanceTypesResponse><instanceTypeSet><item><instanceType>p4d.24xlarge</"
    "instanceType><networkInfo>"
    "<efaSupported>true</efaSupported><efaInfo><maximumEfaInterfaces>4</maximumEfaInterfaces></"
    "efaInfo>"
    "</networkInfo></item></instanceTypeSet></DescribeInstanceTypesResponse>";
constexpr const char* kRole =
    "<GetRoleResponse><GetRoleResult><Role><RoleName>job</RoleName>"
    "<Arn>arn:aws:iam::123456789012:role/job</"
    "Arn><AssumeRolePolicyDocument>%7B%22Statement%22%3A%7B%22Effect"
    "%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22sagemaker.amazonaws.com%22%7D%2C%"
    "22Action"
    "%22%3A%22sts%3AAssumeRole%22%7D%7D</AssumeRolePolicyDocument></Role></GetRoleResult></"
    "GetRoleResponse>";

class JobChecks : public testing::Test {
 protected:
  JobChecks() {
    plan_.subnets = {"subnet-0a1b2c3d"};
    plan_.security_groups = {"sg-0a1b2c3d"};
    plan_.file_system = "fs-0a1b2c3d";
    plan_.directories = {"/abc/coco"};
    plan_.role = "job";
    plan_.instance_type = "ml.p4d.24xlarge";
    plan_.instances = 2;
    plan_.reads = {"s3://bucket/coco"};
  }

  Result<storage::HttpResponse> answer(const FakeAws::Request& request) {
    if (const auto found = refused_.find(request.operation); found != refused_.end())
      return found->second;
    const std::map<std::string, const char*> xml = {{"DescribeSubnets", kSubnets},
                                                    {"DescribeSecurityGroups", kGroups},
                                                    {"DescribeNetworkInterfaces", kInterfaces},
                                                    {"DescribeVpcEndpoints", kEndpoints},
                                                    {"DescribePrefixLists", kPrefixLists},
                                                    {"DescribeInstanceTypes", kInstanceType},
                                                    {"GetRole", kRole}};
    if (const auto found = xml.find(request.operation); found != xml.end())
      return FakeAws::xml(found->second);
    if (request.operation == "DescribeRouteTables") {
      return FakeAws::xml(request.body.find("association.main") == std::string::npos ? kNoTables
                                                                                     : kMainTable);
    }
    if (request.operation == "DescribeFileSystems") {
      return FakeAws::json(
          {{"FileSystems",
            {{{"FileSystemId", "fs-0a1b2c3d"},
              {"FileSystemType", "LUSTRE"},
              {"FileSystemTypeVersion", "2.15"},
              {"Lifecycle", "AVAILABLE"},
              {"VpcId", "vpc-1"},
              {"SubnetIds", {"subnet-0a1b2c3d"}},
              {"NetworkInterfaceIds", {"eni-1"}},
              {"LustreConfiguration", {{"MountName", "abc"}, {"DeploymentType", "SCRATCH_2"}}}}}}});
    }
    if (request.operation == "DescribeDataRepositoryAssociations") {
      return FakeAws::json({{"Associations",
                             {{{"AssociationId", "dra-1"},
                               {"Lifecycle", "AVAILABLE"},
                               {"FileSystemPath", "/coco"},
                               {"DataRepositoryPath", "s3://bucket/coco"}}}}});
    }
    if (request.operation == "SimulatePrincipalPolicy")
      return FakeAws::xml(simulated(request.body));
    return FakeAws::refusal(400, "InvalidAction", request.operation);
  }

  // Everything is allowed but to put metrics.
  static std::string simulated(const std::string& form) {
    std::string members;
    for (const char* action : {"s3%3AListBucket",
                               "s3%3AGetObject",
                               "cloudwatch%3APutMetricData",
                               "logs%3APutLogEvents"}) {
      if (form.find(action) == std::string::npos) continue;
      const bool is_denied = std::string_view(action).starts_with("cloudwatch");
      std::string name = action;
      name.replace(name.find("%3A"), 3, ":");
      members += fmt::format(
          "<member><EvalActionName>{}</EvalActionName><EvalResourceName>x</EvalResourceName>"
          "<EvalDecision>{}</EvalDecision></member>",
          name,
          is_denied ? "implicitDeny" : "allowed");
    }
    return fmt::format(
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>{}"
        "</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
        members);
  }

  std::vector<Finding> look() {
    ReportList report;
    for (const Check& check : job_checks(aws_.client(), plan_)) check.run(report, {});
    return report.findings;
  }
  static std::vector<Finding> with(const std::vector<Finding>& findings, std::string_view id) {
    std::vector<Finding> some;
    for (const Finding& finding : findings) {
      if (finding.id == id) some.push_back(finding);
    }
    return some;
  }
  void refuse(const std::string& operation,
              int status,
              const char* code,
              const char* message = "no") {
    const bool is_json = operation.find("FileSystem") != std::string::npos ||
                         operation.find("Association") != std::string::npos;
    refused_[operation] =
        is_json ? FakeAws::refusal(status, code, message)
                : FakeAws::xml(
                      fmt::format(
                          "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error>"
                          "</Errors></Response>",
                          code,
                          message),
                      status);
  }

  JobPlan plan_;
  std::map<std::string, storage::HttpResponse> refused_;
  FakeAws aws_{[this](const FakeAws::Request& request) { return answer(request); }};
};

TEST_F(JobChecks, answers_become_findings) {
  const auto findings = look();
  const auto severity = [&](std::string_view id) {
    const auto some = with(findings, id);
    EXPECT_FALSE(some.empty()) << id;
    Severity worst = Severity::kOk;
    for (const Finding& finding : some) worst = std::max(worst, finding.severity);
    return worst;
  };
  EXPECT_EQ(severity(id::kSubnet), Severity::kOk);
  EXPECT_EQ(severity(id::kSecurityGroup), Severity::kOk);
  EXPECT_EQ(severity(id::kVpc), Severity::kOk);
  EXPECT_EQ(severity(id::kZone), Severity::kOk);
  EXPECT_EQ(severity(id::kAddresses), Severity::kOk);
  EXPECT_EQ(severity(id::kLustrePorts), Severity::kFailure);
  EXPECT_EQ(with(findings, id::kLustrePorts).at(0).what,
            "sg-0a1b2c3d lets no tcp 1018-1023 in from sg-0a1b2c3d");
  EXPECT_EQ(severity(id::kEfaRules), Severity::kFailure);
  EXPECT_EQ(severity(id::kS3Route), Severity::kOk);
  EXPECT_THAT(with(findings, id::kS3Route).at(0).what, HasSubstr("rtb-1"));  // the VPC's main one
  EXPECT_EQ(severity(id::kS3Egress), Severity::kOk);
  EXPECT_EQ(severity(id::kFileSystem), Severity::kOk);
  EXPECT_EQ(severity(id::kMountName), Severity::kOk);
  EXPECT_EQ(severity(id::kAssociation), Severity::kOk);
  EXPECT_EQ(severity(id::kRoleTrust), Severity::kOk);
  EXPECT_EQ(severity(id::kRolePermissions), Severity::kFailure);
  EXPECT_EQ(with(findings, id::kRolePermissions).at(0).what,
            "job lacks cloudwatch:PutMetricData on *");
}

TEST_F(JobChecks, a_role_is_asked_by_its_name_and_simulated_by_its_arn) {
  look();
  bool is_named = false;
  bool is_simulated = false;
  for (const auto& request : aws_.requests()) {
    is_named |=
        request.operation == "GetRole" && request.body.find("RoleName=job") != std::string::npos;
    is_simulated |=
        request.operation == "SimulatePrincipalPolicy" &&
        request.body.find("PolicySourceArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fjob") !=
            std::string::npos &&
        request.body.find("ContextKeyValues.member.1=coco%2F") != std::string::npos;
  }
  EXPECT_TRUE(is_named);
  EXPECT_TRUE(is_simulated);
}

TEST_F(JobChecks, what_these_credentials_may_not_ask_is_a_note_and_the_rest_goes_on) {
  refuse("DescribeRouteTables", 403, "UnauthorizedOperation");
  refuse("DescribeVpcEndpoints", 403, "UnauthorizedOperation");
  refuse("SimulatePrincipalPolicy", 403, "AccessDenied");
  refuse("DescribeDataRepositoryAssociations", 400, "AccessDeniedException");
  const auto findings = look();
  for (const std::string_view id : {id::kS3Route, id::kRolePermissions, id::kAssociation}) {
    ASSERT_FALSE(with(findings, id).empty()) << id;
    for (const Finding& finding : with(findings, id)) {
      EXPECT_EQ(finding.severity, Severity::kNote) << finding.what;
      EXPECT_FALSE(finding.mend.empty()) << finding.what;
    }
  }
  EXPECT_EQ(with(findings, id::kFileSystem).at(0).severity, Severity::kOk);
  // The first refusal of a simulation holds for all.
  const auto operations = aws_.operations();
  EXPECT_EQ(std::ranges::count(operations, "SimulatePrincipalPolicy"), 1);
}

TEST_F(JobChecks, what_is_not_there_is_a_failure_with_the_command_that_lists) {
  refuse("DescribeSubnets", 400, "InvalidSubnetID.NotFound");
  refuse("DescribeSecurityGroups", 400, "InvalidGroup.NotFound");
  refuse("DescribeFileSystems", 400, "FileSystemNotFound");
  refuse("GetRole", 404, "NoSuchEntity");
  const auto findings = look();
  const std::map<std::string_view, const char*> commands = {
      {id::kSubnet, "aws ec2 describe-subnets --region eu-central-1"},
      {id::kSecurityGroup, "aws ec2 describe-security-groups --region eu-central-1"},
      {id::kFileSystem, "aws fsx describe-file-systems --region eu-central-1"},
      {id::kRole, "aws iam list-roles --query 'Roles[].RoleName'"}};
  for (const auto& [id, command] : commands) {
    ASSERT_EQ(with(findings, id).size(), 1u) << id;
    EXPECT_EQ(with(findings, id)[0].severity, Severity::kFailure) << id;
    EXPECT_EQ(with(findings, id)[0].mend, command);
  }
}

TEST_F(JobChecks, a_service_that_does_not_answer_is_a_warning) {
  refuse("DescribeSubnets", 503, "ServiceUnavailable");
  EXPECT_EQ(with(look(), id::kSubnet).at(0).severity, Severity::kWarning);
}

TEST_F(JobChecks, what_is_not_named_is_not_asked_for) {
  plan_ = {};
  EXPECT_TRUE(plan_.is_empty());
  EXPECT_THAT(look(), IsEmpty());
  plan_.role = "job";
  look();
  EXPECT_THAT(aws_.operations(), Not(Contains(HasSubstr("Describe"))));
  plan_.role.clear();
  plan_.file_system = "fs-0a1b2c3d";
  EXPECT_EQ(with(look(), id::kFileSystem).size(), 1u);
}

TEST_F(JobChecks, answers_of_another_form_are_no_crash) {
  for (const char* text :
       {"<x/>",
        "<DescribeSubnetsResponse><subnetSet><item/></subnetSet></DescribeSubnetsResponse>"}) {
    for (const char* operation : {"DescribeSubnets",
                                  "DescribeSecurityGroups",
                                  "DescribeNetworkInterfaces",
                                  "DescribeRouteTables",
                                  "DescribeVpcEndpoints",
                                  "DescribePrefixLists",
                                  "DescribeInstanceTypes",
                                  "GetRole",
                                  "SimulatePrincipalPolicy"}) {
      refused_.clear();
      refused_[operation] = FakeAws::xml(text);
      EXPECT_FALSE(look().empty());
    }
  }
  for (const char* text : {"{}",
                           "[]",
                           "{\"FileSystems\":3}",
                           "{\"FileSystems\":[7]}",
                           "{\"FileSystems\":[{\"LustreConfiguration\":[],\"SubnetIds\":\"x\"}]}",
                           "{\"Associations\":{\"a\":1}}"}) {
    for (const char* operation : {"DescribeFileSystems", "DescribeDataRepositoryAssociations"}) {
      refused_.clear();
      refused_[operation] = FakeAws::xml(text);
      EXPECT_FALSE(look().empty());
    }
  }
}

}  // namespace
}  // namespace atl::doctor
