#include "doctor/bucket_checks.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "doctor/fake_bucket.h"

namespace atl::doctor {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class BucketChecks : public testing::Test {
 protected:
  std::vector<Finding> look(BucketUse use = {
                                .writes = true, .has_data = true, .probe_name = "probe"}) {
    ReportList report;
    check_bucket(*access_, use, true, report, {});
    return report.findings;
  }
  Finding only(std::string_view id) { return only_finding(look(), id); }

  FakeBucket bucket_;
  std::shared_ptr<BucketAccess> access_ = bucket_.access();
};

TEST_F(BucketChecks, a_healthy_bucket_has_nothing_but_good_findings) {
  const auto findings = look();
  std::vector<std::string_view> ids;
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.severity, Severity::kOk) << finding.what;
    ids.push_back(finding.id);
  }
  EXPECT_THAT(ids,
              ElementsAre(id::kCredentials,
                          id::kBucket,
                          id::kBucketList,
                          id::kBucketGet,
                          id::kBucketPut,
                          id::kBucketConditions,
                          id::kBucketMultipart,
                          id::kBucketDelete));
  EXPECT_THAT(bucket_.calls,
              ElementsAre("GET list",
                          "GET",
                          "PUT",
                          "PUT if-none-match",
                          "POST uploads",
                          "DELETE uploadId",
                          "DELETE"));
  EXPECT_EQ(bucket_.keys[1], "coco/a.jpg");
  for (size_t i = 2; i < bucket_.keys.size(); ++i) EXPECT_EQ(bucket_.keys[i], "coco/probe");
}

TEST_F(BucketChecks, nothing_is_written_where_nobody_writes) {
  look({.writes = false, .has_data = true, .probe_name = "probe"});
  EXPECT_THAT(bucket_.calls, ElementsAre("GET list", "GET"));
}

TEST_F(BucketChecks, no_secret_is_shown) {
  bucket_.credentials = std::make_shared<const storage::Credentials>(
      storage::Credentials{"AKIAEXAMPLE", "very secret", "a token", {}, "profile 'dev'"});
  for (const Finding& finding : look()) {
    for (const char* secret : {"AKIAEXAMPLE", "very secret", "a token"}) {
      EXPECT_THAT(line_of(finding, true), Not(HasSubstr(secret)));
    }
  }
  EXPECT_THAT(only(id::kCredentials).what, HasSubstr("profile 'dev'"));
}

TEST_F(BucketChecks, temporary_keys_that_nobody_renews_are_told) {
  bucket_.credentials = std::make_shared<const storage::Credentials>(
      storage::Credentials{"A", "s", "token", {}, "the environment"});
  EXPECT_EQ(only(id::kCredentials).severity, Severity::kWarning);
  EXPECT_THAT(only(id::kCredentials).why, HasSubstr("ExpiredToken"));
}

TEST_F(BucketChecks, keys_near_their_end_are_told) {
  const auto until = [&](std::chrono::seconds left) {
    bucket_.credentials = std::make_shared<const storage::Credentials>(
        storage::Credentials{"A", "s", "token", access_->now() + left, "the instance"});
    return only(id::kCredentials);
  };
  EXPECT_EQ(until(std::chrono::hours(6)).severity, Severity::kOk);
  EXPECT_THAT(until(std::chrono::hours(6)).what, HasSubstr("good for 6 h"));
  EXPECT_EQ(until(std::chrono::minutes(5)).severity, Severity::kWarning);
  EXPECT_EQ(until(-std::chrono::minutes(5)).severity, Severity::kWarning);
}

TEST_F(BucketChecks, without_credentials_nothing_else_is_asked) {
  bucket_.credentials =
      fail(ErrorCode::kPermission, "there are no AWS credentials", "set AWS_PROFILE");
  const auto findings = look();
  EXPECT_THAT(findings, testing::SizeIs(1));
  EXPECT_EQ(findings[0].severity, Severity::kFailure);
  EXPECT_EQ(findings[0].mend, "set AWS_PROFILE");
  EXPECT_THAT(bucket_.calls, IsEmpty());
}

TEST_F(BucketChecks, a_public_bucket_needs_none) {
  bucket_.credentials = std::shared_ptr<const storage::Credentials>();
  EXPECT_EQ(only(id::kCredentials).severity, Severity::kNote);
}

TEST_F(BucketChecks, keys_that_the_server_does_not_know_are_a_matter_of_credentials) {
  bucket_.refuse("GET list",
                 ErrorCode::kPermission,
                 "GET s3://bucket: 403 InvalidAccessKeyId",
                 "check the profile");
  const auto findings = look();
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.back().id, id::kCredentials);
  EXPECT_EQ(findings.back().severity, Severity::kFailure);
  EXPECT_EQ(findings.back().mend, "check the profile");
  EXPECT_THAT(bucket_.calls, ElementsAre("GET list"));
}

