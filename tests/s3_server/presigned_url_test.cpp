// Presigned URLs, which only the signer makes and nothing else of ours sends, at a server that verifies them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "s3_server.h"
#include "storage/s3/signer.h"

namespace atl::storage {
namespace {

class PresignedUrlTest : public S3ServerTest {
 protected:
  HttpResponse send(const std::string& method, const std::string& url, std::string_view body = {}) {
    HttpRequest request;
    request.method = method;
    request.url = url;
    const auto bytes = std::as_bytes(std::span(body));
    request.body = Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
    auto response = engine_->perform(request);
    EXPECT_TRUE(response.has_value()) << response.error().to_string();
    return response.value_or(HttpResponse{});
  }

  std::string url(const std::string& method,
                  const std::string& key,
                  const Credentials& user,
                  std::chrono::system_clock::time_point now) const {
    const std::string scheme = server_->endpoint_url.substr(0, server_->endpoint_url.find(':'));
    return presign({.method = method,
                    .scheme = scheme,
                    .host = fmt::format("{}:{}", server_->host, server_->port),
                    .path = "/" + bucket_ + "/" + key,
                    .query = {{"response-content-type", "text/x & y"}}},
                   user,
                   {.region = "us-east-1"},
                   now,
                   std::chrono::seconds(60));
  }
};

TEST_F(PresignedUrlTest, writes_and_reads_a_key_of_any_characters) {
  const auto now = std::chrono::system_clock::now();
  for (const std::string key :
       {"plain", "a b+c%20&=?#;:@$'()*!~", "deep/ü/日本/🙂", "a//b/../c/."}) {
    EXPECT_EQ(send("PUT", url("PUT", key, server_->user, now), "body of " + key).status, 200)
        << key;
    const HttpResponse read = send("GET", url("GET", key, server_->user, now));
    EXPECT_EQ(read.status, 200) << key;
    EXPECT_EQ(read.body, "body of " + key);
    EXPECT_EQ(read.header("content-type"), "text/x & y");
  }
}

TEST_F(PresignedUrlTest, is_good_for_what_it_was_signed_for_only) {
  const auto now = std::chrono::system_clock::now();
  const std::string right = url("GET", "key", server_->user, now);
  ASSERT_EQ(send("PUT", url("PUT", "key", server_->user, now), "x").status, 200);
  ASSERT_EQ(send("GET", right).status, 200);
  EXPECT_EQ(send("DELETE", right).status, 403);
  std::string other_key = right;
  other_key.replace(right.find("/key?"), 4, "/kex");
  EXPECT_EQ(send("GET", other_key).status, 403);
  EXPECT_EQ(send("GET", right + "&versionId=null").status, 403);
  EXPECT_EQ(send("GET", url("GET", "key", server_->user, now - std::chrono::hours(1))).status, 403);
  Credentials wrong = server_->user;
  wrong.secret_access_key += "x";
  EXPECT_EQ(send("GET", url("GET", "key", wrong, now)).status, 403);
}

}  // namespace
}  // namespace atl::storage
