#include "storage/s3/s3_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace atl::storage {

namespace {

template <size_t kCount>
bool is_one_of(std::string_view code, const std::array<std::string_view, kCount>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

std::string_view permission_for(const FailedRequest& request) {
  if (request.is_listing) return "s3:ListBucket";
  if (request.method == "PUT" || request.method == "POST") return "s3:PutObject";
  if (request.method == "DELETE") return "s3:DeleteObject";
  return "s3:GetObject";
}

std::string permission_hint(const FailedRequest& request, std::string_view code) {
  if (!request.is_signed) {
    return "the request went unsigned: the bucket is not public, and no credentials were given";
  }
  if (code == "InvalidAccessKeyId") {
    return "the server does not know this access key: check AWS_ACCESS_KEY_ID or the profile, and "
           "that the endpoint is "
           "the one that issued the key";
  }
  if (code == "SignatureDoesNotMatch") {
    return "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or the "
           "profile";
  }
  if (is_expired_token(code) || code == "InvalidToken") {
    return "the session token is not valid any more: get new credentials";
  }
  if (is_clock_skew(code)) return "this machine's clock is wrong: set it";
  return fmt::format(
      "check that the role or user may do {}, the bucket's policy and, for an encrypted bucket, "
      "its key's policy, and the "
      "region",
      permission_for(request));
}

ErrorCode error_code(const FailedRequest& request, int status, std::string_view code) {
  if (status == 404) return ErrorCode::kNotFound;
  if (status == 401 || status == 403 || is_expired_token(code)) return ErrorCode::kPermission;
  if (status == 412 || (status == 409 && code == "ConditionalRequestConflict")) {
    return ErrorCode::kConflict;
  }
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads && (status == 501 || code == "NotImplemented")) return ErrorCode::kUnsupported;
  return ErrorCode::kIo;
}

std::string hint(const FailedRequest& request, ErrorCode kind, int status, std::string_view code) {
  if (kind == ErrorCode::kPermission) return permission_hint(request, code);
  if (code == "NoSuchBucket") return "check the bucket's name, the endpoint and the account";
  if (status == 301 || status == 307 || status == 308) {
    return "the bucket is in another region: set AWS_REGION to it";
  }
  if (kind == ErrorCode::kUnsupported) return "this server lacks a part of S3 that is needed here";
  return {};
}

}  // namespace

bool may_pass(int status, std::string_view code) {
  static constexpr std::array<std::string_view, 7> kPassingCodes = {"RequestTimeout",
                                                                    "SlowDown",
                                                                    "InternalError",
                                                                    "ServiceUnavailable",
                                                                    "OperationAborted",
                                                                    "ConditionalRequestConflict",
                                                                    "RequestTimeoutException"};
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504 || is_one_of(code, kPassingCodes);
}

bool is_expired_token(std::string_view code) {
  static constexpr std::array<std::string_view, 4> kCodes = {
      "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"};
  return is_one_of(code, kCodes);
}

bool is_clock_skew(std::string_view code) { return code == "RequestTimeTooSkewed"; }

Error s3_error(const FailedRequest& request,
               const HttpResponse& response,
               const S3ErrorBody& body) {
  const ErrorCode code = error_code(request, response.status, body.code);
  std::string message = fmt::format("{}: {}", request.what, response.status);
  // Both come from the server and stand in a line for a person.
  const auto add = [&message](std::string_view before, std::string_view text) {
    if (text.empty()) return;
    message += before;
    for (const char c : text.substr(0, 200))
      message += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  };
  add(" ", body.code);
  add(": ", body.message);
  if (message.ends_with(fmt::format(": {}", response.status))) {
    if (code == ErrorCode::kNotFound) message += " no such object or bucket";
    if (code == ErrorCode::kPermission) message += " refused";
    if (code == ErrorCode::kConflict) message += " it is another one by now";
  }
  return {code, std::move(message), hint(request, code, response.status, body.code), {}};
}

}  // namespace atl::storage
