#include "aws/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <span>

#include "base/rest.h"
#include "storage/environment.h"
#include "storage/s3/aws_config.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/s3_headers.h"
#include "storage/s3/signer.h"
#include "storage/sha256.h"

namespace atl::aws {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::json;

constexpr uint64_t kMaxAnswerBytes = uint64_t{32} << 20;
constexpr milliseconds kLongestTry{30'000};
// A try that begins just before the deadline may still take so long.
constexpr milliseconds kLeastTry{5'000};
// AWS refuses what is 5 minutes off (15 for S3); less than this is not worth a try of its own.
constexpr std::chrono::minutes kTolerableSkew{2};

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

storage::Blob blob_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return storage::Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

std::string form_of(const AwsService& service,
                    std::string_view action,
                    const QueryParameters& parameters) {
  std::string form = fmt::format("Action={}&Version={}", action, service.version);
  for (const auto& [name, value] : parameters) {
    form +=
        fmt::format("&{}={}", storage::encode_uri(name, true), storage::encode_uri(value, true));
  }
  return form;
}

struct Target {
  std::string scheme = "https";
  std::string host;
  std::string path = "/";
  std::string signing_region;
};

// `url` has been checked by read_endpoint_url().
Target target_of(const AwsService& service, std::string_view region, std::string_view url) {
  ServiceAddress address = address_of(service, region);
  Target target;
  target.host = std::move(address.host);
  target.signing_region = std::move(address.signing_region);
  if (url.empty()) return target;
  const size_t host = url.find("://") + 3;
  const size_t path = std::min(url.find('/', host), url.size());
  target.scheme = url.substr(0, host - 3);
  target.host = url.substr(host, path - host);
  target.path = fmt::format("{}/", url.substr(path));
  // The Host header has no port that goes without saying, and the signature covers it.
  const std::string_view own_port = target.scheme == "http" ? ":80" : ":443";
  if (target.host.ends_with(own_port)) target.host.resize(target.host.size() - own_port.size());
  return target;
}

AwsError cancelled(std::string_view what) {
  return Error{ErrorCode::kCancelled, fmt::format("{}: cancelled", what), {}, {}};
}

AwsError strange(std::string_view what, std::string_view why) {
  return Error{ErrorCode::kIo,
               fmt::format("{}: the answer is {}", what, why),
               "check that the endpoint is this service's",
               {}};
}

}  // namespace

struct AwsClient::Call {
  const AwsService& service;
  std::string_view operation;
  std::string what;  // "SageMaker DescribeTrainingJob"
  std::string content_type;
  std::string body;
  const std::stop_token& stop;
  Target target;
  std::chrono::steady_clock::time_point began;
  int tries = 0;
  bool has_new_credentials = false;
  bool has_new_clock = false;
  // What the last try's error calls for.
  enum class Next { kGiveUp, kAtOnce, kLater } next = Next::kGiveUp;
};

Result<std::shared_ptr<AwsClient>> AwsClient::open(AwsClientOptions options) {
  if (!options.variable) options.variable = storage::environment_variable;
  const storage::AwsConfig config =
      ATOLL_TRY(storage::read_aws_config(options.variable, options.profile));
  if (options.region.empty()) options.region = config.region;
  if (options.region.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "no AWS region is named",
                "give --region, or set AWS_REGION or the profile's region");
  }
  if (!storage::is_region(options.region)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" is no region's name", options.region),
                "such as eu-central-1");
  }
  if (!options.endpoint_url.empty()) {
    options.endpoint_url = ATOLL_TRY(storage::checked_endpoint_url(options.endpoint_url));
  }
  if (!options.http) {
    auto engine = ATOLL_TRY(storage::HttpEngine::make({.ca_bundle = config.ca_bundle}));
    options.http = [engine = std::move(engine)](const storage::HttpRequest& request) {
      return engine->perform(request);
    };
  }
  if (!options.now) options.now = [] { return std::chrono::system_clock::now(); };
  if (!options.clock) options.clock = [] { return std::chrono::steady_clock::now(); };
  if (!options.credentials) {
    storage::CredentialsContext context;
    context.variable = options.variable;
    context.http = options.http;
    context.now = options.now;
    context.profile = options.profile;
    context.region = options.region;
    options.credentials = storage::find_credentials(std::move(context));
  }
  return std::shared_ptr<AwsClient>(new AwsClient(std::move(options)));
}

AwsClient::AwsClient(AwsClientOptions options)
    : options_(std::move(options)), retries_(options_.retries, random_seed()) {}

AwsResult<Json> AwsClient::call(const AwsService& service,
                                std::string_view operation,
                                const Json& input,
                                const std::stop_token& stop) {
  Call call{.service = service,
            .operation = operation,
            .what = fmt::format("{} {}", service.name, operation),
            .content_type = "application/x-amz-json-1.1",
            .body = input.dump(-1, ' ', false, Json::error_handler_t::replace),
            .stop = stop};
  const std::string answer = ATOLL_TRY(perform(call));
  // Some operations answer with nothing at all.
  Json output = answer.empty() ? Json::object() : Json::parse(answer, nullptr, false);
  if (!output.is_object()) return tl::unexpected(strange(call.what, "no JSON object"));
  return output;
}

