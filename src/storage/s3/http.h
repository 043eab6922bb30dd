// HTTP as the S3 client and the sources of credentials need it: requests and answers as values, and
// the one thing that can perform them. http_engine.h is the real one, over libcurl; tests hand in a
// function.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::storage {

struct HttpHeader {
  std::string name;
  std::string value;
  bool operator==(const HttpHeader&) const = default;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // complete and encoded; sent as it is
  std::vector<HttpHeader> headers;
  Blob body;
  // Where the body of a 2xx answer goes, without a copy; must live until the end of the request. A
  // longer body is an error. Empty: the body comes in HttpResponse::body, of at most max_body_bytes.
  std::span<std::byte> into;
  uint64_t max_body_bytes = uint64_t{64} << 20;
  std::chrono::milliseconds connect_timeout{5000};
  // Fewer bytes than this in both directions together in so long: the connection is given up.
  std::chrono::milliseconds stall_timeout{10000};
  uint64_t stall_bytes = 1;
  std::chrono::milliseconds deadline{0};  // for the whole of it; 0: none
};

struct HttpResponse {
  int status = 0;
  std::vector<HttpHeader> headers;  // names in lower case
  std::string body;                 // empty where it went into HttpRequest::into
  uint64_t body_bytes = 0;

  // "" where there is none.
  std::string_view header(std::string_view lower_case_name) const {
    for (const HttpHeader& header : headers) {
      if (header.name == lower_case_name) return header.value;
    }
    return {};
  }
};

// Performs one request, once, and waits. Any status is a response; an Error (kIo) means that there was
// no whole answer: no connection, a reset, a short body, a stall, the deadline.
using HttpPerform = std::function<Result<HttpResponse>(const HttpRequest&)>;

}  // namespace atl::storage
