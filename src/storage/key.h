// Which keys a store takes. The same for every store, so that a dataset or a run that works in a
// directory works in a bucket.
#pragma once

#include <string_view>

#include "base/error.h"

namespace atl::storage {

// Files of put() that are not finished yet carry this prefix; such names are not keys.
inline constexpr std::string_view kTemporaryPrefix = ".atoll-tmp-";

// S3 takes keys of at most 1,024 bytes, Linux file names of at most 255.
inline constexpr size_t kMaxKeyBytes = 1024;
inline constexpr size_t kMaxComponentBytes = 255;

// kInvalidInput for a key that is empty, absolute or too long, or has an empty, ".", ".." or
// temporary component, or a NUL.
Result<void> check_key(std::string_view key);
// The same for the whole components of a prefix; what follows the last '/' may be anything.
Result<void> check_prefix(std::string_view prefix);

}  // namespace atl::storage
