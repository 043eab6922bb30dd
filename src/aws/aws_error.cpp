#include "aws/aws_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

namespace atl::aws {
namespace {

using Json = nlohmann::json;

template <size_t kCount>
bool is_one_of(std::string_view code, const std::array<std::string_view, kCount>& codes) {
  return std::ranges::find(codes, code) != codes.end();
}

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

// "com.amazonaws.sagemaker#ValidationException:http://internal.amazon.com/…": "ValidationException". Anything that is no
// code then is none.
std::string as_code(std::string_view text) {
  constexpr size_t kMaxCodeBytes = 100;
  if (const size_t hash = text.find('#'); hash != std::string_view::npos) {
    text.remove_prefix(hash + 1);
  }
  text = text.substr(0, text.find(':'));
  const bool plain = text.size() <= kMaxCodeBytes && std::ranges::all_of(text, [](char c) {
                       return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                     });
  return plain ? std::string(text) : std::string{};
}

std::string as_message(std::string_view text, std::initializer_list<std::string_view> secrets) {
  for (const std::string_view secret : secrets) {
    if (!secret.empty() && text.find(secret) != std::string_view::npos) return {};
  }
  // EC2 appends a kilobyte that only sts:DecodeAuthorizationMessage reads.
  text = text.substr(0, text.find(" Encoded authorization failure message:"));
  std::string message(text.substr(0, kMaxMessageBytes));
  for (char& c : message) {
    if (c < ' ' || c > '~') c = c == '\n' || c == '\t' ? ' ' : '?';
  }
  return message;
}

ErrorCode kind_of(int status, std::string_view code) {
  static constexpr auto kPermission =
      std::to_array<std::string_view>({"AccessDenied",
                                       "AccessDeniedException",
                                       "UnauthorizedOperation",
                                       "UnrecognizedClientException",
                                       "InvalidClientTokenId",
                                       "AuthFailure",
                                       "SignatureDoesNotMatch",
                                       "InvalidSignatureException",
                                       "IncompleteSignature",
                                       "IncompleteSignatureException",
                                       "MissingAuthenticationToken",
                                       "MissingAuthenticationTokenException",
                                       "NotAuthorized",
                                       "OptInRequired",
                                       "Blocked"});
  static constexpr auto kConflict =
      std::to_array<std::string_view>({"ResourceInUse",
                                       "ResourceInUseException",
                                       "ConflictException",
                                       "EntityAlreadyExists",
                                       "ResourceAlreadyExistsException"});
  static constexpr auto kInput = std::to_array<std::string_view>({"ValidationException",
                                                                  "ValidationError",
                                                                  "InvalidInput",
                                                                  "InvalidParameterException",
                                                                  "InvalidParameterValue",
                                                                  "InvalidParameterCombination",
                                                                  "MissingParameter",
                                                                  "SerializationException",
                                                                  "BadRequest"});
  if (is_expired(code) || is_one_of(code, kPermission)) return ErrorCode::kPermission;
  if (code == "NoSuchEntity" || code.starts_with("ResourceNotFound") ||
      code.ends_with("NotFound") || code.ends_with(".Malformed")) {
    return ErrorCode::kNotFound;
  }
  if (is_one_of(code, kConflict)) return ErrorCode::kConflict;
  if (is_one_of(code, kInput)) return ErrorCode::kInvalidInput;
  if (status == 401 || status == 403) return ErrorCode::kPermission;
  if (status == 404) return ErrorCode::kNotFound;
  return ErrorCode::kIo;
}

std::string hint_of(const AwsService& service, std::string_view operation, const AwsError& error) {
  const std::string& code = error.service_code;
  if (is_expired(code)) return "the session is over: get new credentials";
  if (code == "UnrecognizedClientException" || code == "InvalidClientTokenId" ||
      code == "AuthFailure") {
    return "AWS does not know these keys, or not in this region: check the profile, "
           "AWS_ACCESS_KEY_ID and AWS_REGION";
  }
  if (may_be_clock(code)) {
    return "the secret key does not belong to the access key, or this machine's clock is wrong";
  }
  if (code == "OptInRequired") return "the account is not subscribed to this service";
  if (code == "ResourceLimitExceeded") {
    return "ask for a higher quota under Service Quotas, or take another instance type or fewer";
  }
  if (error.code == ErrorCode::kPermission) {
    const std::string permission = permission_needed(service, operation, error.service_message);
    const bool denied = error.service_message.find("explicit deny") != std::string::npos;
    return denied ? fmt::format("a policy denies {} explicitly: it has to be changed there",
                                permission)
                  : fmt::format("the role or user that asks needs {}", permission);
  }
  if (may_pass(error.status, code)) return "try again later";
  return {};
}

}  // namespace

Refusal parse_refusal(const storage::HttpResponse& response,
                      std::initializer_list<std::string_view> secrets) {
  std::string code;
  std::string message;
  pugi::xml_document document;
  const std::string& body = response.body;
  if (const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false); json.is_object()) {
    code = text_of(json, "__type");
    message = text_of(json, json.contains("message") ? "message" : "Message");
  } else if (document.load_buffer(
                 body.data(), body.size(), pugi::parse_default, pugi::encoding_utf8)) {
    pugi::xml_node error = document.child("ErrorResponse").child("Error");
    if (!error) error = document.child("Response").child("Errors").child("Error");
    code = error.child_value("Code");
    message = error.child_value("Message");
  }
  if (code.empty()) code = response.header("x-amzn-errortype");
  Refusal refusal{as_code(code), {}};
  // These show what was signed, the session token in it.
  if (refusal.code != "SignatureDoesNotMatch" && refusal.code != "InvalidSignatureException") {
    refusal.message = as_message(message, secrets);
  }
  return refusal;
}

