#include "storage/s3/s3_client.h"

#include <fmt/format.h>

#include <future>
#include <random>

#include "base/check.h"
#include "base/crc32c.h"
#include "storage/s3/aws_config.h"
#include "storage/s3/s3_errors.h"
#include "storage/sha256.h"

namespace atl::storage {

namespace {

using std::chrono::milliseconds;

constexpr std::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr int kMostRedirects = 3;
// AWS refuses what is 15 minutes off; less than this is not worth a try of its own.
constexpr std::chrono::minutes kTolerableSkew{4};

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// What the answer says of the whole object's bytes; "" where it says nothing, or of its parts' checksums.
std::string_view whole_checksum(const HttpResponse& response, std::string_view header) {
  const std::string_view value = response.header(header);
  const bool is_composite = value.find('-') != std::string_view::npos ||
                            response.header("x-amz-checksum-type") == "COMPOSITE";
  return is_composite ? std::string_view() : value;
}

// The answer's own checksum, where it is one of the whole that we hold. Of two the cheaper one is looked at.
Result<void> check_checksum(const S3Request& request, const HttpResponse& response) {
  const std::string_view crc = whole_checksum(response, "x-amz-checksum-crc32c");
  const std::string_view sha = whole_checksum(response, "x-amz-checksum-sha256");
  if (request.method != "GET" || (crc.empty() && sha.empty())) return {};
  if (response.status == 206) {
    const auto range = parse_content_range(response.header("content-range"));
    if (!range || range->first != 0 || range->last + 1 != range->total) return {};
  }
  const auto bytes = request.into.empty()
                         ? std::as_bytes(std::span(response.body))
                         : std::span<const std::byte>(request.into).first(response.body_bytes);
  const bool fits =
      crc.empty() ? base64(sha256(bytes)) == sha : checksum_text(crc32c(bytes)) == crc;
  if (fits) return {};
  return fail(ErrorCode::kIo, "the body does not match its checksum");
}

}  // namespace

// One request through all its tries. Only one step at a time touches it, but for `cancelled` and `waits_for`.
class S3Client::Call {
 public:
  std::shared_ptr<S3Client> client;
  S3Request request;
  OnAnswer done;
  Retries::Clock::time_point began;
  int tries = 0;
  int failures = 0;
  int redirects = 0;
  bool has_new_credentials = false;
  bool has_new_clock = false;
  std::string region;  // of this try
  FreshCredentials::Found credentials;
  std::chrono::system_clock::time_point signed_at;  // by our clock
  std::atomic<bool> cancelled = false;
  std::atomic<HttpEngine::Id> waits_for = 0;

