// What S3 says in headers. All of it comes from outside: nothing here trusts it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/s3/http.h"

namespace atl::storage {

using SystemTime = std::chrono::system_clock::time_point;

// Digits alone, and no more than fit.
std::optional<uint64_t> parse_size(std::string_view text);

// "bytes 0-99/1000", RFC 9110, section 14.4; first <= last < total.
struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t total = 0;
};
std::optional<ContentRange> parse_content_range(std::string_view text);

// "Thu, 26 Nov 2026 15:28:03 GMT", RFC 9110, section 5.6.7, in the one form that servers may still send.
std::optional<SystemTime> parse_http_date(std::string_view text);
// "2026-11-26T15:28:03.000Z", as listings have it; any number of decimals.
std::optional<SystemTime> parse_iso_date(std::string_view text);

// Some servers leave the quotes away in some answers; what If-Match takes has them. "" stays "".
std::string quoted_etag(std::string_view etag);

// x-amz-meta-*.
Metadata metadata_of(const HttpResponse& response);
// kInvalidInput for what cannot be a header: a name that is no token, a value with control characters, more
// than the 2 KiB that S3 takes.
Result<std::vector<HttpHeader>> metadata_headers(const Metadata& metadata);

// Size, ETag and date of a HEAD's or a whole GET's answer. kIo where the size or the ETag is missing.
Result<ObjectInfo> object_info(std::string key, const HttpResponse& response);

// As x-amz-checksum-crc32c has it: four bytes, most significant first, in Base64.
std::string checksum_text(uint32_t crc32c);
std::string base64(std::span<const unsigned char> bytes);

}  // namespace atl::storage
