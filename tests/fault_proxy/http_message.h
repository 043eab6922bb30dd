// As much of HTTP/1.1 as a proxy needs that passes messages on unchanged: where a head ends, where its body
// ends, and the few fields that faults and counts look at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atl::fault_proxy {

struct Head {
  std::string text;                   // as it came, with the empty line
  std::string method, target, range;  // of a request
  int status = 0;                     // of a response
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool expects_continue = false;
};

// The head at the start of `bytes`, and nullopt while its end has not come. `malformed` is set where there
// never will be one: no start line, or more than 64 KiB.
std::optional<Head> parse_head(std::string_view bytes, bool& malformed);

// "GET", "PUT", …; "LIST" for a GET that lists a bucket.
std::string request_kind(const Head& request);

// The head with another ETag of the same length; unchanged where it has none.
std::string with_wrong_etag(const Head& response);

// Where a body ends.
class Body {
 public:
  Body() = default;  // none
  static Body of_request(const Head& head);
  static Body of_response(const Head& head, std::string_view request_method);

  bool complete() const { return kind_ == Kind::kLength && remaining_ == 0; }
  bool until_close() const { return kind_ == Kind::kUntilClose; }
  // How many bytes must still come, where that is known.
  std::optional<uint64_t> remaining() const;
  // How many of these bytes belong to the body.
  size_t consume(std::string_view bytes);

 private:
  enum class Kind { kLength, kChunked, kUntilClose };
  enum class Chunk { kSize, kData, kDataEnd, kTrailer };
  size_t consume_chunked(std::string_view bytes);
  void end_of_line();

  Kind kind_ = Kind::kLength;
  uint64_t remaining_ = 0;  // of the body, or of the chunk
  Chunk chunk_ = Chunk::kSize;
  std::string line_;
};

}  // namespace atl::fault_proxy
