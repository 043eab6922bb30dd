// The real S3 server of the tests (server.cmake), for tests in C++.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "storage/s3/credentials.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/s3_remote.h"

namespace atl::storage {

struct S3Server {
  std::string endpoint_url;
  std::string host;
  int port = 0;
  Credentials user;
  Credentials other_user;  // to whom the first one's buckets are forbidden
};

// nullopt where there is none: the test says so with GTEST_SKIP.
inline std::optional<S3Server> find_s3_server() {
  const char* file = std::getenv("ATOLL_S3_SERVER");
  std::ifstream stream(file == nullptr ? "" : file);
  if (!stream) return std::nullopt;
  const auto json = nlohmann::json::parse(stream);
  S3Server server;
  server.endpoint_url = json.at("endpoint_url");
  server.host = json.at("host");
  server.port = json.at("port");
  server.user.access_key_id = json.at("access_key_id");
  server.user.secret_access_key = json.at("secret_access_key");
  server.other_user.access_key_id = json.at("other_access_key_id");
  server.other_user.secret_access_key = json.at("other_secret_access_key");
  return server;
}

class FixedCredentials : public CredentialsProvider {
 public:
  explicit FixedCredentials(std::optional<Credentials> credentials) {
    if (credentials) credentials_ = std::make_shared<const Credentials>(std::move(*credentials));
  }
  Result<std::shared_ptr<const Credentials>> get() override { return credentials_; }

 private:
  std::shared_ptr<const Credentials> credentials_;
};

// A test with a bucket of its own on the server; skipped where there is no server.
class S3ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = find_s3_server();
    if (!server_) GTEST_SKIP() << "there is no S3 server here; see the output of s3_server_starts";
    auto engine = HttpEngine::make();
    ASSERT_TRUE(engine.has_value()) << engine.error().to_string();
    engine_ = *engine;
    static std::atomic<int> count{0};
    bucket_ = "test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    S3Request request;
    request.method = "PUT";
    const auto made = client(server_->user)->perform(request).response;
    ASSERT_TRUE(made.has_value()) << made.error().to_string();
  }

  std::shared_ptr<S3Client> client(std::optional<Credentials> credentials,
                                   S3ClientOptions options = {}) const {
    return client_at(server_->endpoint_url, std::move(credentials), std::move(options));
  }
  std::shared_ptr<S3Client> client_at(const std::string& endpoint_url,
                                      std::optional<Credentials> credentials,
                                      S3ClientOptions options = {}) const {
    auto endpoint = S3Endpoint::make(bucket_, endpoint_url, std::nullopt);
    EXPECT_TRUE(endpoint.has_value()) << endpoint.error().to_string();
    return S3Client::make(std::move(*endpoint),
                          std::move(options),
                          engine_,
                          std::make_shared<FixedCredentials>(std::move(credentials)));
  }
  std::shared_ptr<Remote> remote(std::string prefix = {}, S3TransferOptions transfer = {}) const {
    return make_s3_remote(client(server_->user), std::move(prefix), transfer);
  }

  std::optional<S3Server> server_;
  std::shared_ptr<HttpEngine> engine_;
  std::string bucket_;
};

}  // namespace atl::storage
