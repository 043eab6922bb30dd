#include "storage/s3/signer.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "base/check.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
constexpr std::chrono::days kLongestPresigned{7};  // S3's own bound

// Hop-by-hop headers (RFC 9110, 7.6.1), and those that proxies, tracers and libcurl change or add.
constexpr auto kNotSigned = std::to_array<std::string_view>({"authorization",
                                                             "baggage",
                                                             "connection",
                                                             "expect",
                                                             "keep-alive",
                                                             "proxy-authenticate",
                                                             "proxy-authorization",
                                                             "te",
                                                             "traceparent",
                                                             "tracestate",
                                                             "trailer",
                                                             "transfer-encoding",
                                                             "upgrade",
                                                             "user-agent",
                                                             "x-amzn-trace-id"});

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Without white space at the ends, and each run of it inside as one space.
std::string trim_all(std::string_view value) {
  static constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";
  std::string trimmed;
  for (size_t at = value.find_first_not_of(kWhiteSpace); at != std::string_view::npos;) {
    const size_t end = std::min(value.find_first_of(kWhiteSpace, at), value.size());
    if (!trimmed.empty()) trimmed += ' ';
    trimmed += value.substr(at, end - at);
    at = value.find_first_not_of(kWhiteSpace, end);
  }
  return trimmed;
}

bool is_s3(const SigningScope& scope) { return scope.service.starts_with("s3"); }

// RFC 3986, 5.2.4, and runs of '/' as one.
std::string normalised_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view component = path.substr(at, end - at);
    if (component == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (!component.empty() && component != ".") {
      kept.push_back(component);
    }
    at = end + 1;
  }
  std::string normalised;
  for (const std::string_view component : kept) normalised.append("/").append(component);
  if (kept.empty() || path.ends_with('/')) normalised += '/';
  return normalised;
}

std::string encoded_path(const UnsignedRequest& request) {
  return request.path.empty() ? "/" : encode_uri(request.path, false);
}

std::string canonical_path(const UnsignedRequest& request, const SigningScope& scope) {
  if (is_s3(scope)) return encoded_path(request);
  return encode_uri(normalised_path(encoded_path(request)), false);
}

// Sorted by the encoded names, then by the encoded values.
std::string canonical_query(const Pairs& query) {
  Pairs encoded;
  encoded.reserve(query.size());
  for (const auto& [name, value] : query) {
    encoded.emplace_back(encode_uri(name, true), encode_uri(value, true));
  }
  std::ranges::sort(encoded);
  std::string text;
  for (const auto& [name, value] : encoded) {
    if (!text.empty()) text += '&';
    text.append(name).append("=").append(value);
  }
  return text;
}

struct CanonicalHeaders {
  std::string lines;  // "host:…\nrange:…\n"
  std::string names;  // "host;range"
};

CanonicalHeaders canonical_headers(std::string_view host, const std::vector<HttpHeader>& headers) {
  std::map<std::string, std::string> values{{"host", trim_all(host)}};
  for (const HttpHeader& header : headers) {
    std::string name = lower_case(header.name);
    if (std::ranges::find(kNotSigned, name) != kNotSigned.end()) continue;
    const auto [place, is_new] = values.try_emplace(std::move(name), trim_all(header.value));
    if (!is_new) place->second.append(",").append(trim_all(header.value));
  }
  CanonicalHeaders canonical;
  for (const auto& [name, value] : values) {
    canonical.lines.append(name).append(":").append(value).append("\n");
    if (!canonical.names.empty()) canonical.names += ';';
    canonical.names += name;
  }
  return canonical;
}

struct Moment {
  std::string date;  // 20130524
  std::string time;  // 20130524T000000Z
};

