// The role of an EC2 instance: a session with the instance metadata service, version 2 (a PUT gives a token that every GET
// carries, which a request forged through a proxy cannot), then the role's name, then its keys. Version 1 is
// not tried.
// Source: "Retrieve security credentials from instance metadata" of the EC2 user guide.
#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_http.h"
#include "storage/s3/credentials_sources.h"

namespace atl::storage {
namespace {

constexpr std::string_view kSource = "the instance metadata service";
constexpr std::string_view kRolePath = "/latest/meta-data/iam/security-credentials/";
constexpr std::chrono::milliseconds kFirstAnswer{1000};
constexpr std::chrono::milliseconds kDeadline{5000};
// Where the service cannot reach its own source it gives keys that have ended, and AWS's programs go on with them,
// because S3 takes them in such a case ("static stability").
constexpr std::chrono::minutes kExtension{10};

bool is_true(std::string_view text) { return text == "true" || text == "True" || text == "TRUE"; }

std::string service_url(const CredentialsContext& context,
                        const AwsProfiles& profiles,
                        std::string_view profile) {
  const auto setting = [&](std::string_view variable, std::string_view property) {
    return set_variable(context.variable, variable)
        .value_or(std::string(profiles.value(profile, property)));
  };
  std::string url = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint");
  if (url.empty()) {
    const std::string mode =
        setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode");
    url = mode == "IPv6" || mode == "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
  }
  while (url.ends_with('/')) url.pop_back();
  return url;
}

HttpRequest request_of(std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  request.max_body_bytes = kMaxCredentialsAnswerBytes;
  request.connect_timeout = kFirstAnswer;
  request.deadline = kDeadline;
  return request;
}

// A session's token; nullopt where nothing answers, or what answers has no such thing (other clouds).
Result<std::optional<std::string>> open_session(const CredentialsContext& context,
                                                const std::string& url) {
  HttpRequest request = request_of(url + "/latest/api/token");
  request.method = "PUT";
  request.headers.push_back({"X-aws-ec2-metadata-token-ttl-seconds", "21600"});
  request.deadline = kFirstAnswer;
  const Result<HttpResponse> response = context.http(request);
  if (!response) return std::nullopt;
  if (response->status == 403) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} is switched off for this instance", kSource),
                "aws ec2 modify-instance-metadata-options --http-endpoint enabled");
  }
  const bool plain = !response->body.empty() && std::ranges::all_of(response->body, [](char c) {
    return c > ' ' && c < 0x7f;
  });
  if (response->status != 200 || !plain) return std::nullopt;
  return response->body;
}

Result<std::string> get(const CredentialsContext& context,
                        const std::string& url,
                        const std::string& token) {
  HttpRequest request = request_of(url);
  request.headers.push_back({"X-aws-ec2-metadata-token", token});
  HttpResponse response = ATOLL_TRY(request_credentials(context, request, kSource));
  if (response.status == 404) {
    return fail(ErrorCode::kPermission,
                "this EC2 instance has no role",
                "attach an instance profile whose role may read the bucket");
  }
  if (response.status != 200) {
    return fail(ErrorCode::kIo, fmt::format("{} answers {}", kSource, response.status));
  }
  return std::move(response.body);
}

// The first line of the list; an instance has one role.
Result<std::string> role_name(std::string_view list) {
  const std::string_view name = list.substr(0, list.find_first_of("\r\n"));
  const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("+=,.@_-").find(c) != std::string_view::npos;
  });
  if (!plain) return fail(ErrorCode::kIo, fmt::format("{} names no role", kSource));
  return std::string(name);
}

}  // namespace

Result<std::optional<FetchedCredentials>> instance_credentials(const CredentialsContext& context,
                                                               const AwsProfiles& profiles,
                                                               std::string_view profile) {
  if (is_true(set_variable(context.variable, "AWS_EC2_METADATA_DISABLED").value_or(""))) {
    return std::nullopt;
  }
  const std::string url = service_url(context, profiles, profile);
  const std::optional<std::string> token = ATOLL_TRY(open_session(context, url));
  if (!token) return std::nullopt;
  const std::string roles = ATOLL_TRY(get(context, fmt::format("{}{}", url, kRolePath), *token));
  const std::string role = ATOLL_TRY(role_name(roles));
  const std::string answer =
      ATOLL_TRY(get(context, fmt::format("{}{}{}", url, kRolePath, role), *token));
  FetchedCredentials fetched{
      ATOLL_TRY(parse_credentials_json(answer, CredentialsJson::kEndpoint, kSource)), {}};
  if (*fetched.keys.expires <= context.now()) fetched.keys.expires = context.now() + kExtension;
  return fetched;
}

}  // namespace atl::storage