AwsResult<QueryAnswer> AwsClient::query(const AwsService& service,
                                        std::string_view action,
                                        const QueryParameters& parameters,
                                        const std::stop_token& stop) {
  Call call{.service = service,
            .operation = action,
            .what = fmt::format("{} {}", service.name, action),
            .content_type = "application/x-www-form-urlencoded; charset=utf-8",
            .body = form_of(service, action, parameters),
            .stop = stop};
  const std::string text = ATOLL_TRY(perform(call));
  QueryAnswer answer{std::make_unique<pugi::xml_document>(), {}};
  const auto parsed = answer.document->load_buffer(
      text.data(), text.size(), pugi::parse_default, pugi::encoding_utf8);
  const pugi::xml_node response = answer.document->child(fmt::format("{}Response", action).c_str());
  if (!parsed || !response) {
    return tl::unexpected(strange(call.what, fmt::format("no <{}Response>", action)));
  }
  const pugi::xml_node result = response.child(fmt::format("{}Result", action).c_str());
  answer.result = result ? result : response;
  return answer;
}

AwsResult<std::string> AwsClient::perform(Call& call) {
  std::string url = options_.endpoint_url;
  if (url.empty()) {
    url = ATOLL_TRY_CONTEXT(
        storage::read_endpoint_url(options_.variable, options_.profile, call.service.id),
        call.what);
  }
  call.target = target_of(call.service, options_.region, url);
  call.began = options_.clock();
  while (true) {
    if (call.stop.stop_requested()) return tl::unexpected(cancelled(call.what));
    ++call.tries;
    auto answer = attempt(call);
    if (answer) return answer;
    AwsError error = std::move(answer).error();
    error.tries = call.tries;
    if (call.next == Call::Next::kAtOnce) continue;
    if (call.next == Call::Next::kGiveUp || !wait_for_next(call, error)) {
      return tl::unexpected(std::move(error));
    }
  }
}

AwsResult<std::string> AwsClient::attempt(Call& call) {
  call.next = Call::Next::kGiveUp;
  const auto credentials = ATOLL_TRY_CONTEXT(options_.credentials->get(), call.what);
  if (credentials == nullptr) {
    return tl::unexpected(AwsError(Error{ErrorCode::kPermission,
                                         fmt::format("{}: there are no AWS credentials", call.what),
                                         "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                                         "AWS_SECRET_ACCESS_KEY, or give the machine a role",
                                         {}}));
  }
  storage::UnsignedRequest plain;
  plain.method = "POST";
  plain.scheme = call.target.scheme;
  plain.host = call.target.host;
  plain.path = call.target.path;
  plain.headers = {{"Content-Type", call.content_type}};
  if (!call.service.target.empty()) {
    plain.headers.push_back(
        {"X-Amz-Target", fmt::format("{}.{}", call.service.target, call.operation)});
  }
  plain.payload_sha256 = storage::sha256_hex(call.body);
  const auto signed_at = options_.now();
  storage::SignedRequest ready =
      storage::sign(plain,
                    credentials.get(),
                    {call.target.signing_region, std::string(call.service.signing_name)},
                    signed_at + milliseconds(skew_ms_));
  storage::HttpRequest http;
  http.method = "POST";
  http.url = std::move(ready.url);
  http.headers = std::move(ready.headers);
  http.body = blob_of(call.body);
  http.max_body_bytes = kMaxAnswerBytes;
  const auto spent = std::chrono::duration_cast<milliseconds>(options_.clock() - call.began);
  http.deadline = std::clamp(options_.retries.deadline - spent, kLeastTry, kLongestTry);
  http.stall_timeout = http.deadline;  // some operations think before they say anything
  auto response = options_.http(http);
  if (!response) {
    AwsError error = std::move(response).error().with_context(call.what);
    if (error.code == ErrorCode::kIo) call.next = Call::Next::kLater;
    return tl::unexpected(std::move(error));
  }
  has_answered_ = true;
  if (response->status >= 200 && response->status < 300) return std::move(response->body);
  return tl::unexpected(refused(call, *response, credentials.get(), signed_at));
}

AwsError AwsClient::refused(Call& call,
                            const storage::HttpResponse& response,
                            const storage::Credentials* credentials,
                            std::chrono::system_clock::time_point signed_at) {
  Refusal refusal = parse_refusal(
      response,
      {credentials->access_key_id, credentials->secret_access_key, credentials->session_token});
  AwsError error = aws_error(call.service, call.operation, response.status, std::move(refusal));
  if (may_pass(response.status, error.service_code)) {
    call.next = Call::Next::kLater;
  } else if (is_expired(error.service_code) && !call.has_new_credentials) {
    call.has_new_credentials = true;
    options_.credentials->refused(*credentials);
    call.next = Call::Next::kAtOnce;
  } else if (may_be_clock(error.service_code) && !call.has_new_clock) {
    const auto date = storage::parse_http_date(response.header("date"));
    if (!date) return error;
    const auto skew = std::chrono::duration_cast<milliseconds>(*date - signed_at);
    const milliseconds off = std::chrono::abs(skew - milliseconds(skew_ms_));
    if (off < kTolerableSkew) return error;
    call.has_new_clock = true;
    skew_ms_ = skew.count();
    call.next = Call::Next::kAtOnce;
  }
  return error;
}

bool AwsClient::wait_for_next(Call& call, AwsError& error) {
  const auto now = options_.clock();
  const bool is_hopeless = !has_answered_ && call.tries >= options_.retries.tries_at_first;
  const milliseconds wait = is_hopeless ? milliseconds(0) : retries_.delay(call.tries, now);
  if (is_hopeless || now + wait - call.began > options_.retries.deadline) {
    error.message += fmt::format(" (tried {} times in {:.1f} s)",
                                 call.tries,
                                 std::chrono::duration<double>(now - call.began).count());
    if (is_hopeless && error.hint.empty()) {
      error.hint = fmt::format("nothing has answered at {} yet: check the region and the network",
                               call.target.host);
    }
    return false;
  }
  rest(wait, call.stop);
  return true;
}

void AwsClient::rest(milliseconds time, const std::stop_token& stop) const {
  if (options_.pause) return options_.pause(time);
  atl::rest(time, stop);
}

}  // namespace atl::aws
