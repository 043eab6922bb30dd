#include "aws/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "aws/fake_aws.h"
#include "storage/s3/fake_environment.h"

namespace atl::aws {
namespace {

using Json = nlohmann::json;
using storage::FakeHttp;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Answers in turn, the last one for good.
FakeAws::Answer in_turn(std::vector<Result<storage::HttpResponse>> answers) {
  const auto next = std::make_shared<size_t>(0);
  return [answers = std::move(answers), next](const FakeAws::Request&) {
    const size_t i = std::min((*next)++, answers.size() - 1);
    return answers[i];
  };
}

TEST(AwsClient, calls_an_operation_of_the_json_protocol) {
  FakeAws aws(in_turn({FakeAws::json({{"TrainingJobArn", "arn:x"}})}));
  const auto answer = aws.client()->call(kSageMaker, "CreateTrainingJob", {{"Name", "a\xff"}});
  ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_EQ(answer->at("TrainingJobArn"), "arn:x");
  const auto request = aws.requests().at(0);
  EXPECT_EQ(request.http.method, "POST");
  EXPECT_EQ(request.http.url, "https://api.sagemaker.eu-central-1.amazonaws.com/");
  EXPECT_EQ(FakeHttp::header(request.http, "X-Amz-Target"), "SageMaker.CreateTrainingJob");
  EXPECT_EQ(FakeHttp::header(request.http, "Content-Type"), "application/x-amz-json-1.1");
  EXPECT_THAT(std::string(FakeHttp::header(request.http, "Authorization")),
              HasSubstr("AKIAEXAMPLE/20231114/eu-central-1/sagemaker/aws4_request"));
  EXPECT_EQ(request.json().at("Name"), "a\xef\xbf\xbd");
}

TEST(AwsClient, calls_an_action_of_the_query_protocol) {
  FakeAws aws([](const FakeAws::Request& request) {
    return FakeAws::xml(request.operation == "GetCallerIdentity"
                            ? "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/\">"
                              "<GetCallerIdentityResult><Account>1</Account>"
                              "</GetCallerIdentityResult></GetCallerIdentityResponse>"
                            : "<DescribeVpcsResponse><vpcSet><item/><item/></vpcSet>"
                              "</DescribeVpcsResponse>");
  });
  const auto client = aws.client();
  const auto identity = client->query(kSts, "GetCallerIdentity", {});
  ASSERT_TRUE(identity.has_value()) << identity.error().to_string();
  EXPECT_STREQ(identity->result.child_value("Account"), "1");
  const auto vpcs = client->query(kEc2, "DescribeVpcs", {{"VpcId.1", "vpc&=1"}});
  ASSERT_TRUE(vpcs.has_value()) << vpcs.error().to_string();
  const auto items = vpcs->result.child("vpcSet").children("item");
  EXPECT_EQ(std::distance(items.begin(), items.end()), 2);
  EXPECT_EQ(aws.requests().at(1).body, "Action=DescribeVpcs&Version=2016-11-15&VpcId.1=vpc%26%3D1");
  EXPECT_EQ(FakeHttp::header(aws.requests().at(1).http, "X-Amz-Target"), "");
}

TEST(AwsClient, signs_for_where_a_global_service_is) {
  FakeAws aws(in_turn({FakeAws::xml("<GetRoleResponse><GetRoleResult/></GetRoleResponse>")}));
  ASSERT_TRUE(aws.client()->query(kIam, "GetRole", {{"RoleName", "r"}}).has_value());
  const auto request = aws.requests().at(0).http;
  EXPECT_EQ(request.url, "https://iam.amazonaws.com/");
  EXPECT_THAT(std::string(FakeHttp::header(request, "Authorization")),
              HasSubstr("/us-east-1/iam/aws4_request"));
}

TEST(AwsClient, goes_to_the_endpoint_that_is_named_most_specially) {
  FakeAws aws(in_turn({FakeAws::json(Json::object())}));
  std::map<std::string, std::string, std::less<>> variables = {
      {"AWS_ENDPOINT_URL", "http://all:80/base/"}};
  AwsClientOptions options = aws.options();
  options.variable = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  const auto url = [&](const AwsService& service) {
    const size_t before = aws.requests().size();
    EXPECT_TRUE(FakeAws::client(options)->call(service, "X", Json::object()).has_value());
    return aws.requests().at(before).http.url;
  };
  EXPECT_EQ(url(kSageMaker), "http://all/base/");
  variables["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = "https://logs:8443";
  EXPECT_EQ(url(kCloudWatchLogs), "https://logs:8443/");
  EXPECT_EQ(url(kSageMaker), "http://all/base/");
  options.endpoint_url = "http://127.0.0.1:5000/";
  EXPECT_EQ(url(kCloudWatchLogs), "http://127.0.0.1:5000/");
}

TEST(AwsClient, opens_only_with_a_region_and_an_endpoint_that_are_ones) {
  FakeAws aws(in_turn({FakeAws::json(Json::object())}));
  AwsClientOptions options = aws.options();
  options.region = "";
  EXPECT_THAT(AwsClient::open(options).error().to_string(), HasSubstr("no AWS region is named"));
  options.region = "eu/west";
  EXPECT_THAT(AwsClient::open(options).error().to_string(), HasSubstr("eu/west"));
  options.region = "eu-west-1";
  options.endpoint_url = "127.0.0.1:5000";
  EXPECT_EQ(AwsClient::open(options).error().code, ErrorCode::kInvalidInput);
}

TEST(AwsClient, tries_again_when_it_is_throttled_or_not_answered) {
  FakeAws aws(in_turn({FakeAws::refusal(400, "ThrottlingException", "Rate exceeded"),
                       FakeHttp::no_connection(),
                       FakeHttp::response(503, "<html/>"),
                       FakeAws::json({{"ok", true}})}));
  const auto answer = aws.client()->call(kSageMaker, "DescribeTrainingJob", Json::object());
  ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_EQ(aws.requests().size(), 4U);
  EXPECT_EQ(aws.pauses(), 3U);
}

TEST(AwsClient, gives_up_at_the_deadline_and_says_how_often_it_tried) {
  FakeAws aws(in_turn({FakeAws::refusal(400, "ThrottlingException", "Rate exceeded")}));
  const auto answer = aws.client()->call(kSageMaker, "CreateTrainingJob", Json::object());
  ASSERT_FALSE(answer.has_value());
  EXPECT_GT(answer.error().tries, 5);
  EXPECT_THAT(answer.error().to_string(), HasSubstr("ThrottlingException: Rate exceeded (tried"));
  EXPECT_LE(aws.passed(), std::chrono::seconds(60));
  EXPECT_GT(aws.passed(), std::chrono::seconds(30));
}

TEST(AwsClient, gives_up_soon_where_nothing_has_ever_answered) {
  FakeAws aws(in_turn({FakeHttp::no_connection()}));
  const auto answer = aws.client()->call(kSageMaker, "ListTrainingJobs", Json::object());
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().tries, 4);
  EXPECT_EQ(answer.error().code, ErrorCode::kIo);
  EXPECT_THAT(answer.error().to_string(),
              AllOf(HasSubstr("SageMaker ListTrainingJobs: no connection"),
                    HasSubstr("api.sagemaker.eu-central-1.amazonaws.com")));
}

TEST(AwsClient, does_not_ask_twice_what_was_refused_for_good) {
  FakeAws aws(in_turn({FakeAws::refusal(400, "ValidationException", "1 validation error")}));
  const auto answer = aws.client()->call(kSageMaker, "CreateTrainingJob", Json::object());
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(aws.requests().size(), 1U);
  EXPECT_EQ(answer.error().service_code, "ValidationException");
  EXPECT_EQ(answer.error().service_message, "1 validation error");
  EXPECT_EQ(answer.error().status, 400);
  EXPECT_EQ(answer.error().tries, 1);
}

TEST(AwsClient, asks_once_more_with_new_keys_when_the_session_is_over) {
  FakeAws aws(in_turn({FakeAws::refusal(400, "ExpiredTokenException"),
                       FakeAws::json(Json::object()),
                       FakeAws::refusal(400, "ExpiredTokenException")}));
  const auto client = aws.client();
  EXPECT_TRUE(client->call(kSageMaker, "A", Json::object()).has_value());
  EXPECT_EQ(aws.refused_keys(), 1);
  const auto answer = client->call(kSageMaker, "B", Json::object());
  EXPECT_EQ(answer.error().code, ErrorCode::kPermission);
  EXPECT_THAT(aws.operations(), ElementsAre("A", "A", "B", "B"));
  EXPECT_EQ(aws.pauses(), 0U);
}

TEST(AwsClient, takes_awss_clock_where_its_own_is_wrong) {
  auto skewed = FakeAws::refusal(400, "InvalidSignatureException", "Signature expired");
  skewed.headers = {{"date", "Wed, 15 Nov 2023 22:13:20 GMT"}};  // a day after FakeAws::now
  FakeAws aws(in_turn({skewed, FakeAws::json(Json::object())}));
  ASSERT_TRUE(aws.client()->call(kSageMaker, "A", Json::object()).has_value());
  EXPECT_EQ(FakeHttp::header(aws.requests().at(0).http, "X-Amz-Date"), "20231114T221320Z");
  EXPECT_EQ(FakeHttp::header(aws.requests().at(1).http, "X-Amz-Date"), "20231115T221320Z");
}

TEST(AwsClient, believes_that_a_signature_is_wrong_where_the_clocks_agree) {
  auto refusal = FakeAws::refusal(403, "SignatureDoesNotMatch", "canonical request");
  refusal.headers = {{"date", "Tue, 14 Nov 2023 22:13:50 GMT"}};
  FakeAws aws(in_turn({refusal}));
  const auto answer = aws.client()->call(kSageMaker, "A", Json::object());
  EXPECT_EQ(aws.requests().size(), 1U);
  EXPECT_THAT(answer.error().to_string(), HasSubstr("secret key does not belong"));
}

TEST(AwsClient, shows_no_secret_of_an_answer) {
  FakeAws aws(in_turn({FakeAws::refusal(403, "AccessDenied", "SESSIONTOKEN of SECRETKEY is bad")}));
  const auto answer = aws.client()->call(kSageMaker, "A", Json::object());
  EXPECT_THAT(answer.error().to_string(),
              AllOf(Not(HasSubstr("SESSIONTOKEN")), Not(HasSubstr("SECRETKEY"))));
}

TEST(AwsClient, refuses_an_answer_of_another_form) {
  for (const char* body : {"[]", "7", "{", "<html/>"}) {
    FakeAws aws(in_turn({FakeHttp::response(200, body)}));
    EXPECT_EQ(aws.client()->call(kSageMaker, "A", Json::object()).error().code, ErrorCode::kIo)
        << body;
    EXPECT_EQ(aws.client()->query(kEc2, "A", {}).error().code, ErrorCode::kIo) << body;
  }
}

TEST(AwsClient, takes_an_empty_answer_for_one_without_members) {
  FakeAws aws(in_turn({FakeHttp::response(200, "")}));
  const auto answer = aws.client()->call(kSageMaker, "StopTrainingJob", Json::object());
  ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_TRUE(answer->empty());
}

TEST(AwsClient, ends_when_it_is_told_to) {
  std::stop_source stop;
  FakeAws aws([&](const FakeAws::Request&) {
    stop.request_stop();
    return FakeAws::refusal(400, "ThrottlingException");
  });
  const auto answer = aws.client()->call(kSageMaker, "A", Json::object(), stop.get_token());
  EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(aws.requests().size(), 1U);
}

}  // namespace
}  // namespace atl::aws
