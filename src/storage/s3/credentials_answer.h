// What those who hand out credentials answer: JSON of a program, a container's or an instance's endpoint, XML
// of STS. Bytes from outside; no message shows a value of an answer but an error's code and, where it names none of
// our secrets, its text.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/credentials.h"

namespace atl::storage {

// No answer is longer, by far.
inline constexpr size_t kMaxCredentialsAnswerBytes = size_t{64} << 10;

enum class CredentialsJson {
  kProcess,   // {"Version": 1, "AccessKeyId", "SecretAccessKey", "SessionToken"?, "Expiration"?}
  kEndpoint,  // {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "Code"?: "Success"}
};

// `source` begins the messages. kPermission where the answer is a refusal, kIo for an answer of another form.
Result<Credentials> parse_credentials_json(std::string_view text,
                                           CredentialsJson kind,
                                           std::string_view source);

// The answer to `action`, "AssumeRole" or "AssumeRoleWithWebIdentity".
Result<Credentials> parse_sts_answer(std::string_view xml,
                                     std::string_view action,
                                     std::string_view source);

struct ServiceError {
  std::string code;     // "AccessDenied"; "" where the answer has none
  std::string message;  // printable and short; may be ""
};
// STS's XML, or an endpoint's {"code": …, "message": …}. `secrets` is what the message may not hold: one that does is
// dropped.
ServiceError parse_service_error(std::string_view body,
                                 std::initializer_list<std::string_view> secrets);

// Whether these can be signed with and sent as headers; kInvalidInput, and what is wrong, where not.
Result<void> check_credentials(const Credentials& credentials, std::string_view source);

}  // namespace atl::storage
