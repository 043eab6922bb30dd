#include "storage/s3/s3_headers.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace atl::storage {

namespace {

constexpr std::string_view kMetadataPrefix = "x-amz-meta-";
constexpr size_t kMaxMetadataBytes = 2048;

// Reads fixed forms from the left; false once something does not fit.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  // Exactly so many digits.
  bool number(size_t digits, int& value) {
    if (rest_.size() < digits) return false;
    const auto number = parse_size(rest_.substr(0, digits));
    if (!number) return false;
    value = static_cast<int>(*number);
    rest_.remove_prefix(digits);
    return true;
  }
  std::string_view word(size_t size) {
    const std::string_view word = rest_.substr(0, size);
    rest_.remove_prefix(word.size());
    return word;
  }
  bool at_end() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

std::optional<SystemTime> make_time(
    int year, int month, int day, int hour, int minute, int second) {
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // 60: a leap second.
  if (!date.ok() || year < 1970 || year > 2200 || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
  }) && text.find('\0') == std::string_view::npos;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) {
    return std::nullopt;
  }
  const auto first = parse_size(text.substr(0, dash));
  const auto last = parse_size(text.substr(dash + 1, slash - dash - 1));
  const auto total = parse_size(text.substr(slash + 1));
  if (!first || !last || !total || *first > *last || *last >= *total) return std::nullopt;
  return ContentRange{*first, *last, *total};
}

std::optional<SystemTime> parse_http_date(std::string_view text) {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  Reader reader(text);
  reader.word(3);  // the day of the week follows from the date
  int day = 0;
  int year = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (!reader.literal(", ") || !reader.number(2, day) || !reader.literal(" ")) return std::nullopt;
  const size_t month = kMonths.find(reader.word(3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  const bool fits = reader.literal(" ") && reader.number(4, year) && reader.literal(" ") &&
                    reader.number(2, hour) && reader.literal(":") && reader.number(2, minute) &&
                    reader.literal(":") && reader.number(2, second) && reader.literal(" GMT");
  if (!fits || !reader.at_end()) return std::nullopt;
  return make_time(year, static_cast<int>(month / 3) + 1, day, hour, minute, second);
}

std::optional<SystemTime> parse_iso_date(std::string_view text) {
  Reader reader(text);
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const bool fits = reader.number(4, year) && reader.literal("-") && reader.number(2, month) &&
                    reader.literal("-") && reader.number(2, day) && reader.literal("T") &&
                    reader.number(2, hour) && reader.literal(":") && reader.number(2, minute) &&
                    reader.literal(":") && reader.number(2, second);
  if (!fits) return std::nullopt;
  auto time = make_time(year, month, day, hour, minute, second);
  if (!time) return std::nullopt;
  std::chrono::nanoseconds fraction{0};
  if (reader.literal(".")) {
    int64_t unit = 100'000'000;
    size_t digits = 0;
    for (const char c : reader.rest()) {
      if (c < '0' || c > '9') break;
      fraction += std::chrono::nanoseconds((c - '0') * unit);
      unit /= 10;
      ++digits;
    }
    if (digits == 0) return std::nullopt;
    reader.word(digits);
  }
  if (!reader.literal("Z") || !reader.at_end()) return std::nullopt;
  return *time + fraction;
}

std::string quoted_etag(std::string_view etag) {
  if (etag.empty() || etag.ends_with('"')) return std::string(etag);
  return fmt::format("\"{}\"", etag);
}

Metadata metadata_of(const HttpResponse& response) {
  Metadata metadata;
  for (const HttpHeader& header : response.headers) {
    if (!header.name.starts_with(kMetadataPrefix)) continue;
    metadata.insert_or_assign(header.name.substr(kMetadataPrefix.size()), header.value);
  }
  return metadata;
}

Result<std::vector<HttpHeader>> metadata_headers(const Metadata& metadata) {
  std::vector<HttpHeader> headers;
  size_t bytes = 0;
  for (const auto& [name, value] : metadata) {
    if (!is_token(name)) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("'{}' cannot be the name of user metadata", name));
    }
    for (const unsigned char c : value) {
      if (c < 0x20 || c == 0x7f) {
        return fail(
            ErrorCode::kInvalidInput,
            fmt::format("the value of the user metadata '{}' holds a control character", name));
      }
    }
    bytes += name.size() + value.size();
    headers.push_back({std::string(kMetadataPrefix) + name, value});
  }
  if (bytes > kMaxMetadataBytes) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} bytes of user metadata; S3 takes {}", bytes, kMaxMetadataBytes));
  }
  return headers;
}

Result<ObjectInfo> object_info(std::string key, const HttpResponse& response) {
  const auto size = parse_size(response.header("content-length"));
  std::string etag = quoted_etag(response.header("etag"));
  if (!size || etag.empty()) {
    return fail(ErrorCode::kIo,
                size ? "the answer has no ETag" : "the answer does not say how long the object is");
  }
  const auto modified = parse_http_date(response.header("last-modified"));
  return ObjectInfo{std::move(key), *size, modified.value_or(SystemTime{}), std::move(etag)};
}

std::string base64(std::span<const unsigned char> bytes) {
  // Four characters for every three bytes begun, and a NUL.
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(text.data()), bytes.data(), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::string checksum_text(uint32_t crc32c) {
  const std::array<unsigned char, 4> bytes = {static_cast<unsigned char>(crc32c >> 24),
                                              static_cast<unsigned char>(crc32c >> 16),
                                              static_cast<unsigned char>(crc32c >> 8),
                                              static_cast<unsigned char>(crc32c)};
  return base64(bytes);
}

}  // namespace atl::storage
