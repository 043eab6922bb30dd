// Roles, by AWS's Security Token Service: AssumeRole with keys that we have, AssumeRoleWithWebIdentity with a
// token. Source: AWS STS API reference, version 2011-06-15.
#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/aws_config.h"
#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_http.h"
#include "storage/s3/credentials_sources.h"
#include "storage/s3/signer.h"
#include "storage/s3/small_file.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

// STS's own: 20 kB for a web identity token.
constexpr size_t kMaxTokenBytes = 20000;
constexpr std::chrono::milliseconds kDeadline{20000};

struct Endpoint {
  std::string scheme;
  std::string host;
  std::string path;
  std::string region;
};

// Regional where a region is known: the global one, in us-east-1, is far from elsewhere, and its tokens do not hold in
// regions that are off by default.
Result<Endpoint> sts_endpoint(const CredentialsContext& context) {
  const AwsConfig config = ATOLL_TRY(read_aws_config(context.variable, context.profile));
  Endpoint endpoint{"https", "sts.amazonaws.com", "/", "us-east-1"};
  const std::string& region = context.region.empty() ? config.region : context.region;
  if (is_region(region)) {
    endpoint.region = region;
    endpoint.host = fmt::format("sts.{}.{}", region, aws_domain(region));
  }
  if (!config.sts_endpoint_url.empty()) {
    const std::string& url = config.sts_endpoint_url;
    const size_t host = url.find("://") + 3;
    const size_t path = std::min(url.find('/', host), url.size());
    endpoint.scheme = url.substr(0, host - 3);
    endpoint.host = url.substr(host, path - host);
    endpoint.path = url.substr(path) + "/";
  }
  return endpoint;
}

using Form = std::vector<std::pair<std::string_view, std::string>>;

std::string encoded(const Form& form) {
  std::string body;
  for (const auto& [name, value] : form) {
    if (value.empty()) continue;
    if (!body.empty()) body += '&';
    body.append(name).append("=").append(encode_uri(value, true));
  }
  return body;
}

Blob blob_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

struct StsCall {
  std::string_view action;
  Form form;
  const Credentials* keys = nullptr;   // null: not signed
  std::string_view web_identity = {};  // for what messages may not hold
  std::string source;
};

std::string hint_of(std::string_view code) {
  if (code == "AccessDenied") {
    return "the role's trust policy must allow this caller, and the caller's policy sts:AssumeRole";
  }
  if (code == "ExpiredToken" || code == "ExpiredTokenException") {
    return "the keys or the token that ask for the role have ended; get new ones";
  }
  if (code == "InvalidIdentityToken") {
    return "the role's trust policy must name the token's issuer as an identity provider";
  }
  if (code == "SignatureDoesNotMatch") {
    return "the secret key does not belong to the access key, or the machine's clock is wrong";
  }
  if (code == "RegionDisabledException") return "switch STS on for this region, or take another";
  return {};
}

tl::unexpected<Error> refused(const StsCall& call, int status, const std::string& body) {
  const Credentials none;
  const Credentials& keys = call.keys != nullptr ? *call.keys : none;
  const ServiceError error = parse_service_error(
      body, {keys.access_key_id, keys.secret_access_key, keys.session_token, call.web_identity});
  std::string message = fmt::format("{}: STS answers {}", call.source, status);
  if (!error.code.empty()) message.append(" ").append(error.code);
  if (!error.message.empty()) message.append(": ").append(error.message);
  const bool for_good = status >= 400 && status < 500 && status != 429;
  return fail(
      for_good ? ErrorCode::kPermission : ErrorCode::kIo, std::move(message), hint_of(error.code));
}

Result<FetchedCredentials> call_sts(const CredentialsContext& context, const StsCall& call) {
  const Endpoint endpoint = ATOLL_TRY_CONTEXT(sts_endpoint(context), call.source);
  const std::string body = encoded(call.form);
  const UnsignedRequest unsigned_request{
      .method = "POST",
      .scheme = endpoint.scheme,
      .host = endpoint.host,
      .path = endpoint.path,
      .query = {},
      .headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
                  {"Accept", "text/xml"}},
      .payload_sha256 = sha256_hex(body)};
  SignedRequest signed_request = sign(
      unsigned_request, call.keys, {.region = endpoint.region, .service = "sts"}, context.now());
  HttpRequest request;
  request.method = "POST";
  request.url = std::move(signed_request.url);
  request.headers = std::move(signed_request.headers);
  request.body = blob_of(body);
  request.max_body_bytes = kMaxCredentialsAnswerBytes;
  request.deadline = kDeadline;
  const HttpResponse response = ATOLL_TRY(request_credentials(context, request, call.source));
  if (response.status != 200) return refused(call, response.status, response.body);
  return FetchedCredentials{ATOLL_TRY(parse_sts_answer(response.body, call.action, call.source)),
                            {}};
}

// STS wants 2 to 64 of [A-Za-z0-9_=,.@-]. The name shows up in the account's trail.
std::string session_name(const CredentialsContext& context, const RoleRequest& role) {
  if (!role.session_name.empty()) return role.session_name;
  return fmt::format("atoll-{}", std::chrono::system_clock::to_time_t(context.now()));
}

Form role_form(const CredentialsContext& context,
               std::string_view action,
               const RoleRequest& role) {
  return {{"Action", std::string(action)},
          {"Version", "2011-06-15"},
          {"RoleArn", role.role_arn},
          {"RoleSessionName", session_name(context, role)},
          {"DurationSeconds", role.duration_s}};
}

}  // namespace

Result<FetchedCredentials> assumed_role_credentials(const CredentialsContext& context,
                                                    const RoleRequest& role,
                                                    const Credentials& keys) {
  StsCall call{.action = "AssumeRole",
               .form = role_form(context, "AssumeRole", role),
               .keys = &keys,
               .source = fmt::format("assuming the role {}", role.role_arn)};
  call.form.emplace_back("ExternalId", role.external_id);
  return call_sts(context, call);
}

Result<FetchedCredentials> web_identity_credentials(const CredentialsContext& context,
                                                    const RoleRequest& role,
                                                    const std::string& token_file) {
  StsCall call{.action = "AssumeRoleWithWebIdentity",
               .form = role_form(context, "AssumeRoleWithWebIdentity", role),
               .source = fmt::format("assuming the role {} by web identity", role.role_arn)};
  std::string token = ATOLL_TRY_CONTEXT(read_small_file(token_file, kMaxTokenBytes), call.source);
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  if (token.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: the token file {} is empty", call.source, token_file));
  }
  call.form.emplace_back("WebIdentityToken", token);
  call.web_identity = token;
  return call_sts(context, call);
}

bool environment_has_web_identity(const CredentialsContext& context) {
  return set_variable(context.variable, "AWS_WEB_IDENTITY_TOKEN_FILE").has_value();
}

Result<FetchedCredentials> environment_web_identity(const CredentialsContext& context) {
  const auto variable = [&](std::string_view name) {
    return set_variable(context.variable, name).value_or("");
  };
  const RoleRequest role{.role_arn = variable("AWS_ROLE_ARN"),
                         .session_name = variable("AWS_ROLE_SESSION_NAME"),
                         .external_id = {},
                         .duration_s = {}};
  if (role.role_arn.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not",
                "set both, or neither");
  }
  return web_identity_credentials(context, role, variable("AWS_WEB_IDENTITY_TOKEN_FILE"));
}

}  // namespace atl::storage
