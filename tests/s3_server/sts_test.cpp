// Roles from an STS that somebody else wrote: moto's. It knows the protocol's shape and believes every signature.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "storage/s3/credentials.h"
#include "storage/s3/fake_environment.h"
#include "storage/s3/http_engine.h"

namespace atl::storage {
namespace {

class StsTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* file = std::getenv("ATOLL_MOTO");
    std::ifstream stream(file == nullptr ? "" : file);
    if (!stream) GTEST_SKIP() << "there is no moto here; see the output of moto_starts";
    environment_.set("AWS_ENDPOINT_URL_STS",
                     nlohmann::json::parse(stream).at("endpoint_url").get<std::string>());
    auto engine = HttpEngine::make();
    ASSERT_TRUE(engine.has_value()) << engine.error().to_string();
    engine_ = *engine;
  }

  std::shared_ptr<const Credentials> credentials() {
    CredentialsContext context;
    context.variable = environment_.variable();
    context.http = [engine = engine_](const HttpRequest& request) {
      return engine->perform(request);
    };
    context.now = [] { return std::chrono::system_clock::now(); };
    auto keys = find_credentials(std::move(context))->get();
    EXPECT_TRUE(keys.has_value()) << keys.error().to_string();
    return keys.value_or(nullptr);
  }

  // Temporary keys that end in about so long.
  static void expect_temporary(const Credentials& keys, std::chrono::seconds lifetime) {
    EXPECT_THAT(keys.access_key_id, testing::StartsWith("ASIA"));
    EXPECT_FALSE(keys.session_token.empty());
    ASSERT_TRUE(keys.expires.has_value());
    const auto left = *keys.expires - std::chrono::system_clock::now();
    EXPECT_GT(left, lifetime - std::chrono::minutes(2));
    EXPECT_LT(left, lifetime + std::chrono::minutes(2));
  }

  FakeEnvironment environment_;
  std::shared_ptr<HttpEngine> engine_;
};

TEST_F(StsTest, gives_the_keys_of_a_role_that_a_profile_names) {
  environment_.write(".aws/config",
                     "[default]\nrole_arn = arn:aws:iam::123456789012:role/reader\n"
                     "source_profile = base\nduration_seconds = 900\nregion = eu-central-1\n"
                     "[profile base]\naws_access_key_id = AKIAEXAMPLE\n"
                     "aws_secret_access_key = SECRET\n");
  const auto keys = credentials();
  ASSERT_NE(keys, nullptr);
  expect_temporary(*keys, std::chrono::seconds(900));
}

TEST_F(StsTest, gives_the_keys_of_a_role_for_a_web_identity) {
  environment_.set("AWS_WEB_IDENTITY_TOKEN_FILE",
                   environment_.write("token", "header.claims.sign"));
  environment_.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader");
  const auto keys = credentials();
  ASSERT_NE(keys, nullptr);
  expect_temporary(*keys, std::chrono::hours(1));
}

}  // namespace
}  // namespace atl::storage