  // Whoever cancels either sees the step here, or the step sees that it is cancelled.
  void wait_for(HttpEngine::Id id) {
    waits_for = id;
    if (cancelled) client->engine_->cancel(id);
  }
};

std::shared_ptr<S3Client> S3Client::make(S3Endpoint endpoint,
                                         S3ClientOptions options,
                                         std::shared_ptr<HttpEngine> engine,
                                         std::shared_ptr<CredentialsProvider> credentials) {
  if (!options.now) options.now = [] { return std::chrono::system_clock::now(); };
  return std::shared_ptr<S3Client>(new S3Client(
      std::move(endpoint), std::move(options), std::move(engine), std::move(credentials)));
}

S3Client::S3Client(S3Endpoint endpoint,
                   S3ClientOptions options,
                   std::shared_ptr<HttpEngine> engine,
                   std::shared_ptr<CredentialsProvider> credentials)
    : endpoint_(std::move(endpoint)),
      options_(std::move(options)),
      engine_(std::move(engine)),
      credentials_(std::move(credentials), options_.now),
      retries_(options_.retries, random_seed()),
      region_(options_.region.empty() ? "us-east-1" : options_.region) {}

S3Client::~S3Client() = default;

std::string S3Client::region() const {
  const std::lock_guard lock(mutex_);
  return region_;
}

std::chrono::system_clock::time_point S3Client::now() const {
  return options_.now() + milliseconds(skew_ms_);
}

std::string S3Client::what(const S3Request& request) const {
  return request.key.empty()
             ? fmt::format("{} s3://{}", request.method, endpoint_.bucket())
             : fmt::format("{} s3://{}/{}", request.method, endpoint_.bucket(), request.key);
}

std::shared_ptr<S3Client::Call> S3Client::send(S3Request request, OnAnswer done) {
  auto call = std::make_shared<Call>();
  call->client = shared_from_this();
  call->request = std::move(request);
  call->done = std::move(done);
  call->began = Retries::Clock::now();
  S3Request& sent = call->request;
  // Over TLS nobody changes the body on its way, and the checksum in the headers covers it.
  if (sent.body.size() == 0) {
    sent.body_sha256 = kEmptySha256;
  } else if (sent.body_sha256.empty()) {
    sent.body_sha256 =
        endpoint_.is_encrypted() ? "UNSIGNED-PAYLOAD" : sha256_hex(sent.body.bytes());
  }
  bool is_ending = false;
  {
    const std::lock_guard lock(mutex_);
    is_ending = ending_;
    calls_.insert(call.get());
  }
  if (is_ending) call->cancelled = true;
  attempt(call);
  return call;
}

void S3Client::cancel(Call& call) {
  call.cancelled = true;
  call.client->engine_->cancel(call.waits_for);
}

S3Client::Answer S3Client::perform(S3Request request, std::stop_token stop) {
  const auto promise = std::make_shared<std::promise<Answer>>();
  const auto call = send(std::move(request), [promise](Result<HttpResponse> response, int tries) {
    promise->set_value(Answer{std::move(response), tries});
  });
  const std::stop_callback on_stop(std::move(stop), [&call] { cancel(*call); });
  return promise->get_future().get();
}

void S3Client::end() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  for (Call* call : calls_) cancel(*call);
  if (!engine_->is_own_thread()) ended_.wait(lock, [this] { return calls_.empty(); });
}

void S3Client::attempt(const std::shared_ptr<Call>& call) {
  if (call->cancelled) {
    return finish(*call, fail(ErrorCode::kCancelled, what(call->request) + ": cancelled"));
  }
  credentials_.get([this, call](Result<FreshCredentials::Found> found) {
    if (found) return send_signed(call, *found);
    Error error = std::move(found).error().with_context(what(call->request));
    if (error.code == ErrorCode::kIo) return try_later(call, std::move(error));
    finish(*call, tl::unexpected(std::move(error)));
  });
}

void S3Client::send_signed(const std::shared_ptr<Call>& call,
                           const FreshCredentials::Found& credentials) {
  const S3Request& request = call->request;
  ++call->tries;
  call->region = region();
  call->credentials = credentials;
  call->signed_at = options_.now();
  UnsignedRequest plain = endpoint_.request(request.key, call->region);
  plain.method = request.method;
  plain.query = request.query;
  plain.headers = request.headers;
  plain.payload_sha256 = request.body_sha256;
  SignedRequest ready = sign(plain, credentials.get(), {call->region, "s3"}, now());

  HttpRequest http;
  http.method = request.method;
  http.url = std::move(ready.url);
  http.headers = std::move(ready.headers);
  http.body = request.body;
  http.into = request.into;
  http.max_body_bytes = request.max_body_bytes;
  http.connect_timeout = options_.connect_timeout;
  const bool is_patient = request.patience > options_.stall_timeout;
  http.stall_timeout = is_patient ? request.patience : options_.stall_timeout;
  http.stall_bytes = is_patient ? 1 : options_.stall_bytes;
  const auto spent = std::chrono::duration_cast<milliseconds>(Retries::Clock::now() - call->began);
  http.deadline =
      std::max({options_.last_try, request.patience, options_.retries.deadline - spent});
  call->wait_for(engine_->start(std::move(http), [this, call](Result<HttpResponse> answer) {
    on_answer(call, std::move(answer));
  }));
}

