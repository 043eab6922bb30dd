// Small text files that a user's settings name: configuration, tokens. Not objects of a store.
#pragma once

#include <string>

#include "base/error.h"

namespace atl::storage {

// Some thousand times what such a file holds; more is another file by mistake.
inline constexpr size_t kMaxSmallFileBytes = size_t{4} << 20;

// The whole file, also of a pipe. kNotFound, kIo, or kInvalidInput where it is too long.
Result<std::string> read_small_file(const std::string& path, size_t max_bytes = kMaxSmallFileBytes);

}  // namespace atl::storage
