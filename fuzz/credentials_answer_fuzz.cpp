// The answers of who hands out credentials, JSON and XML: what is taken can be signed with and sent, and no
// refusal shows more of an answer than an error's code. The first byte says whose answer it is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/s3/credentials_answer.h"

namespace {

using namespace atl::storage;

constexpr std::string_view kSource = "source";

void check(const atl::Result<Credentials>& parsed) {
  if (parsed) {
    ATOLL_CHECK(check_credentials(*parsed, kSource).has_value());
    return;
  }
  const std::string& message = parsed.error().message;
  ATOLL_CHECK(message.starts_with("source: "));
  // A sentence of ours and a code.
  ATOLL_CHECK(message.size() < 200) << message;
  ATOLL_CHECK(std::ranges::all_of(message, [](char c) { return c >= ' ' && c < 0x7f; }));
}

void check(const ServiceError& error) {
  ATOLL_CHECK(error.code.size() <= 80);
  ATOLL_CHECK(error.message.size() <= 300);
  ATOLL_CHECK(error.message.find("SECRET") == std::string::npos);
  for (const std::string& text : {error.code, error.message}) {
    ATOLL_CHECK(std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      check(parse_credentials_json(text, CredentialsJson::kProcess, kSource));
      break;
    case 1:
      check(parse_credentials_json(text, CredentialsJson::kEndpoint, kSource));
      break;
    case 2:
      check(parse_sts_answer(text, "AssumeRole", kSource));
      break;
    case 3:
      check(parse_sts_answer(text, "AssumeRoleWithWebIdentity", kSource));
      break;
    default:
      check(parse_service_error(text, {"SECRET"}));
      break;
  }
  return 0;
}
