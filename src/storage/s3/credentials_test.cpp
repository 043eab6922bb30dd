#include "storage/s3/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/fake_credentials_context.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;
using testing::Not;

class CredentialsTest : public testing::Test, protected FakeCredentialsContext {
 protected:
  std::string key(CredentialsContext context) {
    const auto keys = find_credentials(std::move(context))->get();
    if (!keys) return keys.error().to_string();
    return *keys == nullptr ? "anonymous" : (*keys)->access_key_id;
  }
  std::string key() { return key(context()); }
  void set_environment_keys() {
    environment.set("AWS_ACCESS_KEY_ID", "ENV");
    environment.set("AWS_SECRET_ACCESS_KEY", "S");
  }
  void write_profiles() const {
    environment.write(".aws/credentials",
                      "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = S\n"
                      "[lab]\naws_access_key_id = LAB\naws_secret_access_key = S\n");
  }
};

TEST_F(CredentialsTest, are_looked_for_in_the_order_of_awss_programs) {
  http.answer([](const HttpRequest& request) -> Result<HttpResponse> {
    if (request.url.starts_with("http://169.254.170.2/")) {
      return FakeHttp::response(200, endpoint_answer("TASK"));
    }
    if (request.url.starts_with("http://169.254.169.254/")) {
      return FakeHttp::response(
          200, request.url.ends_with("/r") ? endpoint_answer("NODE") : std::string("r"));
    }
    return FakeHttp::response(200, sts_answer("AssumeRoleWithWebIdentity", "WEB"));
  });
  EXPECT_EQ(key(), "NODE");
  environment.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
  EXPECT_EQ(key(), "TASK");
  write_profiles();
  EXPECT_EQ(key(), "DEFAULT");
  environment.set("AWS_WEB_IDENTITY_TOKEN_FILE", environment.write("token", "t"));
  environment.set("AWS_ROLE_ARN", "r");
  EXPECT_EQ(key(), "WEB");
  set_environment_keys();
  EXPECT_EQ(key(), "ENV");
}

TEST_F(CredentialsTest, of_a_profile_named_by_hand_go_before_the_environments) {
  write_profiles();
  set_environment_keys();
  environment.set("AWS_PROFILE", "lab");
  EXPECT_EQ(key(), "ENV");
  CredentialsContext by_hand = context();
  by_hand.profile = "lab";
  EXPECT_EQ(key(std::move(by_hand)), "LAB");
}

TEST_F(CredentialsTest, of_a_profile_that_has_none_come_from_the_machine) {
  environment.write(".aws/config", "[profile lab]\nregion = eu-central-1\n");
  environment.set("AWS_PROFILE", "lab");
  environment.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
  http.answer(200, endpoint_answer("TASK"));
  EXPECT_EQ(key(), "TASK");
}

TEST_F(CredentialsTest, are_not_looked_for_where_none_are_wanted) {
  set_environment_keys();
  CredentialsContext anonymous = context();
  anonymous.anonymous = true;
  EXPECT_EQ(key(std::move(anonymous)), "anonymous");
}

TEST_F(CredentialsTest, that_are_configured_and_fail_are_no_reason_to_go_on) {
  write_profiles();
  environment.set("AWS_ACCESS_KEY_ID", "ENV");  // without a secret
  EXPECT_THAT(key(), HasSubstr("there is no secret access key"));
  environment.unset("AWS_ACCESS_KEY_ID");
  environment.set("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token");
  EXPECT_THAT(key(), HasSubstr("AWS_ROLE_ARN is not"));
  environment.unset("AWS_WEB_IDENTITY_TOKEN_FILE");
  environment.set("AWS_PROFILE", "nobody");
  EXPECT_THAT(key(), HasSubstr("no AWS profile 'nobody'"));
  EXPECT_TRUE(http.requests().empty());
}

TEST_F(CredentialsTest, in_the_environment_do_without_the_files) {
  set_environment_keys();
  environment.write(".aws/config", "not a profile file");
  EXPECT_EQ(key(), "ENV");
}

TEST_F(CredentialsTest, that_are_nowhere_are_an_error_that_says_where_was_looked) {
  const auto keys = find_credentials(context())->get();
  ASSERT_FALSE(keys.has_value());
  EXPECT_EQ(keys.error().code, ErrorCode::kPermission);
  EXPECT_THAT(keys.error().to_string(), HasSubstr("there are no AWS credentials"));
}

TEST_F(CredentialsTest, come_from_one_source_also_when_that_fails_later) {
  environment.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
  http.answer(200, endpoint_answer("TASK", "2026-06-01T13:00:00Z"));
  const auto provider = find_credentials(context());
  EXPECT_EQ((*provider->get())->access_key_id, "TASK");
  write_profiles();  // would go before the container's
  now += std::chrono::hours(2);
  http.answer(403, "");
  EXPECT_FALSE(provider->get().has_value());
  now += std::chrono::seconds(2);
  http.answer(200, endpoint_answer("TASK2"));
  EXPECT_EQ((*provider->get())->access_key_id, "TASK2");
}

TEST_F(CredentialsTest, with_blanks_or_line_ends_are_refused_and_not_shown) {
  environment.set("AWS_ACCESS_KEY_ID", "ENV");
  environment.set("AWS_SECRET_ACCESS_KEY", "TOPSECRET\n");
  EXPECT_EQ(find_credentials(context())->get().error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(key(), Not(HasSubstr("TOPSECRET")));
  environment.set("AWS_SECRET_ACCESS_KEY", "S");
  environment.set("AWS_SESSION_TOKEN", "TOPSECRET\r\nX: y");
  EXPECT_THAT(key(), Not(HasSubstr("TOPSECRET")));
}

}  // namespace
}  // namespace atl::storage
