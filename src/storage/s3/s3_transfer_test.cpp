// Uploads, copies, removals and listings against a server that misbehaves as the test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/crc32c.h"
#include "storage/s3/md5.h"
#include "storage/s3/scripted_remote.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;
using testing::Not;
using Then = ScriptedAnswer::Then;

TEST(S3Transfer, a_body_that_does_not_match_its_checksum_is_fetched_again) {
  const std::string no_crc = "AAAAAA==";
  const std::string no_sha = base64(sha256("something else"));
  const struct {
    std::string header, wrong, right;
  } checksums[] = {{"x-amz-checksum-crc32c", no_crc, checksum_text(crc32c(kContent))},
                   {"x-amz-checksum-sha256", no_sha, base64(sha256(kContent))}};
  for (const auto& [header, wrong, right] : checksums) {
    const auto answer = [&header = header](std::string checksum) {
      return [header, checksum](const ScriptedRequest& request) {
        return range_answer(request, {{header, checksum}});
      };
    };
    Scripted s3({answer(wrong), answer(right)});
    ASSERT_TRUE(s3.read(0, 10).has_value());
    EXPECT_EQ(s3.requests().size(), 2u) << header;
    EXPECT_EQ(s3.requests()[0].header("x-amz-checksum-mode"), "ENABLED");
    // Of a part's bytes, or of the parts' checksums, it says nothing.
    Scripted part({answer(wrong)});
    EXPECT_TRUE(part.read(0, 5).has_value());
    Scripted composite({answer(wrong + "-2")});
    EXPECT_TRUE(composite.read(0, 10).has_value());
  }
}

TEST(S3Transfer, an_upload_carries_its_checksums) {
  Scripted s3({always(scripted_answer(200, "", {{"ETag", "\"v1\""}}))});
  const auto bytes = std::as_bytes(std::span(kContent));
  const Blob body(std::vector<std::byte>(bytes.begin(), bytes.end()));
  ASSERT_TRUE(s3.remote().upload("k", upload_source(body), {}).has_value());
  const auto request = s3.requests().at(0);
  EXPECT_EQ(request.body, kContent);
  EXPECT_EQ(request.header("x-amz-checksum-crc32c"), checksum_text(crc32c(kContent)));
  EXPECT_EQ(request.header("x-amz-content-sha256"), sha256_hex(kContent));
}

TEST(S3Transfer, a_conflict_with_an_earlier_try_of_our_own_is_none) {
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

TEST(S3Transfer, an_upload_in_parts_whose_last_answer_was_lost_is_found) {
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

TEST(S3Transfer, a_copy_that_fails_after_its_200_is_tried_again) {
  const auto head = always({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n"});
  Scripted s3(
      {head,
       always(scripted_answer(200, "  <Error><Code>InternalError</Code></Error>")),
       always(scripted_answer(200,
                              "<CopyObjectResult><LastModified>2026-11-26T15:28:03Z</LastModified>"
                              "<ETag>v2</ETag></CopyObjectResult>"))});
  bool sent_again = false;
  const auto info = s3.remote().copy("k", "l", {}, {}, &sent_again);
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  EXPECT_TRUE(sent_again);
  EXPECT_EQ(info->etag, "\"v2\"");
  EXPECT_EQ(s3.requests().size(), 3u);
  EXPECT_EQ(s3.requests()[1].header("x-amz-copy-source-if-match"), "\"v1\"");
}

TEST(S3Transfer, keys_that_a_busy_server_did_not_remove_are_asked_for_again) {
  const auto answer = [](std::string_view code) {
    return always(scripted_answer(
        200,
        fmt::format("<DeleteResult><Error><Key>b</Key><Code>{}</Code></Error></DeleteResult>",
                    code)));
  };
  const std::vector<std::string> keys = {"a", "b"};
  Scripted s3({answer("SlowDown"), always(scripted_answer(200, "<DeleteResult/>"))});
  bool sent_again = false;
  EXPECT_TRUE(s3.remote().remove(keys, &sent_again).has_value());
  EXPECT_TRUE(sent_again);
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

TEST(S3Transfer, a_key_that_does_not_begin_with_the_prefix_is_no_part_of_the_listing) {
  Scripted s3({always(scripted_answer(
      200,
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>../x</Key><Size>1</"
      "Size><ETag>e</ETag>"
      "<LastModified>2026-11-26T15:28:03Z</LastModified></Contents></ListBucketResult>"))});
  EXPECT_FALSE(s3.remote().list_page("a/", "").has_value());
  EXPECT_TRUE(s3.remote().list_page("", "").has_value());
}

TEST(S3Transfer, who_stops_does_not_wait_for_the_next_try) {
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

TEST(S3Transfer, keys_that_no_bucket_holds_are_refused_without_asking) {
  Scripted s3({good});
  for (const std::string& key : {std::string(), std::string(1025, 'x'), std::string("a\0b", 3)}) {
    const auto range = s3.remote().read({key, 0, 1, {}});
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code, ErrorCode::kInvalidInput);
  }
  EXPECT_EQ(s3.requests().size(), 0u);
}

TEST(S3Transfer, parts_are_at_most_ten_thousand) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  EXPECT_EQ(part_size(100 * kMiB, 8 * kMiB), 8 * kMiB);
  EXPECT_EQ(part_size(80'000 * kMiB, 8 * kMiB), 8 * kMiB);
  EXPECT_EQ(part_size(80'001 * kMiB, 8 * kMiB), 9 * kMiB);
}

}  // namespace
}  // namespace atl::storage
