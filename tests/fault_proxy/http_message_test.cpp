#include "http_message.h"

#include <gtest/gtest.h>

namespace atl::fault_proxy {
namespace {

Head head_of(std::string_view text) {
  bool malformed = false;
  auto head = parse_head(text, malformed);
  EXPECT_TRUE(head && !malformed) << text;
  return head.value_or(Head{});
}

TEST(HttpMessage, a_request_is_read_to_its_empty_line) {
  const Head head = head_of(
      "GET /b/k?x=1 HTTP/1.1\r\nHost: h\r\nrange: bytes=0-9\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.target, "/b/k?x=1");
  EXPECT_EQ(head.range, "bytes=0-9");
  EXPECT_EQ(head.content_length, 5);
  EXPECT_TRUE(head.text.ends_with("Content-Length: 5\r\n\r\n"));
}

TEST(HttpMessage, half_a_head_is_no_head_yet_and_nonsense_never_will_be) {
  bool malformed = false;
  EXPECT_FALSE(parse_head("GET / HTTP/1.1\r\nHost: h\r\n", malformed));
  EXPECT_FALSE(malformed);
  EXPECT_FALSE(parse_head("nonsense\r\n\r\n", malformed));
  EXPECT_TRUE(malformed);
  EXPECT_FALSE(parse_head(std::string(70000, 'x'), malformed));
  EXPECT_TRUE(malformed);
}

TEST(HttpMessage, listings_are_told_from_reads) {
  EXPECT_EQ(request_kind(head_of("GET /b?list-type=2&prefix=a HTTP/1.1\r\n\r\n")), "LIST");
  EXPECT_EQ(request_kind(head_of("GET /b?delimiter=%2F HTTP/1.1\r\n\r\n")), "LIST");
  EXPECT_EQ(request_kind(head_of("GET /b/prefix?versionId=1 HTTP/1.1\r\n\r\n")), "GET");
  EXPECT_EQ(request_kind(head_of("PUT /b/k?partNumber=1 HTTP/1.1\r\n\r\n")), "PUT");
}

TEST(HttpMessage, a_wrong_etag_is_wrong_and_as_long) {
  const Head head = head_of("HTTP/1.1 200 OK\r\nETag: \"0123abcf-2\"\r\nX-Other: 12\r\n\r\n");
  EXPECT_EQ(with_wrong_etag(head),
            "HTTP/1.1 200 OK\r\nETag: \"5678defc-7\"\r\nX-Other: 12\r\n\r\n");
  const Head without = head_of("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(with_wrong_etag(without), without.text);
}

TEST(Body, a_known_length_ends_there) {
  Body body = Body::of_response(head_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "GET");
  EXPECT_EQ(body.consume("hel"), 3);
  EXPECT_FALSE(body.complete());
  EXPECT_EQ(body.consume("lo and more"), 2);
  EXPECT_TRUE(body.complete());
}

TEST(Body, answers_that_have_none_are_complete_at_once) {
  const Head head = head_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  EXPECT_TRUE(Body::of_response(head, "HEAD").complete());
  EXPECT_TRUE(Body::of_response(head_of("HTTP/1.1 204 No\r\n\r\n"), "DELETE").complete());
  EXPECT_TRUE(
      Body::of_response(head_of("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"), "GET").complete());
  EXPECT_TRUE(Body::of_response(head_of("HTTP/1.1 200 OK\r\n\r\n"), "GET").until_close());
}

TEST(Body, chunks_end_with_the_empty_line_behind_the_last_wherever_they_are_cut) {
  const std::string text = "4;x=y\r\nWiki\r\nA\r\n0123456789\r\n0\r\nTrailer: a\r\n\r\n";
  for (size_t cut = 0; cut < text.size(); ++cut) {
    Body body =
        Body::of_response(head_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "GET");
    EXPECT_EQ(body.consume(text.substr(0, cut)), cut);
    EXPECT_FALSE(body.complete()) << cut;
    EXPECT_EQ(body.consume(text.substr(cut) + "next"), text.size() - cut);
    EXPECT_TRUE(body.complete()) << cut;
  }
}

}  // namespace
}  // namespace atl::fault_proxy
