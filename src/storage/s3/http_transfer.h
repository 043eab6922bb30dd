// One HTTP request on one libcurl handle, for http_engine.cpp.
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "storage/s3/http.h"

namespace atl::storage {

struct CurlEasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyDeleter>;

// Used by one thread at a time, and not moved: libcurl holds its address.
class HttpTransfer {
 public:
  explicit HttpTransfer(HttpRequest request);
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // "https://host:port", what connections are counted by; "" where the URL has none.
  std::string origin() const;
  const HttpRequest& request() const { return request_; }

  // Everything that libcurl must know, on a handle as curl_easy_reset() leaves it.
  Result<void> prepare(CurlEasy handle, const std::string& ca_bundle, size_t receive_buffer_bytes);
  CURL* handle() const { return handle_.get(); }
  CurlEasy release_handle() { return std::move(handle_); }

  // In both directions, so far.
  uint64_t bytes_moved() const { return bytes_moved_; }

  // Whether it failed only because the server had closed a kept connection: sending broke off before anything of an
  // answer came. libcurl sees to that itself where it notices while it reads, not while it sends. True once.
  bool begins_again(CURLcode code);
  // What came of it. After this the transfer is empty.
  Result<HttpResponse> finish(CURLcode code);
  std::string certificate_hint() const;
  // "GET https://host/path: WHAT", without the query, which may hold a signature.
  Error error(ErrorCode code, std::string_view what, std::string hint = {}) const;

 private:
  static size_t on_header(char* line, size_t size, size_t count, void* self);
  static size_t on_body(char* bytes, size_t size, size_t count, void* self);
  static size_t on_send(char* buffer, size_t size, size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);

  bool take_header(std::string_view line);
  bool take_body(std::string_view bytes);
  void set_method();
  void set_headers();

  struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  HttpRequest request_;
  CurlEasy handle_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  std::array<char, CURL_ERROR_SIZE> curl_message_{};
  HttpResponse response_;
  uint64_t bytes_moved_ = 0;
  uint64_t header_bytes_ = 0;
  bool headers_ended_ = false;
  uint64_t sent_bytes_ = 0;
  bool has_begun_again_ = false;
  std::string refusal_;  // why a callback has stopped the transfer
};

}  // namespace atl::storage
