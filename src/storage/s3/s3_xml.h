// The XML that S3 speaks: answers read, bodies of requests written.
//
// Answers come from outside. pugixml knows neither external entities nor any of its own making, so a small
// document cannot grow into a large one; what is missing or not a number is an error, not a zero.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/s3/s3_headers.h"

namespace atl::storage {

// <Error>; every field may be empty, also all of them.
struct S3ErrorBody {
  std::string code;
  std::string message;
  std::string region;    // where the bucket is, if it is elsewhere
  std::string endpoint;  // the host that knows it, if it is another
};
S3ErrorBody parse_error_body(std::string_view xml);

// ListObjectsV2. Keys are the bucket's whole ones, decoded.
Result<ListPage> parse_list_page(std::string_view xml);
// InitiateMultipartUpload.
Result<std::string> parse_upload_id(std::string_view xml);
// CompleteMultipartUpload, CopyObject, UploadPartCopy: the new ETag, which some servers leave empty, and the
// date where there is one.
struct NewObjectBody {
  std::string etag;
  std::optional<SystemTime> modified;
};
Result<NewObjectBody> parse_new_object(std::string_view xml);
// DeleteObjects: what could not be removed.
struct DeleteFailure {
  std::string key;
  std::string code;
  std::string message;
};
Result<std::vector<DeleteFailure>> parse_delete_failures(std::string_view xml);

struct UploadedPart {
  int number = 0;  // from 1
  std::string etag;
  std::string checksum;  // CRC-32C, as checksum_text(); "" for none
};
std::string complete_upload_body(std::span<const UploadedPart> parts);
// Whether XML can hold the key at all; most control characters and what is not UTF-8 it cannot.
bool fits_into_xml(std::string_view key);
std::string delete_body(std::span<const std::string> keys);

}  // namespace atl::storage