std::string permission_needed(const AwsService& service,
                              std::string_view operation,
                              std::string_view message) {
  constexpr std::string_view kBefore = "not authorized to perform: ";
  if (const size_t before = message.find(kBefore); before != std::string_view::npos) {
    std::string_view found = message.substr(before + kBefore.size());
    found = found.substr(0,
                         found.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-*"));
    const size_t colon = found.find(':');
    if (colon != 0 && colon != std::string_view::npos && colon + 1 < found.size()) {
      return std::string(found);
    }
  }
  return fmt::format("{}:{}", service.signing_name, operation);
}

bool may_pass(int status, std::string_view code) {
  static constexpr auto kPassing =
      std::to_array<std::string_view>({"Throttling",
                                       "ThrottlingException",
                                       "ThrottledException",
                                       "RequestThrottled",
                                       "RequestThrottledException",
                                       "TooManyRequestsException",
                                       "RequestLimitExceeded",
                                       "BandwidthLimitExceeded",
                                       "PriorRequestNotComplete",
                                       "TransactionInProgressException",
                                       "RequestTimeout",
                                       "RequestTimeoutException",
                                       "SlowDown",
                                       "InternalFailure",
                                       "InternalError",
                                       "InternalServerError",
                                       "InternalServerException",
                                       "ServiceUnavailable",
                                       "ServiceUnavailableException"});
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504 || is_one_of(code, kPassing);
}

bool is_expired(std::string_view code) {
  return code == "ExpiredToken" || code == "ExpiredTokenException" ||
         code == "TokenRefreshRequired";
}

bool may_be_clock(std::string_view code) {
  return code == "SignatureDoesNotMatch" || code == "InvalidSignatureException" ||
         code == "RequestTimeTooSkewed" || code == "RequestExpired" || code == "RequestInTheFuture";
}

AwsError aws_error(const AwsService& service,
                   std::string_view operation,
                   int status,
                   Refusal refusal) {
  AwsError error;
  error.status = status;
  error.service_code = std::move(refusal.code);
  error.service_message = std::move(refusal.message);
  error.code = kind_of(status, error.service_code);
  error.message = fmt::format("{} {}: ", service.name, operation);
  if (error.service_code.empty()) {
    error.message += fmt::format("the answer is {}", status);
  } else {
    error.message += error.service_code;
  }
  if (!error.service_message.empty()) {
    error.message.append(": ").append(error.service_message);
  }
  error.hint = hint_of(service, operation, error);
  return error;
}

}  // namespace atl::aws
