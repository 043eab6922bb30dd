// MD5, where S3 speaks it: ETags, and the Content-MD5 that DeleteObjects asks for. For nothing else.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace atl::storage {

using Md5Digest = std::array<unsigned char, 16>;

// nullopt where OpenSSL is built or configured without it (FIPS).
std::optional<Md5Digest> md5(std::span<const std::byte> bytes);
inline std::optional<Md5Digest> md5(std::string_view text) {
  return md5(std::as_bytes(std::span(text)));
}

}  // namespace atl::storage
