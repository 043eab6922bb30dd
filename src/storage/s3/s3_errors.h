// What an answer of S3's that is no success means: whether another try may help, and what to tell the user.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/http.h"
#include "storage/s3/s3_xml.h"

namespace atl::storage {

// 429, 500, 502, 503, 504 and those of S3's codes that mean the same under another status.
bool may_pass(int status, std::string_view code);
// The token has run out: with other credentials the request may be good.
bool is_expired_token(std::string_view code);
bool is_clock_skew(std::string_view code);

struct FailedRequest {
  std::string what;    // "GET s3://bucket/key"
  std::string method;  // for the permission that it needs
  bool is_listing = false;
  bool is_signed = true;
};
// kNotFound, kPermission, kConflict, kUnsupported (of what would change something) or kIo, with a hint.
Error s3_error(const FailedRequest& request, const HttpResponse& response, const S3ErrorBody& body);

}  // namespace atl::storage
