// What the client makes of answers and of none. What is sent: s3_transfer_test.cpp.
#include "storage/s3/s3_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "storage/s3/scripted_remote.h"

namespace atl::storage {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;
using Then = ScriptedAnswer::Then;

TEST(S3Client, what_passes_is_tried_again) {
  auto short_body = [](const ScriptedRequest& request) {
    auto answer = range_answer(request);
    answer.bytes.resize(answer.bytes.size() - 2);
    answer.then = Then::kClose;
    return answer;
  };
  auto reset_body = [short_body](const ScriptedRequest& request) {
    auto answer = short_body(request);
    answer.then = Then::kReset;
    return answer;
  };
  const std::vector<Scripted::Script> failures = {
      always(error_answer(503, "SlowDown")),
      always(error_answer(500, "InternalError")),
      always(scripted_answer(429)),
      always(scripted_answer(502, "<html>bad gateway</html>")),
      always(scripted_answer(504)),
      always(error_answer(400, "RequestTimeout")),
      always(error_answer(409, "OperationAborted")),
      always({"", Then::kReset}),
      always({"", Then::kClose}),
      short_body,
      reset_body,
  };
  for (size_t i = 0; i < failures.size(); ++i) {
    Scripted s3({failures[i], failures[i], good});
    const auto range = s3.read();
    ASSERT_TRUE(range.has_value()) << i << ": " << range.error().to_string();
    EXPECT_EQ(range->bytes.text(), "23456");
    EXPECT_EQ(s3.requests().size(), 3u) << i;
  }
}

TEST(S3Client, an_answer_that_is_not_what_was_asked_for_is_tried_again) {
  const auto with = [](std::string_view body, std::vector<HttpHeader> headers, int status = 206) {
    return always(scripted_answer(status, body, headers));
  };
  const std::vector<Scripted::Script> wrong = {
      with("23456", {{"ETag", "\"v1\""}}),
      with("23456", {{"ETag", "\"v1\""}, {"Content-Range", "bytes 3-7/10"}}),
      with("2345", {{"ETag", "\"v1\""}, {"Content-Range", "bytes 2-5/10"}}),
      with("2345", {{"ETag", "\"v1\""}, {"Content-Range", "bytes 2-6/10"}}),
      with("23456", {{"Content-Range", "bytes 2-6/10"}}),
      with("23456", {{"ETag", "\"v2\""}, {"Content-Range", "bytes 2-6/10"}}),
      with("0123456789", {{"ETag", "\"v1\""}, {"Content-Range", "bytes 0-9/10"}}),
      with("01234", {{"ETag", "\"v1\""}}, 200),
      with("", {{"ETag", "\"v1\""}}, 204),
  };
  for (size_t i = 0; i < wrong.size(); ++i) {
    Scripted s3({wrong[i], good});
    const auto range = s3.read(2, 5, "\"v1\"");
    ASSERT_TRUE(range.has_value()) << i << ": " << range.error().to_string();
    EXPECT_EQ(range->bytes.text(), "23456");
    EXPECT_EQ(s3.requests().size(), 2u) << i;
  }
}

TEST(S3Client, a_server_may_send_the_whole_where_the_whole_was_asked_for) {
  Scripted s3({always(scripted_answer(200, kContent, {{"ETag", "v1"}}))});
  const auto range = s3.read(0, 100, "\"v1\"");
  ASSERT_TRUE(range.has_value()) << range.error().to_string();
  EXPECT_EQ(range->bytes.text(), kContent);
  EXPECT_EQ(range->info.size_bytes, kContent.size());
}

TEST(S3Client, a_stall_is_tried_again_and_so_is_a_trickle) {
  auto options = Scripted::defaults();
  options.stall_timeout = milliseconds(50);
  options.stall_bytes = 1000;
  auto half = [](const ScriptedRequest& request) {
    auto answer = range_answer(request);
    answer.bytes.resize(answer.bytes.size() - 2);
    answer.then = Then::kHold;
    return answer;
  };
  Scripted s3({always({"", Then::kHold}), half, good}, options);
  const auto range = s3.read();
  ASSERT_TRUE(range.has_value()) << range.error().to_string();
  EXPECT_EQ(range->bytes.text(), "23456");
  // On a busy machine the good answer may be late, too.
  EXPECT_GE(s3.requests().size(), 3u);
}

TEST(S3Client, what_does_not_pass_is_told_at_once_with_what_to_check) {
  const std::vector<std::tuple<ScriptedAnswer, ErrorCode, std::string>> cases = {
      {error_answer(404, "NoSuchKey"), ErrorCode::kNotFound, ""},
      {error_answer(404, "NoSuchBucket"), ErrorCode::kNotFound, "bucket's name"},
      {error_answer(403, "AccessDenied"), ErrorCode::kPermission, "s3:GetObject"},
      {error_answer(403, "InvalidAccessKeyId"), ErrorCode::kPermission, "access key"},
      {error_answer(403, "SignatureDoesNotMatch"), ErrorCode::kPermission, "secret key"},
      {scripted_answer(403), ErrorCode::kPermission, "policy"},
      {error_answer(412, "PreconditionFailed"), ErrorCode::kConflict, ""},
      {error_answer(501, "NotImplemented"), ErrorCode::kIo, ""},
      {error_answer(400, "InvalidArgument"), ErrorCode::kIo, ""},
      {error_answer(301, "PermanentRedirect"), ErrorCode::kIo, "AWS_REGION"},
  };
  for (const auto& [answer, code, hint] : cases) {
    Scripted s3({always(answer)});
    const auto range = s3.read();
    ASSERT_FALSE(range.has_value());
    const std::string text = range.error().to_string();
    EXPECT_EQ(range.error().code, code) << text;
    EXPECT_THAT(text, HasSubstr("GET s3://bucket/k"));
    EXPECT_THAT(text, Not(HasSubstr("very-secret")));
    EXPECT_THAT(range.error().hint, HasSubstr(hint));
    EXPECT_EQ(s3.requests().size(), 1u) << text;
  }
}

TEST(S3Client, an_errors_text_stays_one_line) {
  Scripted s3({always(error_answer(403, "Access\nDenied\x1b[31m"))});
  const std::string text = s3.read().error().to_string();
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(S3Client, the_deadline_ends_the_tries) {
  auto options = Scripted::defaults();
  options.retries.first_delay = milliseconds(2);
  options.retries.max_delay = milliseconds(5);
  options.retries.deadline = milliseconds(60);
  Scripted s3({always(error_answer(503, "SlowDown"))}, options);
  const auto range = s3.read();
  ASSERT_FALSE(range.has_value());
  EXPECT_EQ(range.error().code, ErrorCode::kIo);
  EXPECT_THAT(range.error().message, HasSubstr("503 SlowDown"));
  EXPECT_THAT(range.error().message,
              HasSubstr(fmt::format("tried {} times", s3.requests().size())));
}

TEST(S3Client, an_endpoint_that_never_answered_is_given_up_soon) {
  auto options = Scripted::defaults();
  options.retries.tries_at_first = 3;
  Scripted s3({always({"", Then::kReset})}, options);
  const auto range = s3.read();
  ASSERT_FALSE(range.has_value());
  EXPECT_EQ(s3.requests().size(), 3u);
  EXPECT_THAT(range.error().hint, HasSubstr("endpoint"));
}

TEST(S3Client, all_requests_share_one_budget) {
  auto options = Scripted::defaults();
  options.retries.deadline = milliseconds(300);
  options.retries.budget = 10;
  options.retries.budget_per_second = 20;
  Scripted s3({always(error_answer(503, "SlowDown"))}, options);
  constexpr int kReaders = 100;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::promise<Result<RangeBytes>>> promises(kReaders);
  for (auto& promise : promises) {
    s3.remote().read_async({"k", 0, 1, {}},
                           [&promise](auto range) { promise.set_value(std::move(range)); });
  }
  for (auto& promise : promises) EXPECT_FALSE(promise.get_future().get().has_value());
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  // Each reader's first try, the budget, and what it has filled by meanwhile.
  EXPECT_LE(static_cast<double>(s3.requests().size()), kReaders + 10 + 20 * spent.count() + 1);
}

TEST(S3Client, the_buckets_region_is_learnt_from_a_redirect_and_remembered) {
  for (const auto& redirect : {
           error_answer(301, "PermanentRedirect", {{"x-amz-bucket-region", "eu-west-3"}}),
           error_answer(307, "TemporaryRedirect", {{"x-amz-bucket-region", "eu-west-3"}}),
           error_answer(400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-3</Region>"),
           scripted_answer(400, "", {{"x-amz-bucket-region", "eu-west-3"}}),
       }) {
    Scripted s3({always(redirect), good});
    ASSERT_TRUE(s3.read().has_value());
    ASSERT_TRUE(s3.read().has_value());
    const auto requests = s3.requests();
    ASSERT_EQ(requests.size(), 3u);
    EXPECT_THAT(requests[0].header("authorization"), HasSubstr("/us-east-1/s3/"));
    EXPECT_THAT(requests[1].header("authorization"), HasSubstr("/eu-west-3/s3/"));
    EXPECT_THAT(requests[2].header("authorization"), HasSubstr("/eu-west-3/s3/"));
    EXPECT_EQ(s3.client().region(), "eu-west-3");
  }
}

TEST(S3Client, redirects_in_a_circle_and_to_places_that_are_none_end) {
  std::atomic<int> n = 0;
  Scripted circle({[&](const ScriptedRequest&) {
    return error_answer(
        301, "PermanentRedirect", {{"x-amz-bucket-region", fmt::format("r-{}", ++n)}});
  }});
  EXPECT_FALSE(circle.read().has_value());
  EXPECT_LE(circle.requests().size(), 5u);
  Scripted nowhere(
      {always(error_answer(301, "PermanentRedirect", {{"x-amz-bucket-region", "evil.com/"}}))});
  EXPECT_FALSE(nowhere.read().has_value());
  EXPECT_EQ(nowhere.requests().size(), 1u);
}

TEST(S3Client, an_expired_token_is_renewed_once) {
  Scripted s3({always(error_answer(400, "ExpiredToken")), good});
  ASSERT_TRUE(s3.read().has_value());
  const auto requests = s3.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].header("x-amz-security-token"), "token1");
  EXPECT_EQ(requests[1].header("x-amz-security-token"), "token2");
  Scripted always_expired({always(error_answer(400, "ExpiredToken"))});
  const auto range = always_expired.read();
  ASSERT_FALSE(range.has_value());
  EXPECT_EQ(range.error().code, ErrorCode::kPermission);
  EXPECT_EQ(always_expired.requests().size(), 2u);
}

TEST(S3Client, the_answer_to_a_head_cannot_say_that_the_token_has_expired) {
  const auto head = [](const ScriptedRequest&) {
    return ScriptedAnswer{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n"};
  };
  Scripted s3({always({"HTTP/1.1 400 Bad Request\r\n\r\n", Then::kClose}), head});
  const auto there = s3.remote().stat("k");
  ASSERT_TRUE(there.has_value()) << there.error().to_string();
  EXPECT_EQ(there->info.size_bytes, 10u);
  EXPECT_EQ(s3.requests()[1].header("x-amz-security-token"), "token2");
}

TEST(S3Client, a_clock_that_is_off_is_mended_by_the_servers_date) {
  for (const char* code : {"RequestTimeTooSkewed", "AccessDenied"}) {
    auto options = Scripted::defaults();
    options.now = [] { return *parse_iso_date("2026-11-26T12:00:00Z"); };
    Scripted s3(
        {always(error_answer(403, code, {{"Date", "Thu, 26 Nov 2026 15:30:00 GMT"}})), good},
        options);
    ASSERT_TRUE(s3.read().has_value()) << code;
    const auto requests = s3.requests();
    ASSERT_EQ(requests.size(), 2u);
    EXPECT_EQ(requests[0].header("x-amz-date"), "20261126T120000Z");
    EXPECT_EQ(requests[1].header("x-amz-date"), "20261126T153000Z");
  }
}

TEST(S3Client, the_remotes_end_is_the_end_of_its_reads) {
  Scripted s3({always({"", Then::kHold})});
  std::promise<Result<RangeBytes>> read;
  bool was_called = false;
  s3.remote().read_async({"k", 0, 1, {}}, [&](auto range) {
    was_called = true;
    read.set_value(std::move(range));
  });
  s3.server().wait_for_requests(1);
  s3.drop_remote();
  EXPECT_TRUE(was_called);
  EXPECT_EQ(read.get_future().get().error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace atl::storage