Moment moment_of(std::chrono::system_clock::time_point now) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  ATOLL_CHECK(gmtime_r(&seconds, &utc) != nullptr);
  Moment moment;
  moment.date = fmt::format("{:04}{:02}{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
  moment.time =
      fmt::format("{}T{:02}{:02}{:02}Z", moment.date, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return moment;
}

std::string credential_scope(const Moment& moment, const SigningScope& scope) {
  return fmt::format("{}/{}/{}/aws4_request", moment.date, scope.region, scope.service);
}

std::string signature(std::string_view canonical_request,
                      const Credentials& credentials,
                      const SigningScope& scope,
                      const Moment& moment) {
  const Sha256Digest by_date = hmac_sha256("AWS4" + credentials.secret_access_key, moment.date);
  const Sha256Digest by_region = hmac_sha256(by_date, scope.region);
  const Sha256Digest by_service = hmac_sha256(by_region, scope.service);
  const Sha256Digest key = hmac_sha256(by_service, "aws4_request");
  return to_hex(hmac_sha256(key,
                            fmt::format("{}\n{}\n{}\n{}",
                                        kAlgorithm,
                                        moment.time,
                                        credential_scope(moment, scope),
                                        sha256_hex(canonical_request))));
}

std::string canonical_request(const UnsignedRequest& request,
                              const SigningScope& scope,
                              std::string_view query,
                              const CanonicalHeaders& headers,
                              std::string_view payload) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}",
                     request.method,
                     canonical_path(request, scope),
                     query,
                     headers.lines,
                     headers.names,
                     payload);
}

std::string url_of(const UnsignedRequest& request, std::string_view query) {
  std::string url = fmt::format("{}://{}{}", request.scheme, request.host, encoded_path(request));
  if (!query.empty()) url.append("?").append(query);
  return url;
}

}  // namespace

SignedRequest sign(const UnsignedRequest& request,
                   const Credentials* credentials,
                   const SigningScope& scope,
                   std::chrono::system_clock::time_point now) {
  const std::string query = canonical_query(request.query);
  SignedRequest out{url_of(request, query), request.headers};
  if (credentials == nullptr) return out;

  const Moment moment = moment_of(now);
  const std::string payload =
      request.payload_sha256.empty() ? sha256_hex(std::string_view{}) : request.payload_sha256;
  out.headers.push_back({"X-Amz-Date", moment.time});
  if (is_s3(scope)) out.headers.push_back({"X-Amz-Content-SHA256", payload});
  if (!credentials->session_token.empty()) {
    out.headers.push_back({"X-Amz-Security-Token", credentials->session_token});
  }
  const CanonicalHeaders headers = canonical_headers(request.host, out.headers);
  const std::string canonical = canonical_request(request, scope, query, headers, payload);
  out.headers.push_back({"Authorization",
                         fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}",
                                     kAlgorithm,
                                     credentials->access_key_id,
                                     credential_scope(moment, scope),
                                     headers.names,
                                     signature(canonical, *credentials, scope, moment))});
  return out;
}

std::string presign(const UnsignedRequest& request,
                    const Credentials& credentials,
                    const SigningScope& scope,
                    std::chrono::system_clock::time_point now,
                    std::chrono::seconds valid) {
  ATOLL_CHECK(valid.count() > 0 && valid <= kLongestPresigned) << valid.count();
  const Moment moment = moment_of(now);
  const CanonicalHeaders headers = canonical_headers(request.host, request.headers);
  Pairs pairs = request.query;
  pairs.emplace_back("X-Amz-Algorithm", kAlgorithm);
  pairs.emplace_back("X-Amz-Credential",
                     credentials.access_key_id + "/" + credential_scope(moment, scope));
  pairs.emplace_back("X-Amz-Date", moment.time);
  pairs.emplace_back("X-Amz-Expires", fmt::format("{}", valid.count()));
  pairs.emplace_back("X-Amz-SignedHeaders", headers.names);
  if (!credentials.session_token.empty()) {
    pairs.emplace_back("X-Amz-Security-Token", credentials.session_token);
  }
  std::string payload = request.payload_sha256;
  if (payload.empty()) payload = is_s3(scope) ? kUnsignedPayload : sha256_hex(std::string_view{});
  std::string query = canonical_query(pairs);
  const std::string canonical = canonical_request(request, scope, query, headers, payload);
  query.append("&X-Amz-Signature=").append(signature(canonical, credentials, scope, moment));
  return url_of(request, query);
}

std::string encode_uri(std::string_view text, bool encode_slash) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const bool stays = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && !encode_slash);
    if (stays) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 15];
    }
  }
  return encoded;
}

}  // namespace atl::storage
