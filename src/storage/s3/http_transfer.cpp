#include "storage/s3/http_transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace atl::storage {

namespace {

constexpr uint64_t kMaxHeaderBytes = uint64_t{256} << 10;

std::string_view without_query(std::string_view url) { return url.substr(0, url.find('?')); }

// The host of an origin, without port and brackets.
std::string_view host_of(std::string_view origin) {
  const size_t scheme = origin.find("://");
  if (scheme != std::string_view::npos) origin.remove_prefix(scheme + 3);
  const size_t user = origin.rfind('@');
  if (user != std::string_view::npos) origin.remove_prefix(user + 1);
  if (origin.starts_with('[')) return origin.substr(1, origin.find(']') - 1);
  return origin.substr(0, origin.find(':'));
}

// Addresses that lie on this machine or are its own metadata service: no proxy reaches them.
bool needs_no_proxy(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.") ||
         host.starts_with("169.254.") || host == "fd00:ec2::254" || host == "fd00:ec2::23";
}

bool is_http(std::string_view url) {
  return url.starts_with("http://") || url.starts_with("https://");
}

bool is_success(int status) { return status >= 200 && status < 300; }

}  // namespace

HttpTransfer::HttpTransfer(HttpRequest request) : request_(std::move(request)) {}

std::string HttpTransfer::origin() const {
  const size_t scheme = request_.url.find("://");
  if (scheme == std::string::npos) return {};
  return request_.url.substr(0, request_.url.find_first_of("/?#", scheme + 3));
}

Result<void> HttpTransfer::prepare(CurlEasy handle,
                                   const std::string& ca_bundle,
                                   size_t receive_buffer_bytes) {
  handle_ = std::move(handle);
  CURL* curl = handle_.get();
  response_ = {};
  if (curl == nullptr) return tl::unexpected(error(ErrorCode::kIo, "libcurl has no memory"));

  if (curl_easy_setopt(curl, CURLOPT_URL, request_.url.c_str()) != CURLE_OK ||
      curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK) {
    return tl::unexpected(error(ErrorCode::kInvalidInput, "this is no URL"));
  }
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, curl_message_.data());
  // Keys may hold "..": the path has been encoded and signed as it is.
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, static_cast<long>(receive_buffer_bytes));
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, static_cast<long>(receive_buffer_bytes));
  curl_easy_setopt(
      curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  if (!ca_bundle.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, ca_bundle.c_str());
  const std::string from = origin();
  if (needs_no_proxy(host_of(from))) curl_easy_setopt(curl, CURLOPT_PROXY, "");

  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  set_method();
  set_headers();
  return {};
}

void HttpTransfer::set_method() {
  CURL* curl = handle_.get();
  const std::string& method = request_.method;
  if (method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    return;
  }
  if (method == "PUT" || method == "POST" || request_.body.size() > 0) {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, &on_send);
    curl_easy_setopt(curl, CURLOPT_READDATA, this);
    // A kept connection may turn out to be closed when the request goes out; libcurl then starts over.
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, &on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, this);
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
}

void HttpTransfer::set_headers() {
  curl_slist* list = nullptr;
  const auto add = [&list](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(list, line.c_str())) list = longer;
  };
  for (const HttpHeader& header : request_.headers) {
    // libcurl's own notation for a header without a value.
    add(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  // Waiting for "100 Continue" costs a round trip, and a second where the server does not know it.
  add("Expect:");
  // What libcurl would add by itself.
  add("Accept:");
  headers_.reset(list);
  curl_easy_setopt(handle_.get(), CURLOPT_HTTPHEADER, list);
}

size_t HttpTransfer::on_header(char* line, size_t size, size_t count, void* self) {
  const bool taken =
      static_cast<HttpTransfer*>(self)->take_header(std::string_view(line, size * count));
  return taken ? size * count : 0;
}

bool HttpTransfer::take_header(std::string_view line) {
  bytes_moved_ += line.size();
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    refusal_ = "the answer's headers do not end";
    return false;
  }
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // also what follows "100 Continue"
    response_ = {};
    headers_ended_ = false;
    const size_t space = std::min(line.find(' '), line.size() - 1);
    std::from_chars(line.data() + space + 1, line.data() + line.size(), response_.status);
    return true;
  }
  if (line.empty()) headers_ended_ = true;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  std::string_view value = line.substr(colon + 1);
  const size_t first = value.find_first_not_of(" \t");
  value = first == std::string_view::npos ? std::string_view{} : value.substr(first);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  response_.headers.push_back({std::move(name), std::string(value)});
  return true;
}

