// SQS speaks JSON over one POST for each action, the action's name in a header ("AWS JSON protocol 1.0",
// Amazon SQS Developer Guide).
#include "storage/namespace/sqs_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/rest.h"
#include "storage/namespace/s3_event.h"
#include "storage/s3/signer.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

using nlohmann::json;

constexpr int kMostMessages = 10;  // SQS's own limit
constexpr size_t kUnreadableKept = 1000;
constexpr std::chrono::seconds kFirstPause{1};
constexpr std::chrono::seconds kLongestPause{60};

std::string text_of(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// "sqs.eu-west-1.amazonaws.com": "eu-west-1"; "" for another host.
std::string region_of(std::string_view host) {
  constexpr std::string_view kService = "sqs.";
  if (!host.starts_with(kService)) return {};
  host.remove_prefix(kService.size());
  const size_t dot = host.find('.');
  return dot == std::string_view::npos ? std::string() : std::string(host.substr(0, dot));
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Blob blob_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

}  // namespace

Result<std::unique_ptr<SqsEvents>> SqsEvents::open(std::shared_ptr<Namespace> names,
                                                   HttpPerform http,
                                                   std::shared_ptr<CredentialsProvider> credentials,
                                                   SqsOptions options) {
  const std::string_view url = options.queue_url;
  const size_t scheme = url.find("://");
  const size_t slash = scheme == std::string_view::npos ? scheme : url.find('/', scheme + 3);
  if ((!url.starts_with("https://") && !url.starts_with("http://")) ||
      slash == std::string_view::npos || slash == scheme + 3) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" is not the URL of a queue", url),
                "such as https://sqs.eu-west-1.amazonaws.com/123456789012/queue");
  }
  std::unique_ptr<SqsEvents> events(
      new SqsEvents(std::move(names), std::move(http), std::move(credentials), std::move(options)));
  const std::string_view kept = events->options_.queue_url;
  events->scheme_ = kept.substr(0, scheme);
  events->host_ = kept.substr(scheme + 3, slash - scheme - 3);
  if (auto region = region_of(events->host_); !region.empty()) {
    events->options_.region = std::move(region);
  }
  if (events->options_.region.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} names no region", kept),
                "give --region, or set AWS_REGION");
  }
  return events;
}

SqsEvents::SqsEvents(std::shared_ptr<Namespace> names,
                     HttpPerform http,
                     std::shared_ptr<CredentialsProvider> credentials,
                     SqsOptions options)
    : names_(std::move(names)),
      http_(std::move(http)),
      credentials_(std::move(credentials)),
      options_(std::move(options)) {
  if (!options_.now) options_.now = [] { return std::chrono::system_clock::now(); };
}

SqsEvents::~SqsEvents() = default;

Result<std::string> SqsEvents::call(std::string_view action, const std::string& body) {
  const auto credentials = ATOLL_TRY(credentials_->get());
  UnsignedRequest request;
  request.method = "POST";
  request.scheme = scheme_;
  request.host = host_;
  request.headers = {{"Content-Type", "application/x-amz-json-1.0"},
                     {"X-Amz-Target", fmt::format("AmazonSQS.{}", action)}};
  request.payload_sha256 = sha256_hex(body);
  auto signed_request = sign(request, credentials.get(), {options_.region, "sqs"}, options_.now());
  HttpRequest http;
  http.method = "POST";
  http.url = std::move(signed_request.url);
  http.headers = std::move(signed_request.headers);
  http.body = blob_of(body);
  // A queue without messages is silent for as long as it was asked to wait.
  http.stall_timeout += options_.wait;
  http.deadline = http.stall_timeout + std::chrono::seconds(10);
  auto response = ATOLL_TRY(http_(http));
  if (response.status == 200) return std::move(response.body);
  const json answer = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  std::string why = text_of(answer, "message");
  if (why.empty()) why = text_of(answer, "Message");
  const bool refused = response.status == 401 || response.status == 403;
  const bool missing = text_of(answer, "__type").ends_with("QueueDoesNotExist");
  return fail(refused   ? ErrorCode::kPermission
              : missing ? ErrorCode::kNotFound
                        : ErrorCode::kIo,
              fmt::format("{}: {}: {} {}", options_.queue_url, action, response.status, why),
              refused ? "the role needs sqs:ReceiveMessage and sqs:DeleteMessage" : "");
}

Result<std::vector<SqsEvents::Message>> SqsEvents::receive_messages() {
  const json body = {{"QueueUrl", options_.queue_url},
                     {"MaxNumberOfMessages", kMostMessages},
                     {"WaitTimeSeconds", options_.wait.count()}};
  const auto text = ATOLL_TRY(call("ReceiveMessage", dump(body)));
  const json answer = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) {
    return fail(ErrorCode::kIo, fmt::format("{}: an answer that is no JSON", options_.queue_url));
  }
  std::vector<Message> messages;
  const auto found = answer.find("Messages");
  if (found == answer.end() || !found->is_array()) return messages;
  for (const json& message : *found) {
    messages.push_back({text_of(message, "MessageId"),
                        text_of(message, "ReceiptHandle"),
                        text_of(message, "Body")});
  }
  return messages;
}

Result<void> SqsEvents::remove(const std::vector<Message>& done) {
  if (done.empty()) return {};
  json entries = json::array();
  for (size_t i = 0; i < done.size(); ++i) {
    entries.push_back({{"Id", std::to_string(i)}, {"ReceiptHandle", done[i].receipt}});
  }
  const json body = {{"QueueUrl", options_.queue_url}, {"Entries", std::move(entries)}};
  // Single ones may fail: they come again, and are no news then.
  return call("DeleteMessageBatch", dump(body)).map([](const std::string&) {});
}

Result<bool> SqsEvents::apply(const Message& message, SqsCounts& counts) {
  auto events = parse_s3_events(message.body);
  if (!events) {
    if (unreadable_.size() < kUnreadableKept && unreadable_.insert(message.id).second) {
      say(fmt::format("{}: message {} is left alone: {}",
                      options_.queue_url,
                      message.id,
                      events.error().message));
    }
    return false;
  }
  for (auto& [bucket, event] : *events) {
    std::string& key = event.info.key;
    if (bucket != options_.bucket || !key.starts_with(options_.prefix)) continue;
    key.erase(0, options_.prefix.size());
    if (key.empty()) continue;
    ++counts.events;
    if (ATOLL_TRY(names_->apply(event))) ++counts.news;
  }
  return true;
}

Result<SqsCounts> SqsEvents::receive() {
  SqsCounts counts;
  std::vector<Message> done;
  auto messages = ATOLL_TRY(receive_messages());
  counts.messages = messages.size();
  for (Message& message : messages) {
    if (ATOLL_TRY(apply(message, counts))) done.push_back(std::move(message));
  }
  ATOLL_TRY(remove(done));
  return counts;
}

void SqsEvents::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void SqsEvents::run(const std::stop_token& stop) {
  auto pause = kFirstPause;
  while (!stop.stop_requested()) {
    const auto counts = receive();
    if (counts) {
      pause = kFirstPause;
      continue;
    }
    say(fmt::format("{}; again in {} s", counts.error().to_string(), pause.count()));
    rest(pause, stop);
    pause = std::min(2 * pause, kLongestPause);
  }
}

}  // namespace atl::storage
