// What AWS's services answer where they refuse, and what to tell the user.
//
// An AwsError is an Error ("SageMaker CreateTrainingJob: AccessDeniedException: …", with a hint) that still knows the
// service's own code, for callers to whom some of them are an answer. It becomes a plain Error where a Result is wanted.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "aws/service.h"
#include "base/error.h"
#include "storage/s3/http.h"

namespace atl::aws {

struct [[nodiscard]] AwsError : Error {
  AwsError() = default;
  // Not explicit: errors of other rooms pass through.
  AwsError(Error error) : Error(std::move(error)) {}

  std::string service_code;     // "ValidationException"; "" where there was no answer
  std::string service_message;  // printable and bounded; "" where it would show a secret
  int status = 0;               // of HTTP
  int tries =
      0;  // how often it was sent; after more than one, an earlier one may have been carried out
};

template <typename T>
using AwsResult = tl::expected<T, AwsError>;

struct Refusal {
  std::string code;     // without a namespace before '#' or a URL behind ':'
  std::string message;  // printable, of at most kMaxMessageBytes
};
constexpr size_t kMaxMessageBytes = 1000;

// All three forms: JSON's {"__type", "message"} with x-amzn-errortype, IAM's and STS' <ErrorResponse>, EC2's
// <Response><Errors>. A message that holds one of `secrets` is dropped. Bytes from outside.
Refusal parse_refusal(const storage::HttpResponse& response,
                      std::initializer_list<std::string_view> secrets);

// "sagemaker:CreateTrainingJob" or what the message says is missing: "iam:PassRole".
std::string permission_needed(const AwsService& service,
                              std::string_view operation,
                              std::string_view message);

// Whether the same request may be granted later: throttling, 5xx.
bool may_pass(int status, std::string_view code);
// The session is over: with other credentials the request may be good.
bool is_expired(std::string_view code);
// A signature that a wrong clock would explain.
bool may_be_clock(std::string_view code);

// kPermission, kNotFound, kConflict, kInvalidInput or kIo.
AwsError aws_error(const AwsService& service,
                   std::string_view operation,
                   int status,
                   Refusal refusal);

}  // namespace atl::aws
