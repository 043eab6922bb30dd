#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/credentials_sources.h"
#include "storage/s3/fake_credentials_context.h"

namespace atl::storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ContainerCredentialsTest : public testing::Test, protected FakeCredentialsContext {
 protected:
  ContainerCredentialsTest() { http.answer(200, endpoint_answer("TASK")); }

  std::string key() {
    const auto fetched = container_credentials(context());
    return fetched ? fetched->keys.access_key_id : fetched.error().to_string();
  }
  void set_full(std::string_view url) {
    environment.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
  }
};

TEST_F(ContainerCredentialsTest, of_ecs_come_from_its_address) {
  environment.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abc");
  set_full("http://localhost/other");  // the relative one counts
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(http.requests()[0].url, "http://169.254.170.2/v2/credentials/abc");
  EXPECT_EQ(FakeHttp::header(http.requests()[0], "Authorization"), "");
}

TEST_F(ContainerCredentialsTest, of_eks_carry_the_token_of_a_file_read_each_time) {
  set_full("http://169.254.170.23/v1/credentials");
  environment.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "from the environment");
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(FakeHttp::header(http.requests().back(), "Authorization"), "from the environment");
  environment.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", environment.write("token", "one\n"));
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(FakeHttp::header(http.requests().back(), "Authorization"), "one");
  environment.write("token", "two\n");
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(FakeHttp::header(http.requests().back(), "Authorization"), "two");
}

TEST_F(ContainerCredentialsTest, are_asked_for_unencrypted_only_on_this_machine) {
  for (const std::string_view url : {"https://example.com/x",
                                     "http://localhost:1234/x",
                                     "http://127.0.0.1/x",
                                     "http://127.1.2.3:80/x",
                                     "http://[::1]:80/x",
                                     "http://[fd00:ec2::23]/x",
                                     "http://169.254.170.2"}) {
    set_full(url);
    EXPECT_EQ(key(), "TASK") << url;
  }
  const size_t asked = http.requests().size();
  for (const std::string_view url : {"http://example.com/x",
                                     "http://127.0.0.1.example.com/x",
                                     "http://127.0.0.1@example.com/x",
                                     "http://127.0.0.1\\@example.com/x",
                                     "http://localhost.example.com/",
                                     "http://169.254.170.20/",
                                     "http://[::2]/",
                                     "http://[::1",
                                     "http:///x",
                                     "ftp://localhost/x",
                                     "localhost"}) {
    set_full(url);
    EXPECT_THAT(key(), HasSubstr("is neither https:// nor http:// on this machine")) << url;
  }
  EXPECT_EQ(http.requests().size(), asked);
}

TEST_F(ContainerCredentialsTest, with_a_token_that_is_no_header_are_refused) {
  set_full("http://localhost/");
  environment.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET\r\nX: y");
  EXPECT_THAT(key(), AllOf(HasSubstr("no header may have"), Not(HasSubstr("SECRET"))));
  environment.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/no/such/file");
  EXPECT_THAT(key(), HasSubstr("/no/such/file"));
  EXPECT_TRUE(http.requests().empty());
}

TEST_F(ContainerCredentialsTest, that_are_refused_are_so_with_the_agents_text_but_not_the_token) {
  set_full("http://localhost/");
  environment.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET");
  http.answer(400, R"({"code":"AccessDenied","message":"no association"})");
  EXPECT_THAT(key(), HasSubstr("400 AccessDenied: no association"));
  http.answer(400, R"({"code":"AccessDenied","message":"token SECRET is bad"})");
  EXPECT_THAT(key(), AllOf(HasSubstr("400 AccessDenied"), Not(HasSubstr("SECRET"))));
}

TEST_F(ContainerCredentialsTest, are_asked_for_again_where_the_agent_is_not_ready) {
  set_full("http://localhost/");
  http.answer([this](const HttpRequest&) -> Result<HttpResponse> {
    if (http.requests().size() < 3) return FakeHttp::response(500, "");
    return FakeHttp::response(200, endpoint_answer("TASK"));
  });
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(pauses.size(), 2U);
}

}  // namespace
}  // namespace atl::storage
