#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/credentials_sources.h"
#include "storage/s3/fake_credentials_context.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;

class InstanceCredentialsTest : public testing::Test, protected FakeCredentialsContext {
 protected:
  InstanceCredentialsTest() {
    http.answer([this](const HttpRequest& request) { return serve(request); });
  }

  Result<HttpResponse> serve(const HttpRequest& request) const {
    const std::string path = "/latest/meta-data/iam/security-credentials/";
    if (request.url.ends_with("/latest/api/token")) {
      const bool right =
          request.method == "PUT" &&
          FakeHttp::header(request, "X-aws-ec2-metadata-token-ttl-seconds") == "21600";
      return FakeHttp::response(right ? token_status_ : 400, "SESSION");
    }
    if (FakeHttp::header(request, "X-aws-ec2-metadata-token") != "SESSION") {
      return FakeHttp::response(401, "");
    }
    if (request.url.ends_with(path)) return FakeHttp::response(role_status_, roles_);
    if (request.url.ends_with(path + "node-role")) return FakeHttp::response(200, answer_);
    return FakeHttp::response(404, "");
  }

  Result<std::optional<FetchedCredentials>> fetch() {
    return instance_credentials(
        context(), load_profiles(environment.variable()).value(), "default");
  }

  int token_status_ = 200;
  int role_status_ = 200;
  std::string roles_ = "node-role\n";
  std::string answer_ = endpoint_answer("NODE");
};

TEST_F(InstanceCredentialsTest, come_through_a_session) {
  const auto fetched = fetch().value();
  ASSERT_TRUE(fetched.has_value());
  EXPECT_EQ(fetched->keys.access_key_id, "NODE");
  EXPECT_EQ(fetched->keys.session_token, "TOKEN-NODE");
  ASSERT_EQ(http.requests().size(), 3U);
  EXPECT_EQ(http.requests()[0].url, "http://169.254.169.254/latest/api/token");
}

TEST_F(InstanceCredentialsTest, are_none_where_nothing_answers_within_a_second) {
  http.answer([](const HttpRequest& request) {
    EXPECT_EQ(request.deadline, std::chrono::seconds(1));
    return FakeHttp::no_connection();
  });
  EXPECT_EQ(fetch().value(), std::nullopt);
  EXPECT_EQ(http.requests().size(), 1U);
  EXPECT_TRUE(pauses.empty());
}

TEST_F(InstanceCredentialsTest, are_none_on_other_clouds) {
  for (const int status : {400, 404, 405}) {
    token_status_ = status;
    EXPECT_EQ(fetch().value(), std::nullopt) << status;
  }
}

TEST_F(InstanceCredentialsTest, are_not_asked_for_where_that_is_switched_off) {
  environment.set("AWS_EC2_METADATA_DISABLED", "true");
  EXPECT_EQ(fetch().value(), std::nullopt);
  EXPECT_TRUE(http.requests().empty());
}

TEST_F(InstanceCredentialsTest, are_an_error_where_the_service_or_the_role_is_missing) {
  token_status_ = 403;
  EXPECT_THAT(fetch().error().to_string(), HasSubstr("switched off for this instance"));
  token_status_ = 200;
  role_status_ = 404;
  EXPECT_THAT(fetch().error().to_string(), HasSubstr("this EC2 instance has no role"));
  role_status_ = 200;
  for (const std::string_view roles : {"", "../other", "<html>", "a b"}) {
    roles_ = roles;
    EXPECT_THAT(fetch().error().to_string(), HasSubstr("names no role")) << roles;
  }
  roles_ = "node-role";
  answer_ = "{}";
  EXPECT_EQ(fetch().error().code, ErrorCode::kIo);
}

TEST_F(InstanceCredentialsTest, come_from_where_the_settings_say) {
  environment.write(".aws/config", "[default]\nec2_metadata_service_endpoint_mode = IPv6\n");
  ASSERT_TRUE(fetch().value().has_value());
  EXPECT_EQ(http.requests().back().url,
            "http://[fd00:ec2::254]/latest/meta-data/iam/security-credentials/node-role");
  environment.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://localhost:1338/");
  ASSERT_TRUE(fetch().value().has_value());
  EXPECT_EQ(http.requests().back().url,
            "http://localhost:1338/latest/meta-data/iam/security-credentials/node-role");
}

TEST_F(InstanceCredentialsTest, that_have_ended_are_used_on_while_the_service_has_no_others) {
  answer_ = endpoint_answer("NODE", "2026-06-01T11:00:00Z");
  EXPECT_EQ(fetch().value()->keys.expires, now + std::chrono::minutes(10));
}

}  // namespace
}  // namespace atl::storage
