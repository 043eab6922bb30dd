#include "storage/s3/s3_xml.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pugixml.hpp>

namespace atl::storage {
namespace {

using testing::HasSubstr;

std::string listing(std::string_view contents,
                    std::string_view rest = "<IsTruncated>false</IsTruncated>") {
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<ListBucketResult "
      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>{}{}</ListBucketResult>",
      rest,
      contents);
}

std::string entry(std::string_view key, std::string_view size = "3") {
  return fmt::format(
      "<Contents><Key>{}</Key><LastModified>2026-11-26T15:28:03.000Z</LastModified>"
      "<ETag>&quot;e&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
      key,
      size);
}

TEST(S3Xml, a_page_of_a_listing) {
  const auto page =
      parse_list_page(listing(entry("a%2Fb+c%2B%25") + entry("d", "18446744073709551615"),
                              "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
                              "<NextContinuationToken>t=</NextContinuationToken>"));
  ASSERT_TRUE(page.has_value()) << page.error().to_string();
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, "a/b c+%");
  EXPECT_EQ(page->objects[0].size_bytes, 3u);
  EXPECT_EQ(page->objects[0].etag, "\"e\"");
  EXPECT_EQ(page->objects[0].modified, parse_iso_date("2026-11-26T15:28:03Z"));
  EXPECT_EQ(page->objects[1].size_bytes, UINT64_MAX);
  EXPECT_EQ(page->next, "t=");
}

TEST(S3Xml, keys_that_are_not_encoded_are_left_alone) {
  const auto page = parse_list_page(listing(entry(" a+b%20 ")));
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->objects[0].key, " a+b%20 ");
  EXPECT_EQ(page->next, "");
}

TEST(S3Xml, a_listing_that_lacks_something_is_an_error_and_no_shorter_listing) {
  const std::string whole = listing(entry("a") + entry("b"));
  ASSERT_TRUE(parse_list_page(whole).has_value());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_list_page(std::string_view(whole).substr(0, size)).has_value()) << size;
  }
  for (const std::string& text : {
           listing(entry("a", "-1")),
           listing(entry("a", "")),
           listing(entry("")),
           listing(entry("a"), ""),
           listing(entry("a"), "<IsTruncated>true</IsTruncated>"),
           listing(entry("%2"), "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"),
           listing(entry("%G0"),
                   "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"),
           std::string("<html><body>login here</body></html>"),
           std::string("{}"),
       }) {
    const auto page = parse_list_page(text);
    ASSERT_FALSE(page.has_value()) << text;
    EXPECT_EQ(page.error().code, ErrorCode::kIo);
  }
}

TEST(S3Xml, entities_of_the_documents_own_are_not_expanded) {
  const auto page = parse_list_page(
      "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b SYSTEM \"file:///etc/passwd\">]>" +
      listing(entry("&a;&b;")));
  // Left as they are, or refused.
  EXPECT_EQ(page ? page->objects[0].key : "&a;&b;", "&a;&b;");
}

TEST(S3Xml, a_deeply_nested_document_is_no_danger_to_the_stack) {
  std::string deep;
  for (int i = 0; i < 500'000; ++i) deep += "<a>";
  EXPECT_FALSE(parse_list_page(deep).has_value());
  for (int i = 0; i < 500'000; ++i) deep += "</a>";
  EXPECT_FALSE(parse_list_page(deep).has_value());
}

TEST(S3Xml, errors_tell_what_they_can) {
  const auto body = parse_error_body(
      "<Error><Code>PermanentRedirect</Code><Message>elsewhere</"
      "Message><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>"
      "<Region>eu-west-1</Region></Error>");
  EXPECT_EQ(body.code, "PermanentRedirect");
  EXPECT_EQ(body.message, "elsewhere");
  EXPECT_EQ(body.region, "eu-west-1");
  for (const char* text : {"", "<html/>", "<Error>", "not XML"})
    EXPECT_EQ(parse_error_body(text).code, "");
}

TEST(S3Xml, uploads_and_copies) {
  EXPECT_EQ(parse_upload_id("<InitiateMultipartUploadResult><UploadId>id/+=</UploadId></"
                            "InitiateMultipartUploadResult>"),
            "id/+=");
  EXPECT_FALSE(parse_upload_id("<InitiateMultipartUploadResult/>").has_value());
  const auto copied = parse_new_object(
      "<CopyObjectResult><LastModified>2026-11-26T15:28:03.000Z</LastModified><ETag>e</ETag></"
      "CopyObjectResult>");
  ASSERT_TRUE(copied.has_value());
  EXPECT_EQ(copied->etag, "\"e\"");
  EXPECT_TRUE(copied->modified.has_value());
  const auto completed = parse_new_object(
      "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>");
  ASSERT_TRUE(completed.has_value());
  EXPECT_EQ(completed->etag, "");
  EXPECT_FALSE(parse_new_object("<Error><Code>InternalError</Code></Error>").has_value());
}

TEST(S3Xml, what_could_not_be_removed) {
  const auto failures = parse_delete_failures(
      "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b&amp;c</Key><Code>AccessDenied</"
      "Code>"
      "<Message>no</Message></Error></DeleteResult>");
  ASSERT_TRUE(failures.has_value());
  ASSERT_EQ(failures->size(), 1u);
  EXPECT_EQ((*failures)[0].key, "b&c");
  EXPECT_EQ((*failures)[0].code, "AccessDenied");
  EXPECT_FALSE(parse_delete_failures("").has_value());
}

TEST(S3Xml, written_keys_are_read_back_as_they_were) {
  const std::vector<std::string> keys = {
      "<a>&\"'", "line\nbreak", "cr\r", "tab\t", " spaces ", "\xf0\x9f\x99\x82"};
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(delete_body(keys).c_str()));
  std::vector<std::string> read;
  for (const auto& object : document.child("Delete").children("Object")) {
    read.emplace_back(object.child("Key").text().get());
  }
  EXPECT_EQ(read, keys);
}

TEST(S3Xml, parts_are_listed_with_their_checksums) {
  const std::vector<UploadedPart> parts = {{1, "\"e1\"", "AAAAAA=="}, {2, "\"e2\"", ""}};
  EXPECT_THAT(
      complete_upload_body(parts),
      HasSubstr("<Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</"
                "ETag><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>"
                "</Part><Part><PartNumber>2</PartNumber><ETag>&quot;e2&quot;</ETag></Part>"));
}

TEST(S3Xml, keys_that_xml_cannot_hold_are_known) {
  for (const char* key : {"a", "\n\r\t", "\xc3\xbc", "\xf0\x9f\x99\x82", ""})
    EXPECT_TRUE(fits_into_xml(key)) << key;
  for (const char* key : {"\x01",
                          "a\x1f",
                          "\xff",
                          "\xc3",
                          "\xc0\xaf",
                          "\xed\xa0\x80",
                          "\xef\xbf\xbf",
                          "\xf4\x90\x80\x80"}) {
    EXPECT_FALSE(fits_into_xml(key)) << key;
  }
}

}  // namespace
}  // namespace atl::storage
