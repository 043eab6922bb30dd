#include "http_message.h"

#include <algorithm>
#include <charconv>

namespace atl::fault_proxy {
namespace {

constexpr size_t kMaxHead = 65536;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  return result;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <typename T>
bool parse_number(std::string_view text, T& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end != text.data();
}

void read_field(std::string_view line, Head& head) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string name = lower(line.substr(0, colon));
  const std::string_view value = trim(line.substr(colon + 1));
  if (name == "content-length") {
    uint64_t length = 0;
    if (parse_number(value, length)) head.content_length = length;
  } else if (name == "transfer-encoding") {
    head.chunked = lower(value).find("chunked") != std::string::npos;
  } else if (name == "expect") {
    head.expects_continue = true;
  } else if (name == "range") {
    head.range = value;
  }
}

bool read_start_line(std::string_view line, Head& head) {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return false;
  if (line.starts_with("HTTP/")) return parse_number(line.substr(first + 1), head.status);
  const size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return false;
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, second - first - 1);
  return true;
}

}  // namespace

std::optional<Head> parse_head(std::string_view bytes, bool& malformed) {
  const size_t end = bytes.find("\r\n\r\n");
  malformed = end == std::string_view::npos && bytes.size() > kMaxHead;
  if (end == std::string_view::npos) return std::nullopt;
  Head head;
  head.text = bytes.substr(0, end + 4);
  std::string_view rest = bytes.substr(0, end + 2);
  bool first = true;
  while (!rest.empty()) {
    const size_t line_end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(line_end + 2);
    if (!first) {
      read_field(line, head);
    } else if (!read_start_line(line, head)) {
      malformed = true;
      return std::nullopt;
    }
    first = false;
  }
  return head;
}

std::string request_kind(const Head& request) {
  if (request.method != "GET") return request.method;
  const size_t question = request.target.find('?');
  if (question == std::string::npos) return request.method;
  std::string_view query = std::string_view(request.target).substr(question + 1);
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    for (const std::string_view name : {"list-type", "prefix", "delimiter", "marker", "max-keys"}) {
      if (parameter.substr(0, parameter.find('=')) == name) return "LIST";
    }
    query.remove_prefix(std::min(query.size(), parameter.size() + 1));
  }
  return request.method;
}

std::string with_wrong_etag(const Head& response) {
  std::string text = response.text;
  const size_t field = lower(text).find("\r\netag:");
  if (field == std::string::npos) return text;
  const size_t end = text.find("\r\n", field + 2);
  for (size_t i = field + 7; i < end; ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= '0' && c <= '9') text[i] = static_cast<char>('0' + (c - '0' + 5) % 10);
    if (c >= 'a' && c <= 'f') text[i] = static_cast<char>('a' + (c - 'a' + 3) % 6);
  }
  return text;
}

Body Body::of_request(const Head& head) {
  Body body;
  if (head.chunked) {
    body.kind_ = Kind::kChunked;
  } else {
    body.remaining_ = head.content_length.value_or(0);
  }
  return body;
}

Body Body::of_response(const Head& head, std::string_view request_method) {
  Body body;
  if (request_method == "HEAD" || head.status / 100 == 1 || head.status == 204 ||
      head.status == 304) {
    return body;
  }
  if (!head.chunked && !head.content_length) body.kind_ = Kind::kUntilClose;
  if (head.chunked) body.kind_ = Kind::kChunked;
  if (body.kind_ == Kind::kLength) body.remaining_ = *head.content_length;
  return body;
}

std::optional<uint64_t> Body::remaining() const {
  if (kind_ == Kind::kLength) return remaining_;
  return std::nullopt;
}

size_t Body::consume(std::string_view bytes) {
  if (kind_ == Kind::kUntilClose) return bytes.size();
  if (kind_ == Kind::kChunked) return consume_chunked(bytes);
  const size_t taken = std::min<uint64_t>(bytes.size(), remaining_);
  remaining_ -= taken;
  return taken;
}

// A line of the chunked coding has ended: a chunk's size, the end of its data, or a trailer.
void Body::end_of_line() {
  if (chunk_ == Chunk::kSize) {
    uint64_t size = 0;
    parse_number(line_, size, 16);
    remaining_ = size;
    chunk_ = size > 0 ? Chunk::kData : Chunk::kTrailer;
  } else if (chunk_ == Chunk::kDataEnd) {
    chunk_ = Chunk::kSize;
  } else if (line_.empty()) {
    kind_ = Kind::kLength;  // the empty line behind the trailers: complete
    remaining_ = 0;
  }
  line_.clear();
}

size_t Body::consume_chunked(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size() && kind_ == Kind::kChunked) {
    if (chunk_ == Chunk::kData) {
      const size_t taken = std::min<uint64_t>(bytes.size() - at, remaining_);
      remaining_ -= taken;
      at += taken;
      if (remaining_ == 0) chunk_ = Chunk::kDataEnd;
      continue;
    }
    const char c = bytes[at++];
    if (c == '\n') {
      end_of_line();
    } else if (c != '\r') {
      line_ += c;
    }
  }
  return at;
}

}  // namespace atl::fault_proxy
