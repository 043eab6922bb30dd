#include "storage/s3/s3_endpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/aws_config.h"

namespace atl::storage {

namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// AWS's rules are stricter, older buckets' and other servers' are not.
bool is_bucket(std::string_view name) {
  return !name.empty() && name.size() <= 255 && is_letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '-' || c == '_';
         });
}

// Whether it can be the first label of a host name under one certificate.
bool is_label(std::string_view name) {
  return name.size() <= 63 && name.back() != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

Result<S3Endpoint> S3Endpoint::make(std::string bucket,
                                    std::string_view url,
                                    std::optional<bool> path_style) {
  if (!is_bucket(bucket)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("'{}' is no bucket's name", bucket),
                "a bucket is written s3://BUCKET or s3://BUCKET/PREFIX");
  }
  S3Endpoint endpoint;
  endpoint.bucket_ = std::move(bucket);
  const bool can_be_virtual = is_label(endpoint.bucket_);
  if (url.empty()) {
    endpoint.path_style_ = path_style.value_or(!can_be_virtual) || !can_be_virtual;
    return endpoint;
  }
  const size_t scheme = url.find("://");
  endpoint.scheme_ = url.substr(0, scheme == std::string_view::npos ? 0 : scheme);
  if (endpoint.scheme_ != "http" && endpoint.scheme_ != "https") {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("the endpoint '{}' is no http:// or https:// URL", url));
  }
  url.remove_prefix(scheme + 3);
  const size_t slash = std::min(url.find('/'), url.size());
  endpoint.host_ = url.substr(0, slash);
  endpoint.base_ = url.substr(slash);
  while (endpoint.base_.ends_with('/')) endpoint.base_.pop_back();
  if (endpoint.host_.empty() || endpoint.host_.find_first_of("@?# ") != std::string::npos ||
      endpoint.base_.find_first_of("?# ") != std::string::npos) {
    return fail(ErrorCode::kInvalidInput, fmt::format("the endpoint '{}' names no host", url));
  }
  // The Host header has no port that goes without saying, and the signature covers it.
  const std::string_view own_port = endpoint.scheme_ == "http" ? ":80" : ":443";
  if (endpoint.host_.ends_with(own_port))
    endpoint.host_.resize(endpoint.host_.size() - own_port.size());
  endpoint.path_style_ = path_style.value_or(true) || !can_be_virtual;
  return endpoint;
}

UnsignedRequest S3Endpoint::request(std::string_view key, std::string_view region) const {
  UnsignedRequest request;
  request.scheme = scheme_;
  const std::string host = is_aws() ? fmt::format("s3.{}.{}", region, aws_domain(region)) : host_;
  if (path_style_) {
    request.host = host;
    request.path = fmt::format("{}/{}", base_, bucket_);
    if (!key.empty()) request.path += fmt::format("/{}", key);
  } else {
    request.host = fmt::format("{}.{}", bucket_, host);
    request.path = fmt::format("{}/{}", base_, key);
  }
  return request;
}

std::string S3Endpoint::identity() const {
  return is_aws() ? "aws" : fmt::format("{}://{}{}", scheme_, host_, base_);
}

}  // namespace atl::storage
