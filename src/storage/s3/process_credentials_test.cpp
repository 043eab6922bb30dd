#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/credentials_sources.h"

namespace atl::storage {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

TEST(ProcessCredentials, are_what_the_command_prints) {
  const auto fetched = process_credentials(
      R"(printf '{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "S"}' 'A''B')");
  ASSERT_TRUE(fetched.has_value()) << fetched.error().to_string();
  EXPECT_EQ(fetched->keys.access_key_id, "AB");
}

TEST(ProcessCredentials, of_a_command_that_fails_are_an_error_without_its_output) {
  const auto fetched = process_credentials("echo SECRET; echo SECRET >&2; exit 3");
  ASSERT_FALSE(fetched.has_value());
  EXPECT_EQ(fetched.error().code, ErrorCode::kPermission);
  EXPECT_THAT(fetched.error().to_string(), HasSubstr("failed with status 3"));
  EXPECT_THAT(fetched.error().to_string(), Not(HasSubstr("SECRET")));
}

TEST(ProcessCredentials, of_a_command_that_does_not_answer_end_it_with_what_it_started) {
  // The shell's child holds our pipe; it must be gone, too, or this would not return.
  const auto fetched =
      process_credentials("tail -f /dev/null; exit 0", {.answer = milliseconds(50)});
  ASSERT_FALSE(fetched.has_value());
  EXPECT_THAT(fetched.error().to_string(), HasSubstr("has not answered in time"));
}

TEST(ProcessCredentials, of_a_command_that_does_not_end_are_an_error) {
  const auto fetched =
      process_credentials("exec >/dev/null; tail -f /dev/null", {.end = milliseconds(50)});
  ASSERT_FALSE(fetched.has_value());
  EXPECT_THAT(fetched.error().to_string(), HasSubstr("has not ended in time"));
}

TEST(ProcessCredentials, of_a_command_that_is_killed_are_an_error) {
  EXPECT_THAT(process_credentials("kill -9 $$").error().to_string(),
              HasSubstr("ended by signal 9"));
}

TEST(ProcessCredentials, of_a_command_that_prints_without_end_are_an_error) {
  EXPECT_THAT(process_credentials("cat /dev/zero").error().to_string(),
              HasSubstr("prints too much"));
}

TEST(ProcessCredentials, of_a_command_that_prints_something_else_are_an_error) {
  EXPECT_FALSE(process_credentials("echo hello").has_value());
  EXPECT_FALSE(process_credentials("/no/such/program").has_value());
}

}  // namespace
}  // namespace atl::storage
