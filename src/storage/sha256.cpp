#include "storage/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/check.h"

namespace atl::storage {

Sha256Digest sha256(std::span<const std::byte> bytes) {
  Sha256Digest digest;
  ATOLL_CHECK(SHA256(reinterpret_cast<const unsigned char*>(bytes.data()),
                     bytes.size(),
                     digest.data()) != nullptr);
  return digest;
}

Sha256Digest sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

Sha256Digest hmac_sha256(std::string_view key, std::string_view text) {
  Sha256Digest digest;
  unsigned size_bytes = 0;
  ATOLL_CHECK(HMAC(EVP_sha256(),
                   key.data(),
                   static_cast<int>(key.size()),
                   reinterpret_cast<const unsigned char*>(text.data()),
                   text.size(),
                   digest.data(),
                   &size_bytes) != nullptr);
  ATOLL_CHECK(size_bytes == digest.size());
  return digest;
}

Sha256Digest hmac_sha256(const Sha256Digest& key, std::string_view text) {
  return hmac_sha256(std::string_view(reinterpret_cast<const char*>(key.data()), key.size()), text);
}

std::string to_hex(std::span<const unsigned char> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const unsigned char byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string sha256_hex(std::span<const std::byte> bytes) { return to_hex(sha256(bytes)); }
std::string sha256_hex(std::string_view text) { return to_hex(sha256(text)); }

}  // namespace atl::storage
