// open_s3_remote(): from settings to a client.
#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/aws_config.h"
#include "storage/s3/credentials.h"
#include "storage/s3/s3_remote.h"

namespace atl::storage {

Result<S3Location> parse_s3_uri(std::string_view uri) {
  constexpr std::string_view kScheme = "s3://";
  if (!uri.starts_with(kScheme)) {
    return fail(ErrorCode::kInvalidInput, fmt::format("'{}' does not begin with s3://", uri));
  }
  const std::string_view rest = uri.substr(kScheme.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  S3Location location{std::string(rest.substr(0, slash)), std::string(rest.substr(slash))};
  if (location.bucket.empty()) {
    return fail(ErrorCode::kInvalidInput, fmt::format("'{}' names no bucket", uri));
  }
  while (location.prefix.ends_with('/')) location.prefix.pop_back();
  if (!location.prefix.empty()) location.prefix = location.prefix.substr(1) + '/';
  return location;
}

Result<std::shared_ptr<Remote>> open_s3_remote(std::string_view uri,
                                               S3RemoteOptions options,
                                               std::shared_ptr<HttpEngine> engine) {
  const S3Location location = ATOLL_TRY(parse_s3_uri(uri));
  if (!options.variable) options.variable = [](std::string_view) { return std::nullopt; };
  const AwsConfig config = ATOLL_TRY(read_aws_config(options.variable, options.profile));
  if (options.endpoint_url.empty()) options.endpoint_url = config.endpoint_url;
  if (options.region.empty()) options.region = config.region;
  if (!options.region.empty() && !is_region(options.region)) {
    return fail(ErrorCode::kInvalidInput, fmt::format("'{}' is no region", options.region));
  }
  auto endpoint =
      ATOLL_TRY(S3Endpoint::make(location.bucket,
                                 options.endpoint_url,
                                 options.path_style ? options.path_style : config.path_style));
  if (!engine) {
    if (options.http.ca_bundle.empty()) options.http.ca_bundle = config.ca_bundle;
    engine = ATOLL_TRY(HttpEngine::make(options.http));
  }
  CredentialsContext context;
  context.variable = options.variable;
  context.http = [engine](const HttpRequest& request) { return engine->perform(request); };
  context.now = [] { return std::chrono::system_clock::now(); };
  context.profile = options.profile;
  context.region = options.region;
  context.anonymous = options.anonymous;
  S3ClientOptions client;
  client.region = options.region;
  client.retries = options.retries;
  if (options.patience.count() > 0) {
    const auto half = options.patience / 2;
    client.retries.deadline = std::min(client.retries.deadline, half);
    client.last_try = half;
    client.connect_timeout = std::min(client.connect_timeout, half);
    client.stall_timeout = std::min(client.stall_timeout, half);
  }
  return make_s3_remote(
      S3Client::make(
          std::move(endpoint), std::move(client), engine, find_credentials(std::move(context))),
      location.prefix,
      options.transfer);
}

}  // namespace atl::storage
