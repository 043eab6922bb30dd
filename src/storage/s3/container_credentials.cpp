// The endpoint that a container's agent serves: on ECS under AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, elsewhere (EKS
// pod identity, Greengrass) under AWS_CONTAINER_CREDENTIALS_FULL_URI, with a token from the environment or, read again each time, a
// file. Source: "Container credential provider" of the AWS SDKs and Tools reference guide.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_http.h"
#include "storage/s3/credentials_sources.h"
#include "storage/s3/small_file.h"

namespace atl::storage {
namespace {

constexpr std::string_view kRelative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
constexpr std::string_view kFull = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
constexpr std::string_view kSource = "the container's credentials endpoint";
// On the machine itself: an agent that does not answer by then is not there.
constexpr std::chrono::milliseconds kConnectTimeout{2000};
constexpr std::chrono::milliseconds kDeadline{5000};
constexpr size_t kMaxTokenBytes = 16384;

bool is_visible_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_loopback(const std::string& host) {
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  in6_addr six{};
  return ::inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

// Unencrypted only to this machine and to the addresses of ECS and EKS, which do not leave it: what answers gives keys, and
// gets the token.
bool may_be_asked(std::string_view url) {
  if (!is_visible_text(url)) return false;
  if (url.starts_with("https://")) return true;
  constexpr std::string_view kHttp = "http://";
  if (!url.starts_with(kHttp)) return false;
  std::string_view host = url.substr(kHttp.size());
  host = host.substr(0, host.find_first_of("/?#"));
  if (host.find_first_of("@\\%") != std::string_view::npos) return false;
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') == std::string_view::npos ? 0 : host.find(']') - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  return host == "localhost" || host == "169.254.170.2" || host == "169.254.170.23" ||
         host == "fd00:ec2::23" || is_loopback(std::string(host));
}

Result<std::string> endpoint_url(const CredentialsContext& context) {
  if (const auto relative = set_variable(context.variable, kRelative)) {
    if (!relative->starts_with('/') || !is_visible_text(*relative)) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{} is no path that begins with '/'", kRelative));
    }
    return "http://169.254.170.2" + *relative;
  }
  const std::string full = set_variable(context.variable, kFull).value_or("");
  if (!may_be_asked(full)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} is neither https:// nor http:// on this machine", kFull),
                "credentials do not go unencrypted through a network");
  }
  return full;
}

// "" where none is wanted.
Result<std::string> authorization(const CredentialsContext& context) {
  constexpr std::string_view kFile = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
  constexpr std::string_view kToken = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
  std::string token;
  if (const auto file = set_variable(context.variable, kFile)) {
    token = ATOLL_TRY_CONTEXT(read_small_file(*file, kMaxTokenBytes), kFile);
    token.erase(token.find_last_not_of(" \t\r\n") + 1);
  } else {
    token = set_variable(context.variable, kToken).value_or("");
  }
  // "Basic …" and "Bearer …" have a blank.
  if (!std::ranges::all_of(token, [](char c) { return c >= ' ' && c < 0x7f; })) {
    return fail(ErrorCode::kInvalidInput,
                "the container's authorization token holds bytes that no header may have",
                fmt::format("look at {} and {}", kFile, kToken));
  }
  return token;
}

}  // namespace

bool container_has_credentials(const CredentialsContext& context) {
  return set_variable(context.variable, kRelative).has_value() ||
         set_variable(context.variable, kFull).has_value();
}

Result<FetchedCredentials> container_credentials(const CredentialsContext& context) {
  HttpRequest request;
  request.url = ATOLL_TRY(endpoint_url(context));
  request.headers.push_back({"Accept", "application/json"});
  const std::string token = ATOLL_TRY(authorization(context));
  if (!token.empty()) request.headers.push_back({"Authorization", token});
  request.max_body_bytes = kMaxCredentialsAnswerBytes;
  request.connect_timeout = kConnectTimeout;
  request.deadline = kDeadline;
  const HttpResponse response = ATOLL_TRY(request_credentials(context, request, kSource));
  if (response.status != 200) {
    const ServiceError error = parse_service_error(response.body, {token});
    std::string message = fmt::format("{} answers {}", kSource, response.status);
    if (!error.code.empty()) message.append(" ").append(error.code);
    if (!error.message.empty()) message.append(": ").append(error.message);
    return fail(is_passing_status(response.status) ? ErrorCode::kIo : ErrorCode::kPermission,
                std::move(message),
                "look at the task's role, or at the pod identity association");
  }
  return FetchedCredentials{
      ATOLL_TRY(parse_credentials_json(response.body, CredentialsJson::kEndpoint, kSource)), {}};
}

}  // namespace atl::storage
