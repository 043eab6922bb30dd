#include "cli/bucket_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace atl::cli {
namespace {

constexpr std::array kVariables = {"AWS_ENDPOINT_URL_S3",
                                   "AWS_REGION",
                                   "AWS_PROFILE",
                                   "AWS_ACCESS_KEY_ID",
                                   "ATOLL_NO_SIGN_REQUEST",
                                   "ATOLL_CACHE_DIR",
                                   "ATOLL_CACHE_SIZE"};

class BucketOptionsTest : public testing::Test {
 protected:
  BucketOptionsTest() {
    for (const char* name : kVariables) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
    app_.add_subcommand("train");
    app_.add_subcommand("data")->add_subcommand("stats");
    add_bucket_options(app_);
  }
  ~BucketOptionsTest() override {
    for (const char* name : kVariables) {
      const auto found = before_.find(name);
      if (found == before_.end()) {
        ::unsetenv(name);
      } else {
        ::setenv(name, found->second.c_str(), 1);
      }
    }
  }
  void parse(std::vector<std::string> words) {
    std::ranges::reverse(words);
    app_.parse(words);
  }
  static std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "(not set)" : value;
  }

  CLI::App app_;
  std::map<std::string, std::string> before_;
};

TEST_F(BucketOptionsTest, are_the_environment_in_other_words) {
  parse({"train",
         "--endpoint-url",
         "http://minio:9000",
         "--region",
         "eu-west-1",
         "--no-sign-request",
         "--cache-dir",
         "/fsx/cache",
         "--cache-size",
         "200GB"});
  EXPECT_EQ(variable("AWS_ENDPOINT_URL_S3"), "http://minio:9000");
  EXPECT_EQ(variable("AWS_REGION"), "eu-west-1");
  EXPECT_EQ(variable("ATOLL_NO_SIGN_REQUEST"), "1");
  EXPECT_EQ(variable("ATOLL_CACHE_DIR"), "/fsx/cache");
  EXPECT_EQ(variable("ATOLL_CACHE_SIZE"), "200GB");
}

TEST_F(BucketOptionsTest, belong_to_commands_below_commands_too) {
  parse({"data", "stats", "--region", "us-west-2"});
  EXPECT_EQ(variable("AWS_REGION"), "us-west-2");
}

TEST_F(BucketOptionsTest, leave_alone_what_is_not_given) {
  ::setenv("AWS_REGION", "us-east-2", 1);
  parse({"train"});
  EXPECT_EQ(variable("AWS_REGION"), "us-east-2");
  EXPECT_EQ(variable("ATOLL_NO_SIGN_REQUEST"), "(not set)");
}

TEST_F(BucketOptionsTest, a_profile_that_is_named_goes_before_keys_of_the_environment) {
  ::setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
  parse({"train", "--profile", "lab"});
  EXPECT_EQ(variable("AWS_PROFILE"), "lab");
  EXPECT_EQ(variable("AWS_ACCESS_KEY_ID"), "(not set)");
}

TEST_F(BucketOptionsTest, a_size_that_is_none_is_refused) {
  EXPECT_THROW(parse({"train", "--cache-size", "much"}), CLI::ValidationError);
}

}  // namespace
}  // namespace atl::cli
