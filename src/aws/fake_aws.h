// AWS for tests: answers by operation, keeps what was asked; time passes only while a client waits.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"
#include "base/check.h"
#include "storage/s3/fake_http.h"

namespace atl::aws {

class FakeAws {
 public:
  struct Request {
    std::string operation;  // "CreateTrainingJob"
    std::string body;       // JSON or a form
    storage::HttpRequest http;

    nlohmann::json json() const { return nlohmann::json::parse(body); }
  };
  using Answer = std::function<Result<storage::HttpResponse>(const Request& request)>;

  // Asked for everything.
  explicit FakeAws(Answer answer) : answer_(std::move(answer)) {}
  FakeAws(const FakeAws&) = delete;
  FakeAws& operator=(const FakeAws&) = delete;

  static storage::HttpResponse json(const nlohmann::json& body) {
    return storage::FakeHttp::response(200, body.dump());
  }
  static storage::HttpResponse refusal(int status,
                                       std::string_view code,
                                       std::string_view message = {}) {
    return storage::FakeHttp::response(
        status, nlohmann::json{{"__type", code}, {"message", message}}.dump());
  }
  static storage::HttpResponse xml(std::string body, int status = 200) {
    return storage::FakeHttp::response(status, std::move(body));
  }

  // To be changed before client(). Must outlive the client.
  AwsClientOptions options() {
    AwsClientOptions options;
    options.region = "eu-central-1";
    options.variable = [](std::string_view) { return std::optional<std::string>(); };
    options.http = [this](const storage::HttpRequest& request) { return answer(request); };
    options.credentials = std::make_shared<Keys>(*this);
    options.now = [this] { return now; };
    options.clock = [this] { return std::chrono::steady_clock::time_point() + passed(); };
    options.pause = [this](std::chrono::milliseconds time) {
      const std::lock_guard lock(mutex_);
      pauses_.push_back(time);
    };
    return options;
  }
  std::shared_ptr<AwsClient> client() { return client(options()); }
  static std::shared_ptr<AwsClient> client(AwsClientOptions options) {
    auto client = AwsClient::open(std::move(options));
    ATOLL_CHECK(client.has_value()) << client.error().to_string();
    return *client;
  }

  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::vector<std::string> operations() const {
    std::vector<std::string> names;
    for (const Request& request : requests()) names.push_back(request.operation);
    return names;
  }
  std::chrono::milliseconds passed() const {
    const std::lock_guard lock(mutex_);
    std::chrono::milliseconds sum{0};
    for (const auto pause : pauses_) sum += pause;
    return sum;
  }
  size_t pauses() const {
    const std::lock_guard lock(mutex_);
    return pauses_.size();
  }
  int refused_keys() const { return refused_keys_; }

  std::chrono::system_clock::time_point now{std::chrono::seconds(1'700'000'000)};

 private:
  class Keys : public storage::CredentialsProvider {
   public:
    explicit Keys(FakeAws& aws) : aws_(aws) {}
    Result<std::shared_ptr<const storage::Credentials>> get() override {
      return std::make_shared<const storage::Credentials>(
          storage::Credentials{"AKIAEXAMPLE", "SECRETKEY", "SESSIONTOKEN", {}});
    }
    void refused(const storage::Credentials&) override { ++aws_.refused_keys_; }

   private:
    FakeAws& aws_;
  };

  static std::string operation_of(const storage::HttpRequest& request) {
    const std::string_view target = storage::FakeHttp::header(request, "X-Amz-Target");
    if (!target.empty()) return std::string(target.substr(target.rfind('.') + 1));
    std::string_view form = request.body.text();
    constexpr std::string_view kAction = "Action=";
    if (!form.starts_with(kAction)) return {};
    form.remove_prefix(kAction.size());
    return std::string(form.substr(0, form.find('&')));
  }

  Result<storage::HttpResponse> answer(const storage::HttpRequest& request) {
    Request asked{operation_of(request), std::string(request.body.text()), request};
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(asked);
    }
    return answer_(asked);
  }

  const Answer answer_;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<std::chrono::milliseconds> pauses_;
  int refused_keys_ = 0;
};

}  // namespace atl::aws
