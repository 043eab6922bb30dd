// What atoll doctor finds in buckets of a server that somebody else wrote and that knows policies.
#include <gmock/gmock.h>
#include <stdlib.h>

#include "doctor/bucket_checks.h"
#include "doctor/fake_bucket.h"
#include "s3_server.h"

namespace atl::doctor {
namespace {

using storage::Credentials;
using testing::HasSubstr;

class DoctorBucketTest : public storage::S3ServerTest {
 protected:
  void SetUp() override {
    S3ServerTest::SetUp();
    if (!server_) return;
    ::setenv("AWS_ENDPOINT_URL_S3", server_->endpoint_url.c_str(), 1);
    ::setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    ::setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    ::setenv("AWS_REGION", "us-east-1", 1);
  }

  std::vector<Finding> look_as(const Credentials& user, const std::string& uri) {
    ::setenv("AWS_ACCESS_KEY_ID", user.access_key_id.c_str(), 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", user.secret_access_key.c_str(), 1);
    const auto access = open_bucket_access(uri);
    EXPECT_TRUE(access.has_value()) << access.error().to_string();
    if (!access) return {};
    ReportList report;
    check_bucket(
        **access, {.writes = true, .has_data = true, .probe_name = kProbe}, true, report, {});
    return report.findings;
  }
  std::vector<Finding> look_as(const Credentials& user) { return look_as(user, uri()); }
  std::string uri() const { return "s3://" + bucket_ + "/coco"; }

  void put(const std::string& key, std::string_view query, std::string_view content) {
    storage::S3Request request;
    request.method = "PUT";
    request.key = key;
    if (!query.empty()) request.query = {{std::string(query), ""}};
    const auto bytes = std::as_bytes(std::span(content));
    request.body = storage::Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
    const auto put = client(server_->user)->perform(std::move(request)).response;
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
  }
  // What everybody may do.
  void allow(const std::string& actions) {
    put("",
        "policy",
        fmt::format(
            R"({{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":[{}],)"
            R"("Resource":["arn:aws:s3:::{}","arn:aws:s3:::{}/*"]}}]}})",
            actions,
            bucket_,
            bucket_));
  }
  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    const auto page = remote()->list_page("", "");
    EXPECT_TRUE(page.has_value());
    if (!page) return keys;
    for (const auto& object : page->objects) keys.push_back(object.key);
    return keys;
  }
  static const Finding* find(const std::vector<Finding>& findings, std::string_view id) {
    for (const Finding& finding : findings) {
      if (finding.id == id) return &finding;
    }
    return nullptr;
  }
  static Severity severity(const std::vector<Finding>& findings, std::string_view id) {
    const Finding* const finding = find(findings, id);
    EXPECT_NE(finding, nullptr) << id;
    return finding == nullptr ? Severity::kOk : finding->severity;
  }

  static constexpr const char* kProbe = ".atoll-tmp-doctor-test";
};

TEST_F(DoctorBucketTest, a_bucket_of_ours_is_well_and_left_as_it_was) {
  put("coco/a.jpg", "", std::string(3000, 'x'));
  const auto findings = look_as(server_->user);
  EXPECT_EQ(findings.size(), 8u);
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.severity, Severity::kOk) << line_of(finding, true);
  }
  EXPECT_THAT(keys(), testing::ElementsAre("coco/a.jpg"));
}

TEST_F(DoctorBucketTest, somebody_elses_bucket_is_refused_with_the_permissions) {
  put("coco/a.jpg", "", "some bytes");
  const auto findings = look_as(server_->other_user);
  EXPECT_EQ(severity(findings, id::kCredentials), Severity::kOk);
  EXPECT_EQ(severity(findings, id::kBucketList), Severity::kFailure);
  EXPECT_THAT(find(findings, id::kBucketList)->mend, HasSubstr("s3:ListBucket"));
  EXPECT_EQ(severity(findings, id::kBucketPut), Severity::kFailure);
  EXPECT_THAT(find(findings, id::kBucketPut)->mend, HasSubstr("s3:PutObject"));
}

TEST_F(DoctorBucketTest, a_permission_that_is_missing_is_named_and_what_stays_is_told) {
  put("coco/a.jpg", "", "some bytes");
  allow(R"("s3:ListBucket","s3:PutObject")");
  auto findings = look_as(server_->other_user);
  EXPECT_EQ(severity(findings, id::kBucketList), Severity::kOk);
  EXPECT_EQ(severity(findings, id::kBucketGet), Severity::kFailure);
  EXPECT_THAT(find(findings, id::kBucketGet)->mend, HasSubstr("s3:GetObject"));
  EXPECT_EQ(severity(findings, id::kBucketPut), Severity::kOk);
  EXPECT_EQ(severity(findings, id::kBucketDelete), Severity::kFailure);
  EXPECT_THAT(
      find(findings, id::kBucketDelete)->mend,
      testing::AllOf(HasSubstr("s3:DeleteObject"), HasSubstr("aws s3 rm " + uri() + "/" + kProbe)));
  EXPECT_THAT(keys(), testing::Contains(std::string("coco/") + kProbe));
  allow(
      R"("s3:ListBucket","s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload")");
  findings = look_as(server_->other_user);
  EXPECT_EQ(exit_code(findings), 0);
  EXPECT_THAT(keys(), testing::ElementsAre("coco/a.jpg"));
}

TEST_F(DoctorBucketTest, a_wrong_secret_is_a_matter_of_credentials) {
  Credentials wrong = server_->user;
  wrong.secret_access_key = "wrong";
  const auto findings = look_as(wrong);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.back().id, id::kCredentials);
  EXPECT_EQ(findings.back().severity, Severity::kFailure);
  EXPECT_THAT(findings.back().mend, HasSubstr("secret key"));
}

TEST_F(DoctorBucketTest, a_bucket_that_is_not_there_is_told) {
  const auto findings = look_as(server_->user, "s3://" + bucket_ + "-mistyped/coco");
  EXPECT_EQ(severity(findings, id::kBucket), Severity::kFailure);
  EXPECT_THAT(find(findings, id::kBucket)->mend, HasSubstr("name"));
}

TEST_F(DoctorBucketTest, a_server_that_is_not_there_is_told) {
  ::setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", 1);
  EXPECT_EQ(severity(look_as(server_->user), id::kBucket), Severity::kFailure);
}

TEST_F(DoctorBucketTest, the_server_says_what_time_it_is) {
  ::setenv("AWS_ACCESS_KEY_ID", "x", 1);
  const auto access = open_bucket_access(uri());
  ASSERT_TRUE(access.has_value()) << access.error().to_string();
  EXPECT_EQ(server_clock_finding(**access).severity, Severity::kOk);
  auto late = **access;
  late.now = [] { return std::chrono::system_clock::now() + std::chrono::hours(1); };
  EXPECT_EQ(server_clock_finding(late).severity, Severity::kFailure)
      << line_of(server_clock_finding(late), true);
}

}  // namespace
}  // namespace atl::doctor
