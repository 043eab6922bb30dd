#include "aws/aws_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/fake_http.h"

namespace atl::aws {
namespace {

using storage::FakeHttp;
using testing::HasSubstr;
using testing::Not;

Refusal parse(std::string body, std::initializer_list<std::string_view> secrets = {}) {
  return parse_refusal(FakeHttp::response(400, std::move(body)), secrets);
}

AwsError error(const AwsService& service, int status, std::string code, std::string message = {}) {
  return aws_error(service, "DoIt", status, {std::move(code), std::move(message)});
}

TEST(AwsRefusal, is_read_in_each_of_the_services_forms) {
  for (const char* body :
       {R"({"__type":"ValidationException","message":"no"})",
        R"({"__type":"com.amazonaws.sagemaker#ValidationException:http://x/","Message":"no"})",
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender"
        "</Type><Code>ValidationException</Code><Message>no</Message></Error></ErrorResponse>",
        "<?xml version=\"1.0\"?><Response><Errors><Error><Code>ValidationException</Code>"
        "<Message>no</Message></Error></Errors><RequestID>1</RequestID></Response>"}) {
    const Refusal refusal = parse(body);
    EXPECT_EQ(refusal.code, "ValidationException") << body;
    EXPECT_EQ(refusal.message, "no") << body;
  }
}

TEST(AwsRefusal, takes_its_code_from_the_header_where_the_body_has_none) {
  auto response = FakeHttp::response(400, R"({"message":"Slow"})");
  response.headers = {{"x-amzn-errortype", "ThrottlingException:http://internal/"}};
  EXPECT_EQ(parse_refusal(response, {}).code, "ThrottlingException");
}

TEST(AwsRefusal, that_is_of_no_form_is_empty) {
  for (const char* body : {"", "{", "[1]", "<html>no</html>", "{\"__type\":7}", "\xff\xfe"}) {
    EXPECT_EQ(parse(body).code, "") << body;
    EXPECT_EQ(parse(body).message, "") << body;
  }
  EXPECT_EQ(parse(R"({"__type":"<b>bad</b>"})").code, "");
}

TEST(AwsRefusal, shows_no_secret_and_moves_no_cursor) {
  EXPECT_EQ(parse(R"({"__type":"X","message":"token SESSION1 ended"})", {"", "SESSION1"}).message,
            "");
  // It shows the canonical request.
  EXPECT_EQ(
      parse(R"({"__type":"InvalidSignatureException","message":"x-amz-security-token:q"})").message,
      "");
  EXPECT_EQ(parse("{\"__type\":\"X\",\"message\":\"a\\u001b[2J\\nb\"}").message, "a?[2J b");
  EXPECT_EQ(parse(R"({"__type":"X","message":")" + std::string(5000, 'a') + "\"}").message.size(),
            kMaxMessageBytes);
}

TEST(AwsRefusal, leaves_out_what_only_ec2_can_read) {
  const Refusal refusal = parse(
      "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized. "
      "Encoded authorization failure message: abcdef</Message></Error></Errors></Response>");
  EXPECT_EQ(refusal.message, "You are not authorized.");
}

TEST(AwsError, says_which_permission_is_missing) {
  const std::string passing =
      "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: r";
  EXPECT_EQ(permission_needed(kSageMaker, "CreateTrainingJob", passing), "iam:PassRole");
  EXPECT_EQ(permission_needed(kSageMaker, "CreateTrainingJob", ""), "sagemaker:CreateTrainingJob");
  EXPECT_EQ(permission_needed(kEc2, "DescribeVpcs", "not authorized to perform: "),
            "ec2:DescribeVpcs");
  const AwsError denied = error(kSageMaker, 400, "AccessDeniedException", passing);
  EXPECT_EQ(denied.code, ErrorCode::kPermission);
  EXPECT_THAT(denied.to_string(), HasSubstr("SageMaker DoIt: AccessDeniedException: User"));
  EXPECT_THAT(denied.hint, HasSubstr("needs iam:PassRole"));
  EXPECT_THAT(
      error(kIam, 403, "AccessDenied", "with an explicit deny in a service control policy").hint,
      HasSubstr("denies iam:DoIt explicitly"));
}

TEST(AwsError, tells_apart_what_calls_for_another_answer) {
  EXPECT_EQ(error(kSageMaker, 400, "ValidationException").code, ErrorCode::kInvalidInput);
  EXPECT_EQ(error(kSageMaker, 400, "ResourceInUse").code, ErrorCode::kConflict);
  EXPECT_EQ(error(kIam, 404, "NoSuchEntity").code, ErrorCode::kNotFound);
  EXPECT_EQ(error(kFsx, 400, "FileSystemNotFound").code, ErrorCode::kNotFound);
  EXPECT_EQ(error(kEc2, 400, "InvalidVpcID.NotFound").code, ErrorCode::kNotFound);
  EXPECT_EQ(error(kEc2, 400, "ExpiredToken").code, ErrorCode::kPermission);
  EXPECT_EQ(error(kSageMaker, 503, "").code, ErrorCode::kIo);
  EXPECT_EQ(error(kSageMaker, 503, "").message, "SageMaker DoIt: the answer is 503");
  EXPECT_THAT(error(kSageMaker, 400, "ResourceLimitExceeded").hint, HasSubstr("quota"));
  EXPECT_EQ(error(kEc2, 412, "DryRunOperation").service_code, "DryRunOperation");
}

TEST(AwsError, becomes_a_plain_error_and_comes_from_one) {
  const auto plain = []() -> Result<int> {
    const AwsResult<int> failed = tl::unexpected(error(kSts, 403, "AccessDenied"));
    return ATOLL_TRY(AwsResult<int>(failed));
  }();
  EXPECT_EQ(plain.error().code, ErrorCode::kPermission);
  const auto aws = []() -> AwsResult<int> {
    return ATOLL_TRY(Result<int>(fail(ErrorCode::kIo, "broken")));
  }();
  EXPECT_EQ(aws.error().message, "broken");
  EXPECT_EQ(aws.error().service_code, "");
}

}  // namespace
}  // namespace atl::aws