TEST_F(BucketChecks, a_bucket_that_is_not_there_or_does_not_answer_ends_it) {
  bucket_.refuse(
      "GET list", ErrorCode::kNotFound, "GET s3://bucket: 404 NoSuchBucket", "check the name");
  EXPECT_EQ(only(id::kBucket).severity, Severity::kFailure);
  EXPECT_EQ(only(id::kBucket).mend, "check the name");
  bucket_.refuse("GET list", ErrorCode::kIo, "could not resolve host");
  EXPECT_EQ(only(id::kBucket).severity, Severity::kFailure);
  EXPECT_FALSE(only(id::kBucket).mend.empty());
  EXPECT_THAT(bucket_.calls, Each("GET list"));
}

TEST_F(BucketChecks, what_is_no_s3_is_told) {
  bucket_.listing = "<html>login</html>";
  EXPECT_EQ(only(id::kBucketList).severity, Severity::kFailure);
  EXPECT_THAT(only(id::kBucketList).mend, HasSubstr("--endpoint-url"));
}

// The statement that the mend ends in, as JSON.
nlohmann::json statement_of(const Finding& finding) {
  const size_t begin = finding.mend.find('{');
  const size_t end = finding.mend.find('}');
  if (begin == std::string::npos || end == std::string::npos) return {};
  return nlohmann::json::parse(finding.mend.substr(begin, end + 1 - begin));
}

TEST_F(BucketChecks, a_refusal_comes_with_the_statement_that_the_policy_lacks) {
  const auto expect = [&](const std::string& call,
                          std::string_view id,
                          const char* action,
                          const char* resource,
                          Severity severity = Severity::kFailure) {
    bucket_.answers.clear();
    bucket_.deny(call);
    const Finding finding = only(id);
    EXPECT_EQ(finding.severity, severity) << call;
    EXPECT_EQ(statement_of(finding),
              nlohmann::json({{"Effect", "Allow"}, {"Action", action}, {"Resource", resource}}))
        << finding.mend;
  };
  expect("GET list", id::kBucketList, "s3:ListBucket", "arn:aws:s3:::bucket");
  expect("GET", id::kBucketGet, "s3:GetObject", "arn:aws:s3:::bucket/coco/*");
  expect("PUT", id::kBucketPut, "s3:PutObject", "arn:aws:s3:::bucket/coco/*");
  expect("POST uploads", id::kBucketMultipart, "s3:PutObject", "arn:aws:s3:::bucket/coco/*");
  expect("DELETE uploadId",
         id::kBucketMultipart,
         "s3:AbortMultipartUpload",
         "arn:aws:s3:::bucket/coco/*",
         Severity::kWarning);
  expect("DELETE", id::kBucketDelete, "s3:DeleteObject", "arn:aws:s3:::bucket/coco/*");
  bucket_.region = access_->region = "cn-north-1";
  expect("GET", id::kBucketGet, "s3:GetObject", "arn:aws-cn:s3:::bucket/coco/*");
}

TEST_F(BucketChecks, what_could_not_be_removed_is_named_with_the_command_that_removes_it) {
  bucket_.deny("DELETE uploadId");
  bucket_.deny("DELETE");
  EXPECT_THAT(
      only(id::kBucketMultipart).mend,
      HasSubstr(
          "aws s3api abort-multipart-upload --bucket bucket --key coco/probe --upload-id 'u 1'"));
  EXPECT_THAT(only(id::kBucketDelete).mend, HasSubstr("aws s3 rm s3://bucket/coco/probe"));
}

TEST_F(BucketChecks, the_probe_goes_away_also_when_its_put_got_no_answer) {
  bucket_.refuse("PUT", ErrorCode::kIo, "connection reset");
  EXPECT_EQ(only(id::kBucketPut).severity, Severity::kFailure);
  EXPECT_EQ(bucket_.calls.back(), "DELETE");
}

TEST_F(BucketChecks, the_probe_goes_away_also_when_what_comes_between_fails) {
  bucket_.refuse("PUT if-none-match", ErrorCode::kIo, "connection reset");
  bucket_.refuse("POST uploads", ErrorCode::kIo, "connection reset");
  look();
  EXPECT_EQ(bucket_.calls.back(), "DELETE");
}

