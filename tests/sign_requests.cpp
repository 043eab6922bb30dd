// Signs what it is told to: one JSON object a line in, one out. For signer_differential.py, which holds the
// outcome against botocore's. Texts that may hold any bytes come in hexadecimal.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "storage/s3/signer.h"

namespace {

using namespace atl::storage;
using Json = nlohmann::json;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

UnsignedRequest request_of(const Json& json) {
  UnsignedRequest request;
  request.method = json.at("method");
  request.scheme = json.at("scheme");
  request.host = json.at("host");
  request.path = from_hex(json.at("path_hex"));
  for (const Json& pair : json.at("query_hex")) {
    request.query.emplace_back(from_hex(pair.at(0)), from_hex(pair.at(1)));
  }
  for (const Json& header : json.at("headers")) {
    request.headers.push_back({header.at(0), header.at(1)});
  }
  request.payload_sha256 = json.at("payload_sha256");
  return request;
}

Json signed_by_us(const Json& json) {
  const UnsignedRequest request = request_of(json);
  const Credentials keys{json.at("access_key"), json.at("secret_key"), json.at("token"), {}};
  const SigningScope scope{json.at("region"), json.at("service")};
  const std::chrono::system_clock::time_point now{std::chrono::seconds(json.at("time_s"))};
  if (const int64_t valid_s = json.at("presigned_s"); valid_s > 0) {
    return {{"url", presign(request, keys, scope, now, std::chrono::seconds(valid_s))}};
  }
  const SignedRequest out = sign(request, &keys, scope, now);
  Json headers = Json::array();
  for (const HttpHeader& header : out.headers) headers.push_back({header.name, header.value});
  return {{"url", out.url}, {"headers", headers}};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  try {
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << signed_by_us(Json::parse(line)).dump() << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << "sign_requests: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
