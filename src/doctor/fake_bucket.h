// For tests: a bucket as its answers, through the eyes of the checks.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "doctor/bucket_checks.h"

namespace atl::doctor {

class FakeBucket {
 public:
  // "PUT", "PUT if-none-match", "POST uploads", "DELETE", "DELETE uploadId", "GET list", "GET": in the order of the calls.
  std::vector<std::string> calls;
  std::vector<std::string> keys;
  // In the place of the answer that a healthy bucket gives.
  std::map<std::string, std::function<Result<storage::HttpResponse>()>> answers;
  std::string listing = listing_of({{"coco/a.jpg", 5000}});
  std::string region = "eu-central-1";
  Result<std::shared_ptr<const storage::Credentials>> credentials =
      std::make_shared<const storage::Credentials>(
          storage::Credentials{"AKIAEXAMPLE", "very secret", "", {}, "the environment"});

  static std::string listing_of(const std::vector<std::pair<std::string, int>>& objects) {
    std::string xml = "<ListBucketResult><IsTruncated>false</IsTruncated>";
    for (const auto& [key, size] : objects) {
      xml += fmt::format(
          "<Contents><Key>{}</Key><LastModified>2026-11-26T15:28:03.000Z</LastModified>"
          "<ETag>&quot;1&quot;</ETag><Size>{}</Size></Contents>",
          key,
          size);
    }
    return xml + "</ListBucketResult>";
  }
  static storage::HttpResponse response(int status, std::string body = {}) {
    storage::HttpResponse response;
    response.status = status;
    response.body_bytes = body.size();
    response.body = std::move(body);
    return response;
  }
  void refuse(const std::string& call,
              ErrorCode code,
              const std::string& message,
              const std::string& hint = {}) {
    answers[call] = [=] { return Result<storage::HttpResponse>(fail(code, message, hint)); };
  }
  void deny(const std::string& call) {
    refuse(
        call, ErrorCode::kPermission, call + " s3://bucket/coco: 403 AccessDenied", "ask somebody");
  }

  // Must not outlive this.
  std::shared_ptr<BucketAccess> access() {
    const auto access = std::make_shared<BucketAccess>();
    access->uri = "s3://bucket/coco";
    access->bucket = "bucket";
    access->prefix = "coco/";
    access->server = "AWS";
    access->server_url = "https://bucket.s3.eu-central-1.amazonaws.com/";
    access->region = "eu-central-1";
    access->credentials = [this] { return credentials; };
    access->region_found = [this] { return region; };
    access->perform = [this](const storage::S3Request& request, const std::stop_token&) {
      return answer(request);
    };
    access->http = [](const storage::HttpRequest&) {
      return Result<storage::HttpResponse>(response(403));
    };
    access->now = [] { return std::chrono::system_clock::time_point(std::chrono::hours(490000)); };
    return access;
  }

 private:
  Result<storage::HttpResponse> answer(const storage::S3Request& request) {
    std::string call = request.method;
    for (const auto& [name, value] : request.query) {
      if (name == "list-type") call += " list";
      if (name == "uploads" || name == "uploadId") call += " " + name;
    }
    for (const storage::HttpHeader& header : request.headers) {
      if (header.name == "If-None-Match") call += " if-none-match";
    }
    calls.push_back(call);
    keys.push_back(request.key);
    if (const auto found = answers.find(call); found != answers.end()) return found->second();
    if (call == "GET list") return response(200, listing);
    if (call == "GET") return response(206, std::string(1024, 'x'));
    if (call == "PUT if-none-match") return fail(ErrorCode::kConflict, "412");
    if (call == "POST uploads") {
      return response(200,
                      "<InitiateMultipartUploadResult><UploadId>u 1</UploadId>"
                      "</InitiateMultipartUploadResult>");
    }
    return response(request.method == "DELETE" ? 204 : 200);
  }
};

// A report that is a list.
class ReportList : public Report {
 public:
  std::vector<Finding> findings;
  void add(Finding finding) override { findings.push_back(std::move(finding)); }
  void step(Step /*step*/) override {}
};

// The one finding with this id.
inline Finding only_finding(const std::vector<Finding>& findings, std::string_view id) {
  EXPECT_EQ(std::ranges::count(findings, id, &Finding::id), 1) << id;
  const auto found = std::ranges::find(findings, id, &Finding::id);
  return found == findings.end() ? Finding{} : *found;
}

}  // namespace atl::doctor
