// The client against a server that misbehaves as the test says. What a good server does with it:
// tests/s3_server/s3_remote_test.cpp.
#include "storage/s3/s3_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "base/crc32c.h"
#include "storage/s3/md5.h"
#include "storage/s3/s3_remote.h"
#include "storage/s3/scripted_server.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;
using Then = ScriptedAnswer::Then;

constexpr std::string_view kContent = "0123456789";

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

ScriptedAnswer range_answer(const ScriptedRequest& request, std::vector<HttpHeader> headers = {}) {
  size_t first = 0;
  size_t last = 0;
  std::sscanf(std::string(request.header("range")).c_str(), "bytes=%zu-%zu", &first, &last);
  last = std::min(last, kContent.size() - 1);
  headers.push_back({"ETag", "\"v1\""});
  headers.push_back({"Content-Range", fmt::format("bytes {}-{}/{}", first, last, kContent.size())});
  return scripted_answer(206, kContent.substr(first, last - first + 1), headers);
}

ScriptedAnswer error_answer(int status,
                            std::string_view code,
                            const std::vector<HttpHeader>& headers = {},
                            std::string_view more = {}) {
  return scripted_answer(
      status,
      fmt::format("<Error><Code>{}</Code><Message>m</Message>{}</Error>", code, more),
      headers);
}

