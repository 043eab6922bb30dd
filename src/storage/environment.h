// The one place where the storage room reads the environment. What it reads is the user's, as in every
// program that speaks to S3, and no cluster's: AWS_* (region, endpoint, profile, keys; the AWS SDKs' reference
// lists them), HOME for ~/.aws, and Atoll's own:
//   ATOLL_CACHE_DIR        where blocks and listings are kept; $XDG_CACHE_HOME/atoll/s3 or ~/.cache/atoll/s3
//   ATOLL_CACHE_SIZE       bound of the blocks, "200GB"; 100 GiB
//   ATOLL_LISTING_AGE      how long a listing is believed, in seconds; 3600
//   ATOLL_NO_SIGN_REQUEST  "1": public buckets, without credentials
// The command line sets the same ones (cli/bucket_options.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::storage {

std::optional<std::string> environment_variable(std::string_view name);

struct CacheSettings {
  std::string directory;
  uint64_t max_bytes = uint64_t{100} << 30;
  std::chrono::seconds listing_age{3600};
};
// From what `variable` says. kInvalidInput: a value that is none, or no directory to be found.
Result<CacheSettings> read_cache_settings(
    const std::function<std::optional<std::string>(std::string_view name)>& variable);

}  // namespace atl::storage
