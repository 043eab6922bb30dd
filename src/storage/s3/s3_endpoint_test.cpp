#include "storage/s3/s3_endpoint.h"

#include <gtest/gtest.h>

#include "storage/s3/s3_remote.h"

namespace atl::storage {
namespace {

// "SCHEME://HOST PATH"
std::string address(std::string bucket,
                    std::string_view url,
                    std::optional<bool> path_style,
                    std::string_view key = "k/x",
                    std::string_view region = "eu-west-1") {
  const auto endpoint = S3Endpoint::make(std::move(bucket), url, path_style);
  if (!endpoint) return endpoint.error().to_string();
  const auto request = endpoint->request(key, region);
  return request.scheme + "://" + request.host + " " + request.path;
}

TEST(S3Endpoint, aws_is_asked_by_virtual_host_where_the_name_allows_it) {
  EXPECT_EQ(address("b", "", std::nullopt), "https://b.s3.eu-west-1.amazonaws.com /k/x");
  EXPECT_EQ(address("b", "", std::nullopt, ""), "https://b.s3.eu-west-1.amazonaws.com /");
  EXPECT_EQ(address("b", "", true), "https://s3.eu-west-1.amazonaws.com /b/k/x");
  EXPECT_EQ(address("b.c", "", std::nullopt), "https://s3.eu-west-1.amazonaws.com /b.c/k/x");
  EXPECT_EQ(address("Old_Bucket", "", false), "https://s3.eu-west-1.amazonaws.com /Old_Bucket/k/x");
  EXPECT_EQ(address("b", "", std::nullopt, "k", "cn-north-1"),
            "https://b.s3.cn-north-1.amazonaws.com.cn /k");
}

TEST(S3Endpoint, another_endpoint_is_asked_by_path_unless_told_otherwise) {
  EXPECT_EQ(address("b", "http://127.0.0.1:7480", std::nullopt), "http://127.0.0.1:7480 /b/k/x");
  EXPECT_EQ(address("b", "http://h:7480/", std::nullopt, ""), "http://h:7480 /b");
  EXPECT_EQ(address("b", "https://h/base/", std::nullopt), "https://h /base/b/k/x");
  EXPECT_EQ(address("b", "https://h:9000", false), "https://b.h:9000 /k/x");
  EXPECT_EQ(address("b", "http://h", std::nullopt, "/lead//x"), "http://h /b//lead//x");
}

TEST(S3Endpoint, a_port_that_goes_without_saying_is_not_in_the_signed_host) {
  EXPECT_EQ(address("b", "http://h:80", std::nullopt), "http://h /b/k/x");
  EXPECT_EQ(address("b", "https://h:443", std::nullopt), "https://h /b/k/x");
  EXPECT_EQ(address("b", "http://h:443", std::nullopt), "http://h:443 /b/k/x");
}

TEST(S3Endpoint, what_is_no_bucket_or_no_url_is_refused) {
  for (const char* bucket : {"", "a/b", "..", "-a", "a b", "a?b", "arn:aws:s3:::b"}) {
    const auto endpoint = S3Endpoint::make(bucket, "", std::nullopt);
    ASSERT_FALSE(endpoint.has_value()) << bucket;
    EXPECT_EQ(endpoint.error().code, ErrorCode::kInvalidInput);
  }
  for (const char* url :
       {"h:80", "ftp://h", "http://", "http://user@h", "http://h?x", "http://h/a b"}) {
    EXPECT_FALSE(S3Endpoint::make("b", url, std::nullopt).has_value()) << url;
  }
}

TEST(S3Endpoint, a_uri_is_a_bucket_and_a_prefix) {
  for (const auto& [uri, bucket, prefix] : {std::tuple("s3://b", "b", ""),
                                            std::tuple("s3://b/", "b", ""),
                                            std::tuple("s3://b/p/q", "b", "p/q/"),
                                            std::tuple("s3://b/p/q//", "b", "p/q/")}) {
    const auto location = parse_s3_uri(uri);
    ASSERT_TRUE(location.has_value()) << uri;
    EXPECT_EQ(location->bucket, bucket);
    EXPECT_EQ(location->prefix, prefix);
  }
  for (const char* uri : {"", "s3:/b", "S3://b", "s3://", "s3:///x", "/b"}) {
    EXPECT_FALSE(parse_s3_uri(uri).has_value()) << uri;
  }
}

}  // namespace
}  // namespace atl::storage