size_t HttpTransfer::on_body(char* bytes, size_t size, size_t count, void* self) {
  const bool taken =
      static_cast<HttpTransfer*>(self)->take_body(std::string_view(bytes, size * count));
  return taken ? size * count : 0;
}

bool HttpTransfer::take_body(std::string_view bytes) {
  bytes_moved_ += bytes.size();
  const bool is_direct = !request_.into.empty() && is_success(response_.status);
  const uint64_t most = is_direct ? request_.into.size() : request_.max_body_bytes;
  if (bytes.size() > most - response_.body_bytes) {
    refusal_ = fmt::format("the answer is longer than {} bytes", most);
    return false;
  }
  if (is_direct) {
    std::memcpy(request_.into.data() + response_.body_bytes, bytes.data(), bytes.size());
  } else {
    response_.body.append(bytes);
  }
  response_.body_bytes += bytes.size();
  return true;
}

size_t HttpTransfer::on_send(char* buffer, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  const auto rest = transfer.request_.body.bytes().subspan(transfer.sent_bytes_);
  const size_t bytes = std::min(size * count, rest.size());
  if (bytes > 0) std::memcpy(buffer, rest.data(), bytes);
  transfer.sent_bytes_ += bytes;
  transfer.bytes_moved_ += bytes;
  return bytes;
}

int HttpTransfer::on_seek(void* self, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  if (origin != SEEK_SET || offset < 0 ||
      static_cast<uint64_t>(offset) > transfer.request_.body.size()) {
    return CURL_SEEKFUNC_FAIL;
  }
  transfer.sent_bytes_ = static_cast<uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

bool HttpTransfer::begins_again(CURLcode code) {
  if (code != CURLE_SEND_ERROR || header_bytes_ > 0 || has_begun_again_) return false;
  long new_connections = 1;
  curl_easy_getinfo(handle_.get(), CURLINFO_NUM_CONNECTS, &new_connections);
  if (new_connections > 0) return false;
  has_begun_again_ = true;
  sent_bytes_ = 0;
  curl_easy_setopt(handle_.get(), CURLOPT_FRESH_CONNECT, 1L);
  return true;
}

Result<HttpResponse> HttpTransfer::finish(CURLcode code) {
  if (code == CURLE_OK) {
    // libcurl takes headers that a closed connection cuts off for whole ones.
    if (response_.status >= 100 && headers_ended_) return std::move(response_);
    return tl::unexpected(error(ErrorCode::kIo, "the answer's headers are not whole"));
  }
  std::string_view what = refusal_;
  if (what.empty()) what = curl_message_.data();
  if (what.empty()) what = curl_easy_strerror(code);
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
      // libcurl's word for bytes that are not HTTP, too.
      if (is_http(request_.url)) return tl::unexpected(error(ErrorCode::kIo, what));
      [[fallthrough]];
    case CURLE_URL_MALFORMAT:
      return tl::unexpected(error(ErrorCode::kInvalidInput, what, "check the endpoint's URL"));
    case CURLE_SSL_CACERT_BADFILE:
      return tl::unexpected(error(ErrorCode::kInvalidInput,
                                  what,
                                  "the file that AWS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE "
                                  "names must hold certificates, PEM"));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return tl::unexpected(error(ErrorCode::kInvalidInput, what, certificate_hint()));
    default:
      return tl::unexpected(error(ErrorCode::kIo, what));
  }
}

// What OpenSSL has found wrong with the certificate, by its codes (openssl/x509_vfy.h); none: it is the
// name that libcurl did not find in it.
std::string HttpTransfer::certificate_hint() const {
  constexpr long kUnset = 1;  // libcurl looks at the name before it asks for a code
  constexpr long kNotYetValid = 9;
  constexpr long kExpired = 10;
  long found = 0;
  curl_easy_getinfo(handle_.get(), CURLINFO_SSL_VERIFYRESULT, &found);
  if (found <= kUnset) {
    return "the server's certificate is for another name: use the endpoint's name that stands in "
           "it";
  }
  if (found == kNotYetValid || found == kExpired) {
    return "the server's certificate has expired or is not valid yet, or this machine's clock is "
           "wrong";
  }
  return "the server's certificate is not trusted: set AWS_CA_BUNDLE to the file with its "
         "authority's";
}

Error HttpTransfer::error(ErrorCode code, std::string_view what, std::string hint) const {
  return {code,
          fmt::format("{} {}: {}", request_.method, without_query(request_.url), what),
          std::move(hint),
          {}};
}

}  // namespace atl::storage
