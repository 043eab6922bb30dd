// What atoll doctor finds in a network and a role that somebody else plays: moto.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "doctor/fake_bucket.h"
#include "doctor/job_checks.h"
#include "moto_client.h"

namespace atl::doctor {
namespace {

using testing::HasSubstr;

class DoctorJobTest : public aws::MotoTest {
 protected:
  // The text of a node of the answer: "vpc/vpcId".
  std::string make(const aws::AwsService& service,
                   std::string_view action,
                   const aws::QueryParameters& parameters,
                   const char* path = "") {
    const auto answer = client_->query(service, action, parameters);
    EXPECT_TRUE(answer.has_value()) << answer.error().to_string();
    if (!answer) return {};
    return answer->result.first_element_by_path(path).text().as_string();
  }
  std::string ec2(std::string_view action,
                  const aws::QueryParameters& parameters,
                  const char* path = "") {
    return make(aws::kEc2, action, parameters, path);
  }

  // As the console makes them: everything out, nothing in, no way to S3.
  void make_network() {
    vpc_ = ec2("CreateVpc", {{"CidrBlock", "10.7.0.0/16"}}, "vpc/vpcId");
    plan_.subnets = {
        ec2("CreateSubnet", {{"VpcId", vpc_}, {"CidrBlock", "10.7.1.0/28"}}, "subnet/subnetId")};
    plan_.security_groups = {
        ec2("CreateSecurityGroup",
            {{"VpcId", vpc_}, {"GroupName", "job"}, {"GroupDescription", "job"}},
            "groupId")};
  }

  std::vector<Finding> look() {
    ReportList report;
    // What moto does not know is an error that may pass.
    const auto hasty = open(std::chrono::seconds(1));
    for (const Check& check : job_checks(hasty, plan_)) check.run(report, {});
    return report.findings;
  }
  std::string vpc_;
  JobPlan plan_;
};

TEST_F(DoctorJobTest, a_subnet_without_a_way_to_s3_is_told_and_a_gateway_endpoint_mends_it) {
  make_network();
  auto findings = look();
  EXPECT_EQ(only_finding(findings, id::kSubnet).severity, Severity::kOk);
  EXPECT_EQ(only_finding(findings, id::kVpc).severity, Severity::kOk);
  EXPECT_EQ(only_finding(findings, id::kS3Egress).severity, Severity::kOk);
  const Finding route = only_finding(findings, id::kS3Route);
  EXPECT_EQ(route.severity, Severity::kFailure);
  // What the command in it says.
  const size_t table = route.mend.find("rtb-");
  ASSERT_NE(table, std::string::npos) << route.mend;
  ec2("CreateVpcEndpoint",
      {{"VpcId", vpc_},
       {"ServiceName", "com.amazonaws.eu-central-1.s3"},
       {"VpcEndpointType", "Gateway"},
       {"RouteTableId.1", route.mend.substr(table)}});
  EXPECT_EQ(only_finding(look(), id::kS3Route).severity, Severity::kOk);
}

TEST_F(DoctorJobTest, addresses_are_counted) {
  make_network();
  plan_.instances = 5;
  EXPECT_EQ(only_finding(look(), id::kAddresses).severity,
            Severity::kOk);  // 16, of which AWS keeps 5
  plan_.instances = 6;
  EXPECT_EQ(only_finding(look(), id::kAddresses).severity, Severity::kFailure);
}

TEST_F(DoctorJobTest, rules_are_read_as_ec2_gives_them) {
  make_network();
  const std::string& group = plan_.security_groups.front();
  ec2("AuthorizeSecurityGroupIngress",
      {{"GroupId", group},
       {"IpPermissions.1.IpProtocol", "tcp"},
       {"IpPermissions.1.FromPort", "988"},
       {"IpPermissions.1.ToPort", "988"},
       {"IpPermissions.1.Groups.1.GroupId", group},
       {"IpPermissions.2.IpProtocol", "-1"},
       {"IpPermissions.2.IpRanges.1.CidrIp", "10.7.1.0/28"}});
  const auto answer = client_->query(aws::kEc2, "DescribeSecurityGroups", {{"GroupId.1", group}});
  ASSERT_TRUE(answer.has_value());
  const auto groups = read_security_groups(answer->result);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].vpc, vpc_);
  const std::vector<PortRange> lustre = {{988, 988}, {1018, 1023}};
  EXPECT_EQ(blocked_tcp_ports(groups[0].inbound, {{group}, {}}, lustre),
            (std::vector<PortRange>{{1018, 1023}}));
  const Peer subnet{{}, {parse_address_range("10.7.1.0/28").value()}};
  EXPECT_TRUE(blocked_tcp_ports(groups[0].inbound, subnet, lustre).empty());
  EXPECT_TRUE(blocked_tcp_ports(groups[0].outbound, subnet, lustre).empty());
}

TEST_F(DoctorJobTest, what_is_not_there_is_told) {
  plan_.subnets = {"subnet-0123456789abcdef0"};
  plan_.security_groups = {"sg-0123456789abcdef0"};
  plan_.role = "nobody-has-this-role";
  const auto findings = look();
  EXPECT_EQ(only_finding(findings, id::kSubnet).severity, Severity::kFailure);
  EXPECT_EQ(only_finding(findings, id::kSecurityGroup).severity, Severity::kFailure);
  EXPECT_EQ(only_finding(findings, id::kRole).severity, Severity::kFailure);
}

TEST_F(DoctorJobTest, a_role_for_ec2_alone_is_told) {
  const auto make_role = [&](const std::string& name, const std::string& service) {
    make(
        aws::kIam,
        "CreateRole",
        {{"RoleName", name},
         {"AssumeRolePolicyDocument",
          fmt::format(
              R"({{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{}"}},)"
              R"("Action":"sts:AssumeRole"}}]}})",
              service)}});
  };
  make_role("for-ec2", "ec2.amazonaws.com");
  make_role("for-sagemaker", "sagemaker.amazonaws.com");
  plan_.role = "for-ec2";
  EXPECT_EQ(only_finding(look(), id::kRoleTrust).severity, Severity::kFailure);
  plan_.role = "for-sagemaker";
  EXPECT_EQ(only_finding(look(), id::kRoleTrust).severity, Severity::kOk);
}

}  // namespace
}  // namespace atl::doctor
