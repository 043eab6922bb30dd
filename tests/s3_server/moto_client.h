// For tests: a client of AWS's services as moto plays them, which believes every signature.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "aws/client.h"

namespace atl::aws {

class MotoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* file = std::getenv("ATOLL_MOTO");
    std::ifstream stream(file == nullptr ? "" : file);
    if (!stream) GTEST_SKIP() << "there is no moto here; see the output of moto_starts";
    endpoint_url_ = nlohmann::json::parse(stream).at("endpoint_url").get<std::string>();
    client_ = open();
  }

  // `deadline`: for another try after what is no answer.
  std::shared_ptr<AwsClient> open(
      std::chrono::milliseconds deadline = AwsClientOptions{}.retries.deadline) const {
    AwsClientOptions options;
    options.endpoint_url = endpoint_url_;
    options.region = "eu-central-1";
    options.retries.deadline = deadline;
    options.variable = [](std::string_view) { return std::optional<std::string>(); };
    options.credentials = std::make_shared<Keys>();
    auto client = AwsClient::open(std::move(options));
    EXPECT_TRUE(client.has_value()) << client.error().to_string();
    return client ? *client : nullptr;
  }

  std::string endpoint_url_;
  std::shared_ptr<AwsClient> client_;

 private:
  class Keys : public storage::CredentialsProvider {
   public:
    Result<std::shared_ptr<const storage::Credentials>> get() override {
      return std::make_shared<const storage::Credentials>(
          storage::Credentials{"testaccess", "testsecretkey123", "", {}});
    }
  };
};

}  // namespace atl::aws