TEST_F(BucketChecks, a_key_of_kms_that_refuses_is_told_by_its_own_permission) {
  bucket_.refuse(
      "GET",
      ErrorCode::kPermission,
      "403 AccessDenied: User is not authorized to perform: kms:Decrypt on the resource");
  EXPECT_EQ(statement_of(only(id::kBucketGet))["Action"],
            nlohmann::json({"kms:Decrypt", "kms:GenerateDataKey"}));
}

TEST_F(BucketChecks, an_archived_object_is_told) {
  bucket_.refuse(
      "GET", ErrorCode::kPermission, "403 InvalidObjectState: not valid for its storage class");
  EXPECT_THAT(only(id::kBucketGet).mend, HasSubstr("restore-object"));
}

TEST_F(BucketChecks, a_server_without_ranges_or_conditions_is_told) {
  bucket_.answers["GET"] = [] { return FakeBucket::response(200, std::string(5000, 'x')); };
  EXPECT_EQ(only(id::kBucketGet).severity, Severity::kFailure);
  bucket_.answers["PUT if-none-match"] = [] { return FakeBucket::response(200); };
  EXPECT_EQ(only(id::kBucketConditions).severity, Severity::kWarning);
  bucket_.refuse("PUT if-none-match", ErrorCode::kUnsupported, "501 NotImplemented");
  EXPECT_EQ(only(id::kBucketConditions).severity, Severity::kWarning);
}

TEST_F(BucketChecks, an_empty_place_is_a_failure_only_for_data) {
  bucket_.listing = FakeBucket::listing_of({});
  EXPECT_EQ(only(id::kBucketList).severity, Severity::kFailure);
  EXPECT_THAT(only(id::kBucketList).mend, HasSubstr("aws s3 ls s3://bucket/"));
  const auto findings = look({.writes = false, .has_data = false, .probe_name = "probe"});
  EXPECT_EQ(only_finding(findings, id::kBucketList).severity, Severity::kOk);
  // Markers of directories have no bytes to be read.
  bucket_.listing = FakeBucket::listing_of({{"coco/", 0}, {"coco/b", 3000}});
  EXPECT_THAT(only(id::kBucketGet).what, HasSubstr("coco/b"));
}

TEST_F(BucketChecks, another_region_is_slow_and_paid_for) {
  bucket_.region = "us-west-2";
  EXPECT_EQ(only(id::kBucketRegion).severity, Severity::kWarning);
  EXPECT_THAT(only(id::kBucketRegion).what,
              AllOf(HasSubstr("us-west-2"), HasSubstr("eu-central-1")));
  access_->region = "";
  EXPECT_EQ(only(id::kBucketRegion).severity, Severity::kNote);
  EXPECT_EQ(only(id::kBucketRegion).mend, "export AWS_REGION=us-west-2");
  access_->is_aws = false;
  for (const Finding& finding : look()) EXPECT_NE(finding.id, id::kBucketRegion);
}

TEST_F(BucketChecks, a_bucket_with_versions_keeps_what_is_removed) {
  bucket_.answers["PUT"] = [] {
    auto response = FakeBucket::response(200);
    response.headers = {{"x-amz-version-id", "3HL4kqCxf3vjVBH40Nr8X8gdRQBpUMLUo"}};
    return response;
  };
  EXPECT_EQ(only(id::kBucketPut).severity, Severity::kNote);
  EXPECT_THAT(only(id::kBucketPut).mend, HasSubstr("NoncurrentVersionExpiration"));
}

TEST_F(BucketChecks, the_servers_date_is_held_against_this_clock) {
  const auto look_at = [&](Result<storage::HttpResponse> answer) {
    access_->http = [answer](const storage::HttpRequest&) { return answer; };
    return server_clock_finding(*access_);
  };
  auto response = FakeBucket::response(403);
  EXPECT_EQ(look_at(response).severity, Severity::kNote);  // no Date
  response.headers = {{"date", "Tue, 25 Nov 2025 15:28:03 GMT"}};
  EXPECT_EQ(look_at(response).severity, Severity::kFailure);
  EXPECT_EQ(look_at(fail(ErrorCode::kIo, "no route")).severity, Severity::kNote);
}

TEST(ProbeName, is_hidden_from_readers_and_nobody_elses) {
  const std::chrono::system_clock::time_point now{std::chrono::hours(490000)};
  const std::string name = make_probe_name("gpu01", 7, now);
  EXPECT_THAT(name, StartsWith(".atoll-tmp-"));
  EXPECT_NE(name, make_probe_name("gpu02", 7, now));
  EXPECT_NE(name, make_probe_name("gpu01", 8, now));
  EXPECT_NE(name, make_probe_name("gpu01", 7, now + std::chrono::microseconds(1)));
}

}  // namespace
}  // namespace atl::doctor