void S3Client::on_answer(const std::shared_ptr<Call>& call, Result<HttpResponse> answer) {
  const S3Request& request = call->request;
  if (!answer) {
    Error error = std::move(answer).error().with_context(what(request));
    if (error.code == ErrorCode::kIo && !call->cancelled) return try_later(call, std::move(error));
    if (call->cancelled) error.code = ErrorCode::kCancelled;
    return finish(*call, tl::unexpected(std::move(error)));
  }
  has_answered_ = true;
  HttpResponse& response = *answer;
  const bool is_success = response.status >= 200 && response.status < 300;
  const bool is_late_error =
      is_success && request.may_hold_error && response.body.find("<Error>") != std::string::npos;
  if ((is_success && !is_late_error) || response.status == request.accepted) {
    Result<void> checked = check_checksum(request, response);
    if (checked && request.check && is_success) checked = request.check(response);
    if (checked) return finish(*call, std::move(answer));
    return try_later(call, std::move(checked).error().with_context(what(request)));
  }
  const S3ErrorBody body = parse_error_body(response.body);
  if (take_redirect(*call, response, body) || take_clock(*call, response, body) ||
      take_expiry(*call, response, body)) {
    return attempt(call);
  }
  Error error = s3_error({what(request),
                          request.method,
                          request.key.empty() && request.method == "GET",
                          call->credentials != nullptr},
                         response,
                         body);
  if (may_pass(response.status, body.code) || is_late_error)
    return try_later(call, std::move(error));
  finish(*call, tl::unexpected(std::move(error)));
}

// Whether the bucket is in another region than the one that was asked.
bool S3Client::take_redirect(Call& call, const HttpResponse& response, const S3ErrorBody& body) {
  const int status = response.status;
  if (status != 301 && status != 307 && status != 308 && status != 400) return false;
  std::string region(response.header("x-amz-bucket-region"));
  if (region.empty()) region = body.region;
  if (!is_region(region) || region == call.region || ++call.redirects > kMostRedirects)
    return false;
  const std::lock_guard lock(mutex_);
  region_ = std::move(region);
  return true;
}

bool S3Client::take_clock(Call& call, const HttpResponse& response, const S3ErrorBody& body) {
  const auto date = parse_http_date(response.header("date"));
  if (call.has_new_clock || !date || response.status != 403) return false;
  // The answer to a HEAD has no body to say it.
  const auto skew = *date - call.signed_at;
  const bool is_far_off = skew - milliseconds(skew_ms_) > kTolerableSkew ||
                          milliseconds(skew_ms_) - skew > kTolerableSkew;
  if (!is_clock_skew(body.code) && !is_far_off) return false;
  call.has_new_clock = true;
  skew_ms_ = std::chrono::duration_cast<milliseconds>(skew).count();
  return true;
}

bool S3Client::take_expiry(Call& call, const HttpResponse& response, const S3ErrorBody& body) {
  if (call.has_new_credentials || !call.credentials) return false;
  const bool says_so = is_expired_token(body.code);
  const bool may_be = call.request.method == "HEAD" && response.status == 400 &&
                      !call.credentials->session_token.empty();
  if (!says_so && !may_be) return false;
  call.has_new_credentials = true;
  credentials_.refused(call.credentials);
  return true;
}

void S3Client::try_later(const std::shared_ptr<Call>& call, Error error) {
  const auto now = Retries::Clock::now();
  ++call->failures;
  const bool is_hopeless = !has_answered_ && call->failures >= retries_.options().tries_at_first;
  const milliseconds wait = is_hopeless ? milliseconds(0) : retries_.delay(call->failures, now);
  if (is_hopeless || now + wait - call->began > retries_.options().deadline) {
    const auto spent = std::chrono::duration<double>(now - call->began).count();
    error.message += fmt::format(" (tried {} times in {:.1f} s)", call->failures, spent);
    if (is_hopeless && error.hint.empty()) {
      error.hint = "nothing has answered there yet: check the endpoint and the network";
    }
    return finish(*call, tl::unexpected(std::move(error)));
  }
  call->wait_for(engine_->call_after(wait, [this, call] { attempt(call); }));
}

void S3Client::finish(Call& call, Result<HttpResponse> answer) {
  const OnAnswer done = std::move(call.done);
  const auto itself = call.client;  // whatever `done` lets go of
  done(std::move(answer), call.tries);
  const std::lock_guard lock(mutex_);
  calls_.erase(&call);
  if (calls_.empty()) ended_.notify_all();
}

}  // namespace atl::storage
