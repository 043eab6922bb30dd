// AWS Signature Version 4: the only file that knows how to sign a request for AWS, with the encoding
// of paths and queries that goes with it.
//
// Every header given is signed but those that proxies and HTTP itself may change (User-Agent, Connection
// and the like). The query goes out in the order in which it is signed.
//
// Source: "Signature Version 4 signing process" and "Authenticating requests (AWS Signature Version 4)"
// of AWS's documentation. S3 differs from the other services in two points: its path is encoded once,
// not twice, and not normalised.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/s3/credentials.h"
#include "storage/s3/http.h"

namespace atl::storage {

struct UnsignedRequest {
  std::string method = "GET";
  std::string scheme = "https";
  std::string host;  // as the Host header has it: with the port where that is not the scheme's own
  std::string path = "/";                                  // not encoded: "/bucket/a key"
  std::vector<std::pair<std::string, std::string>> query;  // not encoded, any order
  std::vector<HttpHeader> headers;  // all but Host and those of the signature
  // SHA-256 of the body in lower-case hex (storage/sha256.h), or "UNSIGNED-PAYLOAD". "": there is no
  // body; in a presigned URL for S3: whatever body comes.
  std::string payload_sha256;
};

struct SigningScope {
  std::string region;
  std::string service = "s3";
};

// How the request goes out. Host is not among the headers: it follows from the URL.
struct SignedRequest {
  std::string url;
  std::vector<HttpHeader> headers;
};

// With null credentials: only encoded, not signed.
SignedRequest sign(const UnsignedRequest& request,
                   const Credentials* credentials,
                   const SigningScope& scope,
                   std::chrono::system_clock::time_point now);

// A URL that carries its own signature, good for `valid` (at most seven days).
std::string presign(const UnsignedRequest& request,
                    const Credentials& credentials,
                    const SigningScope& scope,
                    std::chrono::system_clock::time_point now,
                    std::chrono::seconds valid);

// The bytes of the text, UTF-8 or not, by RFC 3986: everything but A-Z a-z 0-9 - . _ ~ as %XX, and '/' only if asked for.
std::string encode_uri(std::string_view text, bool encode_slash);

}  // namespace atl::storage
