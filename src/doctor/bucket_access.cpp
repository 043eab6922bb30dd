// open_bucket_access(): from settings to a client that gives up soon.
#include <fmt/format.h>

#include "doctor/bucket_checks.h"
#include "storage/environment.h"
#include "storage/open_s3.h"
#include "storage/s3/aws_config.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/s3_endpoint.h"
#include "storage/s3/s3_remote.h"

namespace atl::doctor {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

// Together less than the patience of a step (doctor/checks.h), so that the reason is told and not only that there was no
// answer.
constexpr milliseconds kConnectTimeout{3000};
constexpr milliseconds kStallTimeout{6000};
constexpr milliseconds kRetryDeadline{3000};

// Ends what is under way with the last of those who use it.
std::shared_ptr<storage::S3Client> ending(std::shared_ptr<storage::S3Client> client) {
  storage::S3Client* const plain = client.get();
  return {plain, [client = std::move(client)](storage::S3Client*) { client->end(); }};
}

std::string plain_url(const storage::S3Endpoint& endpoint, const std::string& region) {
  const auto request = endpoint.request("", region.empty() ? "us-east-1" : region);
  return fmt::format("{}://{}/", request.scheme, request.host);
}

}  // namespace

Result<std::shared_ptr<const BucketAccess>> open_bucket_access(std::string_view uri) {
  const auto variable = storage::environment_variable;
  const storage::S3Location location = ATOLL_TRY(storage::parse_s3_uri(uri));
  const storage::AwsConfig config = ATOLL_TRY(storage::read_aws_config(variable));
  auto endpoint =
      ATOLL_TRY(storage::S3Endpoint::make(location.bucket, config.endpoint_url, config.path_style));
  const auto engine = ATOLL_TRY(storage::HttpEngine::make({.ca_bundle = config.ca_bundle}));

  const auto access = std::make_shared<BucketAccess>();
  access->uri = uri;
  access->bucket = location.bucket;
  access->prefix = location.prefix;
  access->is_aws = endpoint.is_aws();
  access->is_anonymous = variable("ATOLL_NO_SIGN_REQUEST") == "1";
  access->region = config.region;
  access->server = endpoint.is_aws() ? "AWS" : config.endpoint_url;
  access->server_url = plain_url(endpoint, config.region);

  storage::CredentialsContext context;
  context.variable = variable;
  context.http = [engine](const storage::HttpRequest& request) { return engine->perform(request); };
  context.now = [] { return system_clock::now(); };
  context.region = config.region;
  context.anonymous = access->is_anonymous;
  const auto credentials = storage::find_credentials(std::move(context));

  storage::S3ClientOptions options;
  options.region = config.region;
  options.connect_timeout = kConnectTimeout;
  options.stall_timeout = kStallTimeout;
  options.retries.deadline = kRetryDeadline;
  options.retries.tries_at_first = 2;
  const auto client =
      ending(storage::S3Client::make(std::move(endpoint), options, engine, credentials));
  access->credentials = [credentials] { return credentials->get(); };
  access->perform = [client](storage::S3Request request, std::stop_token stop) {
    return client->perform(std::move(request), std::move(stop)).response;
  };
  access->region_found = [client] { return client->region(); };
  access->http = [engine](const storage::HttpRequest& request) { return engine->perform(request); };
  access->now = [] { return system_clock::now(); };
  return std::shared_ptr<const BucketAccess>(access);
}

}  // namespace atl::doctor
