#include "storage/s3/s3_headers.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"

namespace atl::storage {
namespace {

SystemTime at(int64_t seconds) { return SystemTime(std::chrono::seconds(seconds)); }

TEST(S3Headers, sizes_are_digits_and_fit) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "-1", "+1", "0x1", "18446744073709551616", "1.0"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(S3Headers, a_content_range_is_read_and_must_make_sense) {
  const auto range = parse_content_range("bytes 5-9/100");
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 100u);
  for (const char* text : {"",
                           "bytes",
                           "bytes */100",
                           "bytes 5-9/*",
                           "bytes 9-5/100",
                           "bytes 5-100/100",
                           "5-9/100",
                           "bytes 5/9-100",
                           "bytes 5-9",
                           "bytes -9/100",
                           "bytes 5-9/100 "}) {
    EXPECT_FALSE(parse_content_range(text).has_value()) << text;
  }
}

TEST(S3Headers, dates_of_headers) {
  // RFC 9110's own example, and an S3 answer's.
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), at(784111777));
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), at(0));
  EXPECT_EQ(parse_http_date("Thu, 29 Feb 2024 23:59:59 GMT"), at(1709251199));
  for (const char* text : {"",
                           "Sun, 06 Nov 1994 08:49:37",
                           "Sun, 6 Nov 1994 08:49:37 GMT",
                           "Sun, 06 nov 1994 08:49:37 GMT",
                           "Sun, 06 anF 1994 08:49:37 GMT",
                           "Sun, 30 Feb 2024 08:49:37 GMT",
                           "Sun, 06 Nov 1994 24:49:37 GMT",
                           "Sunday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_http_date(text).has_value()) << text;
  }
}

TEST(S3Headers, dates_of_listings) {
  EXPECT_EQ(parse_iso_date("1970-01-01T00:00:00Z"), at(0));
  EXPECT_EQ(parse_iso_date("2024-02-29T23:59:59.000Z"), at(1709251199));
  EXPECT_EQ(parse_iso_date("1970-01-01T00:00:01.5Z"), at(1) + std::chrono::milliseconds(500));
  EXPECT_EQ(parse_iso_date("1970-01-01T00:00:00.1234567891234Z"),
            at(0) + std::chrono::nanoseconds(123456789));
  for (const char* text : {"",
                           "1970-01-01",
                           "1970-01-01T00:00:00",
                           "1970-13-01T00:00:00Z",
                           "1970-01-01T00:00:00.Z",
                           "1970-01-01T00:00:00+01:00",
                           "0000-01-01T00:00:00Z",
                           "9999-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_iso_date(text).has_value()) << text;
  }
}

TEST(S3Headers, metadata_that_would_be_another_header_is_refused) {
  const auto headers = metadata_headers({{"file-mtime", "1ns"}, {"note", "gr\xc3\xbc\xc3\x9f"}});
  ASSERT_TRUE(headers.has_value());
  EXPECT_EQ((*headers)[0], (HttpHeader{"x-amz-meta-file-mtime", "1ns"}));
  const std::vector<Metadata> refused = {
      {{"a", "1\r\nx-amz-acl: public-read"}},
      {{"a\nb", "1"}},
      {{"", "1"}},
      {{"a b", "1"}},
      {{"Upper", "1"}},
      {{"a", std::string("\0", 1)}},
      {{"a", std::string(2048, 'x')}},
  };
  for (const Metadata& metadata : refused) {
    const auto result = metadata_headers(metadata);
    ASSERT_FALSE(result.has_value()) << metadata.begin()->first;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  }
}

TEST(S3Headers, metadata_is_taken_from_an_answer) {
  HttpResponse response;
  response.headers = {{"x-amz-meta-a", "1"}, {"x-amz-id-2", "x"}, {"x-amz-meta-b", ""}};
  EXPECT_EQ(metadata_of(response), (Metadata{{"a", "1"}, {"b", ""}}));
}

TEST(S3Headers, an_etag_gets_the_quotes_that_it_lacks) {
  EXPECT_EQ(quoted_etag("abc"), "\"abc\"");
  EXPECT_EQ(quoted_etag("\"abc\""), "\"abc\"");
  EXPECT_EQ(quoted_etag("W/\"abc\""), "W/\"abc\"");
  EXPECT_EQ(quoted_etag(""), "");
}

TEST(S3Headers, checksums_are_written_as_aws_does) {
  // From the AWS SDKs' own tests: "hello world" has the CRC-32C yZRlqg==.
  EXPECT_EQ(checksum_text(crc32c("hello world")), "yZRlqg==");
  EXPECT_EQ(checksum_text(0), "AAAAAA==");
}

}  // namespace
}  // namespace atl::storage
