#include "aws/service.h"

#include <gtest/gtest.h>

namespace atl::aws {
namespace {

TEST(AwsService, is_asked_in_its_region_under_the_domain_of_the_partition) {
  EXPECT_EQ(address_of(kSageMaker, "eu-central-1").host,
            "api.sagemaker.eu-central-1.amazonaws.com");
  EXPECT_EQ(address_of(kCloudWatchLogs, "cn-north-1").host, "logs.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(address_of(kFsx, "us-gov-west-1").host, "fsx.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(address_of(kEc2, "eusc-de-east-1").host, "ec2.eusc-de-east-1.amazonaws.eu");
  EXPECT_EQ(address_of(kSts, "eu-west-1").signing_region, "eu-west-1");
}

TEST(AwsService, of_all_regions_is_asked_where_its_partition_has_it) {
  const auto iam = [](std::string_view region) {
    const ServiceAddress address = address_of(kIam, region);
    return address.host + " " + address.signing_region;
  };
  EXPECT_EQ(iam("eu-central-1"), "iam.amazonaws.com us-east-1");
  EXPECT_EQ(iam("cn-northwest-1"), "iam.cn-north-1.amazonaws.com.cn cn-north-1");
  EXPECT_EQ(iam("us-gov-east-1"), "iam.us-gov.amazonaws.com us-gov-west-1");
  EXPECT_EQ(iam("us-isob-east-1"), "iam.us-isob-east-1.sc2s.sgov.gov us-isob-east-1");
}

TEST(AwsService, names_the_partition_of_a_region) {
  EXPECT_EQ(partition_of("il-central-1"), "aws");
  EXPECT_EQ(partition_of("us-iso-east-1"), "aws-iso");
  EXPECT_EQ(partition_of("us-isob-east-1"), "aws-iso-b");
  EXPECT_EQ(partition_of("cn-north-1"), "aws-cn");
  EXPECT_EQ(partition_of("us-gov-west-1"), "aws-us-gov");
}

}  // namespace
}  // namespace atl::aws
