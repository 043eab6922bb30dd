#include "storage/s3/credentials_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/timestamps.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;
using testing::Not;

Result<Credentials> process(std::string_view text) {
  return parse_credentials_json(text, CredentialsJson::kProcess, "program");
}
Result<Credentials> endpoint(std::string_view text) {
  return parse_credentials_json(text, CredentialsJson::kEndpoint, "endpoint");
}

TEST(CredentialsAnswer, of_a_program_is_read_with_and_without_an_end) {
  const Credentials all = process(R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S",
      "SessionToken": "T", "Expiration": "2026-06-01T12:00:00+00:00"})")
                              .value();
  EXPECT_EQ(all.access_key_id, "A");
  EXPECT_EQ(all.secret_access_key, "S");
  EXPECT_EQ(all.session_token, "T");
  EXPECT_EQ(all.expires, parse_rfc3339("2026-06-01T12:00:00Z"));
  const Credentials few =
      process(R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"})").value();
  EXPECT_EQ(few.session_token, "");
  EXPECT_EQ(few.expires, std::nullopt);
}

TEST(CredentialsAnswer, of_an_endpoint_is_read) {
  const Credentials keys = endpoint(R"({"Code": "Success", "AccessKeyId": "A",
      "SecretAccessKey": "S", "Token": "T", "Expiration": "2026-06-01T12:00:00Z"})")
                               .value();
  EXPECT_EQ(keys.session_token, "T");
  EXPECT_TRUE(keys.expires.has_value());
}

TEST(CredentialsAnswer, that_is_none_is_refused_and_not_shown) {
  for (const std::string_view text :
       {"",
        "SECRET",
        "[\"SECRET\"]",
        R"({"Version": 2, "AccessKeyId": "SECRET", "SecretAccessKey": "SECRET"})",
        R"({"AccessKeyId": "SECRET", "SecretAccessKey": "SECRET"})",
        R"({"Version": 1, "AccessKeyId": "SECRET"})",
        R"({"Version": 1, "AccessKeyId": "SECRET", "SecretAccessKey": 5})",
        R"({"Version": 1, "AccessKeyId": "SECRET\r\nX: y", "SecretAccessKey": "SECRET"})",
        R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "SECRET "})",
        R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "SECRET"})"}) {
    const auto keys = process(text);
    ASSERT_FALSE(keys.has_value()) << text;
    EXPECT_THAT(keys.error().to_string(), Not(HasSubstr("SECRET")));
  }
  EXPECT_FALSE(endpoint(R"({"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T"})"));
  EXPECT_FALSE(process(std::string(kMaxCredentialsAnswerBytes + 1, ' ')).has_value());
}

TEST(CredentialsAnswer, of_an_endpoint_that_refuses_is_a_refusal_with_its_code) {
  const auto keys = endpoint(R"({"Code": "AssumeRoleUnauthorizedAccess", "Message": "SECRET"})");
  ASSERT_FALSE(keys.has_value());
  EXPECT_EQ(keys.error().code, ErrorCode::kPermission);
  EXPECT_THAT(keys.error().to_string(), HasSubstr("AssumeRoleUnauthorizedAccess"));
}

TEST(CredentialsAnswer, of_sts_is_read) {
  // As the API reference of AssumeRole shows it.
  const Credentials keys = parse_sts_answer(R"(
    <AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult>
        <SourceIdentity>Alice</SourceIdentity>
        <AssumedRoleUser>
          <Arn>arn:aws:sts::123456789012:assumed-role/demo/TestAR</Arn>
          <AssumedRoleId>ARO123EXAMPLE123:TestAR</AssumedRoleId>
        </AssumedRoleUser>
        <Credentials>
          <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
          <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
          <SessionToken>AQoDYXdzEPT//////////wEXAMPLE</SessionToken>
          <Expiration>2019-11-09T13:34:41Z</Expiration>
        </Credentials>
        <PackedPolicySize>6</PackedPolicySize>
      </AssumeRoleResult>
      <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>
    </AssumeRoleResponse>)",
                                            "AssumeRole",
                                            "sts")
                               .value();
  EXPECT_EQ(keys.access_key_id, "ASIAIOSFODNN7EXAMPLE");
  EXPECT_EQ(keys.secret_access_key, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
  EXPECT_EQ(keys.session_token, "AQoDYXdzEPT//////////wEXAMPLE");
  EXPECT_EQ(keys.expires, parse_rfc3339("2019-11-09T13:34:41Z"));
}

TEST(CredentialsAnswer, of_sts_in_another_form_is_refused) {
  for (const std::string_view xml :
       {"",
        "<a>",
        "{}",
        "<AssumeRoleResponse/>",
        "<AssumeRoleWithWebIdentityResponse/>",
        "<AssumeRoleResponse><AssumeRoleResult><Credentials/></AssumeRoleResult>"
        "</AssumeRoleResponse>"}) {
    EXPECT_FALSE(parse_sts_answer(xml, "AssumeRole", "sts").has_value()) << xml;
  }
}

TEST(CredentialsAnswer, with_an_error_gives_its_code_and_text) {
  const ServiceError of_sts = parse_service_error(
      "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User x may\n not"
      "</Message></Error></ErrorResponse>",
      {});
  EXPECT_EQ(of_sts.code, "AccessDenied");
  EXPECT_EQ(of_sts.message, "User x may? not");
  const ServiceError of_agent =
      parse_service_error(R"({"code": "InvalidIdParameter", "message": "no such id"})", {});
  EXPECT_EQ(of_agent.code, "InvalidIdParameter");
  EXPECT_EQ(of_agent.message, "no such id");
  EXPECT_EQ(parse_service_error("<html>Bad gateway", {}).code, "");
  EXPECT_EQ(parse_service_error(R"({"code": "a b\n"})", {}).code, "");
}

TEST(CredentialsAnswer, with_a_text_that_holds_a_secret_gives_no_text) {
  const std::string_view body = R"({"code": "X", "message": "no token abc here"})";
  EXPECT_EQ(parse_service_error(body, {"abc"}).message, "");
  EXPECT_EQ(parse_service_error(body, {"", "xyz"}).message, "no token abc here");
  EXPECT_EQ(parse_service_error(R"({"code": "SignatureDoesNotMatch", "message": "canonical"})", {})
                .message,
            "");
}

}  // namespace
}  // namespace atl::storage
