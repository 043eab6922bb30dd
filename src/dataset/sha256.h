// SHA-256 (FIPS 180-4), for image/key/sha256 of TFRecords.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace atl::dataset {

// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace atl::dataset
