// For tests of the client: a remote at a server that misbehaves as the test says. What a good server does with it:
// tests/s3_server/s3_remote_test.cpp.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "storage/s3/s3_client.h"
#include "storage/s3/s3_remote.h"
#include "storage/s3/scripted_server.h"

namespace atl::storage {

inline constexpr std::string_view kContent = "0123456789";

// Gives one set of keys after the other.
class NumberedCredentials : public CredentialsProvider {
 public:
  Result<std::shared_ptr<const Credentials>> get() override {
    auto credentials = std::make_shared<Credentials>();
    credentials->access_key_id = fmt::format("key{}", number_.load());
    credentials->secret_access_key = "very-secret";
    credentials->session_token = fmt::format("token{}", number_.load());
    return credentials;
  }
  void refused(const Credentials& credentials) override {
    if (credentials.access_key_id == fmt::format("key{}", number_.load())) ++number_;
  }

 private:
  std::atomic<int> number_ = 1;
};

inline ScriptedAnswer range_answer(const ScriptedRequest& request,
                                   std::vector<HttpHeader> headers = {}) {
  size_t first = 0;
  size_t last = 0;
  std::sscanf(std::string(request.header("range")).c_str(), "bytes=%zu-%zu", &first, &last);
  last = std::min(last, kContent.size() - 1);
  headers.push_back({"ETag", "\"v1\""});
  headers.push_back({"Content-Range", fmt::format("bytes {}-{}/{}", first, last, kContent.size())});
  return scripted_answer(206, kContent.substr(first, last - first + 1), headers);
}

inline ScriptedAnswer error_answer(int status,
                                   std::string_view code,
                                   const std::vector<HttpHeader>& headers = {},
                                   std::string_view more = {}) {
  return scripted_answer(
      status,
      fmt::format("<Error><Code>{}</Code><Message>m</Message>{}</Error>", code, more),
      headers);
}

inline RetryOptions quick() {
  RetryOptions retries;
  retries.first_delay = std::chrono::milliseconds(0);
  retries.max_delay = std::chrono::milliseconds(1);
  return retries;
}

// A remote at a server that answers its n-th request by the n-th script, and the last one for ever.
class Scripted {
 public:
  using Script = ScriptedServer::Script;

  explicit Scripted(std::vector<Script> scripts,
                    S3ClientOptions options = defaults(),
                    S3TransferOptions transfer = {})
      : scripts_(std::move(scripts)), server_([this](const ScriptedRequest& request) {
          const size_t n = count_++;
          return scripts_[std::min(n, scripts_.size() - 1)](request);
        }) {
    options.now = options.now ? options.now : [] { return std::chrono::system_clock::now(); };
    client_ = S3Client::make(*S3Endpoint::make("bucket", server_.url(), std::nullopt),
                             options,
                             *HttpEngine::make(),
                             std::make_shared<NumberedCredentials>());
    remote_ = make_s3_remote(client_, "", transfer);
  }

  static S3ClientOptions defaults() {
    S3ClientOptions options;
    options.retries = quick();
    return options;
  }

  Remote& remote() { return *remote_; }
  S3Client& client() { return *client_; }
  std::vector<ScriptedRequest> requests() const { return server_.requests(); }
  ScriptedServer& server() { return server_; }
  void drop_remote() { remote_.reset(); }
  Result<RangeBytes> read(uint64_t offset = 2, uint64_t size = 5, std::string if_match = {}) {
    return remote_->read({"k", offset, size, std::move(if_match)});
  }

 private:
  std::vector<Script> scripts_;
  std::atomic<size_t> count_ = 0;
  ScriptedServer server_;
  std::shared_ptr<S3Client> client_;
  std::shared_ptr<Remote> remote_;
};

inline ScriptedAnswer good(const ScriptedRequest& request) { return range_answer(request); }

inline Scripted::Script always(ScriptedAnswer answer) {
  return [answer](const ScriptedRequest&) { return answer; };
}

}  // namespace atl::storage
