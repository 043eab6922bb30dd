#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/credentials_sources.h"
#include "storage/s3/fake_credentials_context.h"

namespace atl::storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class StsCredentialsTest : public testing::Test, protected FakeCredentialsContext {
 protected:
  Result<FetchedCredentials> assume() {
    return assumed_role_credentials(
        context(),
        {.role_arn = "arn:aws:iam::1:role/r", .session_name = "me", .external_id = "x y"},
        {"BASEKEY", "BASESECRET", "BASETOKEN", {}});
  }
  Result<FetchedCredentials> by_token() {
    return web_identity_credentials(
        context(), {.role_arn = "arn:aws:iam::1:role/r"}, environment.directory() + "/token");
  }
};

TEST_F(StsCredentialsTest, a_role_is_assumed_by_a_signed_form) {
  http.answer(200, sts_answer("AssumeRole", "ROLE"));
  const auto fetched = assume();
  ASSERT_TRUE(fetched.has_value()) << fetched.error().to_string();
  EXPECT_EQ(fetched->keys.access_key_id, "ROLE");
  EXPECT_EQ(fetched->keys.session_token, "TOKEN-ROLE");
  EXPECT_EQ(fetched->keys.expires, now + std::chrono::hours(1));
  ASSERT_EQ(http.requests().size(), 1U);
  const HttpRequest request = http.requests()[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://sts.amazonaws.com/");
  EXPECT_EQ(request.body.text(),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
            "RoleSessionName=me&ExternalId=x%20y");
  EXPECT_THAT(FakeHttp::header(request, "Authorization"),
              AllOf(StartsWith("AWS4-HMAC-SHA256 Credential=BASEKEY/20260601/us-east-1/sts/"),
                    HasSubstr("content-type;host;x-amz-date;x-amz-security-token")));
}

TEST_F(StsCredentialsTest, the_regions_own_service_is_asked) {
  http.answer(200, sts_answer("AssumeRole", "ROLE"));
  environment.set("AWS_REGION", "eu-central-1");
  ASSERT_TRUE(assume().has_value());
  EXPECT_EQ(http.requests().back().url, "https://sts.eu-central-1.amazonaws.com/");
  environment.set("AWS_REGION", "cn-north-1");
  ASSERT_TRUE(assume().has_value());
  EXPECT_EQ(http.requests().back().url, "https://sts.cn-north-1.amazonaws.com.cn/");
  environment.set("AWS_ENDPOINT_URL_STS", "http://localhost:5000/sts");
  ASSERT_TRUE(assume().has_value());
  EXPECT_EQ(http.requests().back().url, "http://localhost:5000/sts/");
  EXPECT_THAT(FakeHttp::header(http.requests().back(), "Authorization"),
              HasSubstr("/cn-north-1/sts/"));
}

TEST_F(StsCredentialsTest, a_refusal_is_told_with_code_and_text_and_what_to_do) {
  http.answer(403,
              "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User u is not authorized"
              "</Message></Error></ErrorResponse>");
  const Error error = assume().error();
  EXPECT_EQ(error.code, ErrorCode::kPermission);
  EXPECT_THAT(error.to_string(),
              AllOf(HasSubstr("arn:aws:iam::1:role/r"),
                    HasSubstr("403 AccessDenied: User u is not authorized"),
                    HasSubstr("trust policy")));
  EXPECT_EQ(http.requests().size(), 1U);
}

TEST_F(StsCredentialsTest, no_message_shows_what_was_signed) {
  for (const std::string_view secret : {"BASEKEY", "BASESECRET", "BASETOKEN"}) {
    http.answer(403,
                "<ErrorResponse><Error><Code>Odd</Code><Message>x-amz-security-token:" +
                    std::string(secret) + "</Message></Error></ErrorResponse>");
    EXPECT_THAT(assume().error().to_string(), AllOf(HasSubstr("Odd"), Not(HasSubstr(secret))));
  }
}

TEST_F(StsCredentialsTest, is_asked_three_times_where_it_fails_for_now) {
  http.answer(503, "");
  EXPECT_EQ(assume().error().code, ErrorCode::kIo);
  EXPECT_EQ(http.requests().size(), 3U);
  EXPECT_EQ(pauses.size(), 2U);
  http.answer([](const HttpRequest&) { return FakeHttp::no_connection(); });
  EXPECT_THAT(assume().error().to_string(), HasSubstr("arn:aws:iam::1:role/r: no connection"));
  EXPECT_EQ(http.requests().size(), 6U);
}

TEST_F(StsCredentialsTest, a_web_identity_goes_out_unsigned_and_its_file_is_read_each_time) {
  http.answer(200, sts_answer("AssumeRoleWithWebIdentity", "WEB"));
  environment.write("token", "first.token\n");
  ASSERT_TRUE(by_token().has_value());
  const HttpRequest request = http.requests().back();
  EXPECT_THAT(request.body.text(),
              AllOf(StartsWith("Action=AssumeRoleWithWebIdentity&"),
                    HasSubstr("&RoleSessionName=atoll-1780315200&"),
                    HasSubstr("&WebIdentityToken=first.token")));
  EXPECT_EQ(FakeHttp::header(request, "Authorization"), "");
  environment.write("token", "second.token");
  ASSERT_TRUE(by_token().has_value());
  EXPECT_THAT(http.requests().back().body.text(), HasSubstr("&WebIdentityToken=second.token"));
}

TEST_F(StsCredentialsTest, a_web_identity_without_its_token_is_an_error_that_names_the_file) {
  EXPECT_THAT(by_token().error().to_string(), HasSubstr(environment.directory() + "/token"));
  environment.write("token", " \n");
  EXPECT_THAT(by_token().error().to_string(), HasSubstr("is empty"));
  environment.write("token", std::string(20001, 'x'));
  EXPECT_EQ(by_token().error().code, ErrorCode::kInvalidInput);
  EXPECT_TRUE(http.requests().empty());
}

TEST_F(StsCredentialsTest, no_message_shows_the_web_identity) {
  environment.write("token", "WEBTOKEN");
  http.answer(400,
              "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>WEBTOKEN is bad"
              "</Message></Error></ErrorResponse>");
  EXPECT_THAT(by_token().error().to_string(),
              AllOf(HasSubstr("InvalidIdentityToken"), Not(HasSubstr("WEBTOKEN"))));
}

}  // namespace
}  // namespace atl::storage
