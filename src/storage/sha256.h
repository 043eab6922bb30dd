// SHA-256 and HMAC-SHA-256, by OpenSSL: for signatures, for checksums that a server or a schema asks for.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace atl::storage {

using Sha256Digest = std::array<unsigned char, 32>;

Sha256Digest sha256(std::span<const std::byte> bytes);
Sha256Digest sha256(std::string_view text);
// RFC 2104.
Sha256Digest hmac_sha256(std::string_view key, std::string_view text);
Sha256Digest hmac_sha256(const Sha256Digest& key, std::string_view text);

// Lower-case hexadecimal digits.
std::string to_hex(std::span<const unsigned char> bytes);
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace atl::storage