RetryOptions quick() {
  RetryOptions retries;
  retries.first_delay = milliseconds(0);
  retries.max_delay = milliseconds(1);
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

ScriptedAnswer good(const ScriptedRequest& request) { return range_answer(request); }

Scripted::Script always(ScriptedAnswer answer) {
  return [answer](const ScriptedRequest&) { return answer; };
}

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

TEST(S3Client, a_body_that_does_not_match_its_checksum_is_fetched_again) {
  const std::string right = checksum_text(crc32c(kContent));
  const auto answer = [](std::string checksum) {
    return [checksum](const ScriptedRequest& request) {
      return range_answer(request, {{"x-amz-checksum-crc32c", checksum}});
    };
  };
  Scripted s3({answer("AAAAAA=="), answer(right)});
  ASSERT_TRUE(s3.read(0, 10).has_value());
  EXPECT_EQ(s3.requests().size(), 2u);
  EXPECT_EQ(s3.requests()[0].header("x-amz-checksum-mode"), "ENABLED");
  // Of a part's bytes, or of the parts' checksums, it says nothing.
  Scripted part({answer("AAAAAA==")});
  EXPECT_TRUE(part.read(0, 5).has_value());
  Scripted composite({answer("AAAAAA==-2")});
  EXPECT_TRUE(composite.read(0, 10).has_value());
}

TEST(S3Client, an_upload_carries_its_checksums) {
  Scripted s3({always(scripted_answer(200, "", {{"ETag", "\"v1\""}}))});
  const auto bytes = std::as_bytes(std::span(kContent));
  const Blob body(std::vector<std::byte>(bytes.begin(), bytes.end()));
  ASSERT_TRUE(s3.remote().upload("k", upload_source(body), {}).has_value());
  const auto request = s3.requests().at(0);
  EXPECT_EQ(request.body, kContent);
  EXPECT_EQ(request.header("x-amz-checksum-crc32c"), checksum_text(crc32c(kContent)));
  EXPECT_EQ(request.header("x-amz-content-sha256"), sha256_hex(kContent));
}

TEST(S3Client, a_conflict_with_an_earlier_try_of_our_own_is_none) {
  const std::string etag = "\"" + to_hex(*md5(kContent)) + "\"";
  const auto head =
      always({fmt::format("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: {}\r\n\r\n", etag)});
  Scripted s3({always({"", Then::kReset}), always(error_answer(412, "PreconditionFailed")), head});
  const auto bytes = std::as_bytes(std::span(kContent));
  const Blob body(std::vector<std::byte>(bytes.begin(), bytes.end()));
  UploadOptions options;
  options.if_absent = true;
  const auto info = s3.remote().upload("k", upload_source(body), options);
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  EXPECT_EQ(info->etag, etag);
  // Without an earlier try it is somebody else's.
  Scripted other({always(error_answer(412, "PreconditionFailed")), head});
  EXPECT_EQ(other.remote().upload("k", upload_source(body), options).error().code,
            ErrorCode::kConflict);
}

TEST(S3Client, an_upload_in_parts_whose_last_answer_was_lost_is_found) {
  const std::string part = to_hex(*md5("part"));
  const std::string digest(reinterpret_cast<const char*>(md5("part")->data()), 16);
  const std::string whole = to_hex(*md5(digest + digest)) + "-2";
  S3TransferOptions transfer;
  transfer.one_put_bytes = 5;
  transfer.part_bytes = 5;
  std::atomic<bool> aborted = false;
  const auto serve = [&](std::string etag) {
    return [&aborted, part, etag](const ScriptedRequest& request) -> ScriptedAnswer {
      if (request.target.ends_with("uploads=")) {
        return scripted_answer(200,
                               "<InitiateMultipartUploadResult><UploadId>u</UploadId></"
                               "InitiateMultipartUploadResult>");
      }
      if (request.method == "PUT") return scripted_answer(200, "", {{"ETag", "\"" + part + "\""}});
      if (request.method == "POST") return error_answer(404, "NoSuchUpload");
      if (request.method == "DELETE") aborted = true;
      if (request.method == "DELETE") return scripted_answer(204);
      return {fmt::format("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"{}\"\r\n\r\n", etag)};
    };
  };
  const auto bytes = std::as_bytes(std::span(kContent));
  const Blob body(std::vector<std::byte>(bytes.begin(), bytes.end()));
  Scripted s3({serve(whole)}, Scripted::defaults(), transfer);
  const auto info = s3.remote().upload("k", upload_source(body), {});
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  EXPECT_EQ(info->etag, "\"" + whole + "\"");
  EXPECT_FALSE(aborted);
  Scripted other({serve("somebody-elses")}, Scripted::defaults(), transfer);
  EXPECT_FALSE(other.remote().upload("k", upload_source(body), {}).has_value());
  EXPECT_TRUE(aborted);
}

TEST(S3Client, a_copy_that_fails_after_its_200_is_tried_again) {
  const auto head = always({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n"});
  Scripted s3(
      {head,
       always(scripted_answer(200, "  <Error><Code>InternalError</Code></Error>")),
       always(scripted_answer(200,
                              "<CopyObjectResult><LastModified>2026-11-26T15:28:03Z</LastModified>"
                              "<ETag>v2</ETag></CopyObjectResult>"))});
  const auto info = s3.remote().copy("k", "l", {});
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  EXPECT_EQ(info->etag, "\"v2\"");
  EXPECT_EQ(s3.requests().size(), 3u);
  EXPECT_EQ(s3.requests()[1].header("x-amz-copy-source-if-match"), "\"v1\"");
}

TEST(S3Client, keys_that_a_busy_server_did_not_remove_are_asked_for_again) {
  const auto answer = [](std::string_view code) {
    return always(scripted_answer(
        200,
        fmt::format("<DeleteResult><Error><Key>b</Key><Code>{}</Code></Error></DeleteResult>",
                    code)));
  };
  const std::vector<std::string> keys = {"a", "b"};
  Scripted s3({answer("SlowDown"), always(scripted_answer(200, "<DeleteResult/>"))});
  EXPECT_TRUE(s3.remote().remove(keys).has_value());
  ASSERT_EQ(s3.requests().size(), 2u);
  EXPECT_THAT(s3.requests()[1].body,
              AllOf(HasSubstr("<Key>b</Key>"), Not(HasSubstr("<Key>a</Key>"))));
  EXPECT_EQ(s3.requests()[0].header("content-md5"), base64(*md5(s3.requests()[0].body)));
  Scripted refusing({answer("AccessDenied")});
  const auto refused = refusing.remote().remove(keys);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
  EXPECT_THAT(refused.error().message, HasSubstr("s3://bucket/b"));
}

TEST(S3Client, a_key_that_does_not_begin_with_the_prefix_is_no_part_of_the_listing) {
  Scripted s3({always(scripted_answer(
      200,
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>../x</Key><Size>1</"
      "Size><ETag>e</ETag>"
      "<LastModified>2026-11-26T15:28:03Z</LastModified></Contents></ListBucketResult>"))});
  EXPECT_FALSE(s3.remote().list_page("a/", "").has_value());
  EXPECT_TRUE(s3.remote().list_page("", "").has_value());
}

TEST(S3Client, who_stops_does_not_wait_for_the_next_try) {
  auto options = Scripted::defaults();
  options.retries.first_delay = options.retries.max_delay = std::chrono::hours(1);
  options.retries.deadline = std::chrono::hours(10);
  std::stop_source stop;
  std::promise<void> asked;
  Scripted s3({[&](const ScriptedRequest&) {
                asked.set_value();
                return error_answer(503, "SlowDown");
              }},
              options);
  auto answer = std::async(std::launch::async, [&] {
    S3Request request;
    request.key = "k";
    return s3.client().perform(request, stop.get_token()).response;
  });
  asked.get_future().get();
  stop.request_stop();
  EXPECT_EQ(answer.get().error().code, ErrorCode::kCancelled);
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

TEST(S3Client, keys_that_no_bucket_holds_are_refused_without_asking) {
  Scripted s3({good});
  for (const std::string& key : {std::string(), std::string(1025, 'x'), std::string("a\0b", 3)}) {
    const auto range = s3.remote().read({key, 0, 1, {}});
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code, ErrorCode::kInvalidInput);
  }
  EXPECT_EQ(s3.requests().size(), 0u);
}

TEST(S3Client, parts_are_at_most_ten_thousand) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  EXPECT_EQ(part_size(100 * kMiB, 8 * kMiB), 8 * kMiB);
  EXPECT_EQ(part_size(80'000 * kMiB, 8 * kMiB), 8 * kMiB);
  EXPECT_EQ(part_size(80'001 * kMiB, 8 * kMiB), 9 * kMiB);
}

}  // namespace
}  // namespace atl::storage
