#include "storage/s3/aws_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/fake_environment.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;
using testing::Not;

class AwsConfigTest : public testing::Test {
 protected:
  AwsConfig read(std::string_view profile = {}) {
    return read_aws_config(environment_.variable(), profile).value();
  }
  Error refusal() { return read_aws_config(environment_.variable()).error(); }

  FakeEnvironment environment_;
};

TEST_F(AwsConfigTest, is_empty_where_nothing_is_configured) {
  const AwsConfig config = read();
  EXPECT_EQ(config.profile, "default");
  EXPECT_EQ(config.region, "");
  EXPECT_EQ(config.endpoint_url, "");
  EXPECT_EQ(config.sts_endpoint_url, "");
  EXPECT_EQ(config.ca_bundle, "");
  EXPECT_EQ(config.path_style, std::nullopt);
}

TEST_F(AwsConfigTest, takes_the_region_from_the_variables_then_from_the_profile) {
  environment_.write(".aws/config", "[default]\nregion = c-1\n[profile lab]\nregion = d-1\n");
  EXPECT_EQ(read().region, "c-1");
  EXPECT_EQ(read("lab").region, "d-1");
  environment_.set("AWS_DEFAULT_REGION", "b-1");
  EXPECT_EQ(read().region, "b-1");
  environment_.set("AWS_REGION", "a-1");
  EXPECT_EQ(read().region, "a-1");
  environment_.set("AWS_REGION", "");  // as if it were not set
  EXPECT_EQ(read().region, "b-1");
}

TEST_F(AwsConfigTest, takes_the_endpoint_of_any_service_from_the_same_places) {
  const auto url = [&] {
    return read_endpoint_url(environment_.variable(), "", "cloudwatch_logs").value();
  };
  EXPECT_EQ(url(), "");
  environment_.write(".aws/config",
                     "[default]\nservices = here\n[services here]\ncloudwatch_logs =\n"
                     "  endpoint_url = http://three\n");
  EXPECT_EQ(url(), "http://three");
  environment_.set("AWS_ENDPOINT_URL", "http://two/");
  EXPECT_EQ(url(), "http://two");
  environment_.set("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://one");
  EXPECT_EQ(url(), "http://one");
  EXPECT_FALSE(checked_endpoint_url("one:80").has_value());
}

TEST_F(AwsConfigTest, takes_the_endpoint_from_the_most_special_place) {
  environment_.write(".aws/config",
                     "[default]\n"
                     "endpoint_url = http://four\n"
                     "services = here\n"
                     "[services here]\n"
                     "s3 =\n"
                     "  endpoint_url = http://three\n");
  EXPECT_EQ(read().endpoint_url, "http://three");
  EXPECT_EQ(read().sts_endpoint_url, "http://four");
  environment_.set("AWS_ENDPOINT_URL", "http://two/");
  EXPECT_EQ(read().endpoint_url, "http://two");
  EXPECT_EQ(read().sts_endpoint_url, "http://two");
  environment_.set("AWS_ENDPOINT_URL_S3", "https://one:9000//");
  EXPECT_EQ(read().endpoint_url, "https://one:9000");
  environment_.set("AWS_ENDPOINT_URL_STS", "https://[::1]:5000");
  EXPECT_EQ(read().sts_endpoint_url, "https://[::1]:5000");
  environment_.set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True");
  EXPECT_EQ(read().endpoint_url, "");
  EXPECT_EQ(read().sts_endpoint_url, "");
}

TEST_F(AwsConfigTest, reads_certificates_and_addressing_style) {
  environment_.write(".aws/config",
                     "[default]\nca_bundle = /a.pem\ns3 =\n  addressing_style = path\n"
                     "[profile b]\ns3 =\n  addressing_style = virtual\n"
                     "[profile c]\ns3 =\n  addressing_style = auto\n");
  EXPECT_EQ(read("b").ca_bundle, "");
  environment_.set("SSL_CERT_FILE", "/ssl.pem");
  EXPECT_EQ(read("b").ca_bundle, "/ssl.pem");
  environment_.set("CURL_CA_BUNDLE", "/curl.pem");
  EXPECT_EQ(read("b").ca_bundle, "/curl.pem");
  EXPECT_EQ(read().ca_bundle, "/a.pem");
  EXPECT_EQ(read().path_style, true);
  EXPECT_EQ(read("b").path_style, false);
  EXPECT_EQ(read("c").path_style, std::nullopt);
  environment_.set("AWS_CA_BUNDLE", "/b.pem");
  EXPECT_EQ(read().ca_bundle, "/b.pem");
}

TEST_F(AwsConfigTest, refuses_an_endpoint_that_is_none_and_does_not_show_it) {
  for (const std::string_view url : {"localhost:9000",
                                     "ftp://host",
                                     "http://",
                                     "https:///bucket",
                                     "http://user:SECRET@host",
                                     "http://host/?a=b",
                                     "http://ho st",
                                     "http://host\r\nX: y"}) {
    environment_.set("AWS_ENDPOINT_URL", url);
    EXPECT_EQ(refusal().code, ErrorCode::kInvalidInput) << url;
    EXPECT_THAT(refusal().to_string(), Not(HasSubstr("SECRET")));
  }
}

TEST_F(AwsConfigTest, refuses_a_region_that_no_host_name_can_hold) {
  for (const std::string_view region : {"eu central 1", "evil.com/", "a\n", "a@b"}) {
    environment_.set("AWS_REGION", region);
    EXPECT_EQ(refusal().code, ErrorCode::kInvalidInput) << region;
  }
}

TEST_F(AwsConfigTest, refuses_a_profile_that_is_not_there) {
  environment_.set("AWS_PROFILE", "lab");
  EXPECT_THAT(refusal().to_string(), HasSubstr("no AWS profile 'lab'"));
}

TEST_F(AwsConfigTest, knows_the_domains_of_the_regions) {
  EXPECT_EQ(aws_domain("eu-central-1"), "amazonaws.com");
  EXPECT_EQ(aws_domain("us-gov-west-1"), "amazonaws.com");
  EXPECT_EQ(aws_domain("cn-north-1"), "amazonaws.com.cn");
  EXPECT_EQ(aws_domain("us-iso-east-1"), "c2s.ic.gov");
  EXPECT_EQ(aws_domain("us-isob-east-1"), "sc2s.sgov.gov");
}

}  // namespace
}  // namespace atl::storage
