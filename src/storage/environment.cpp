#include "storage/environment.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "base/bytes.h"

namespace atl::storage {

std::optional<std::string> environment_variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Result<CacheSettings> read_cache_settings(
    const std::function<std::optional<std::string>(std::string_view name)>& variable) {
  const auto value_of = [&](std::string_view name) { return variable(name).value_or(""); };
  CacheSettings settings;
  settings.directory = value_of("ATOLL_CACHE_DIR");
  // Relative values of XDG_CACHE_HOME are to be ignored, says its standard.
  const std::string cache = value_of("XDG_CACHE_HOME");
  const std::string home = value_of("HOME");
  if (settings.directory.empty() && cache.starts_with('/'))
    settings.directory = cache + "/atoll/s3";
  if (settings.directory.empty() && home.starts_with('/')) {
    settings.directory = home + "/.cache/atoll/s3";
  }
  if (settings.directory.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "there is no place for the cache: HOME is not set",
                "name a directory with --cache-dir or ATOLL_CACHE_DIR");
  }
  if (const std::string size = value_of("ATOLL_CACHE_SIZE"); !size.empty()) {
    settings.max_bytes = ATOLL_TRY_CONTEXT(parse_bytes(size), "ATOLL_CACHE_SIZE");
  }
  if (const std::string age = value_of("ATOLL_LISTING_AGE"); !age.empty()) {
    int64_t seconds = 0;
    const char* const end = age.data() + age.size();
    const auto [stop, error] = std::from_chars(age.data(), end, seconds);
    constexpr int64_t kMost = 1'000'000'000;
    if (error != std::errc() || stop != end || seconds < 0 || seconds > kMost) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("ATOLL_LISTING_AGE: \"{}\" is no number of seconds", age),
                  "write for instance 3600");
    }
    settings.listing_age = std::chrono::seconds(seconds);
  }
  return settings;
}

}  // namespace atl::storage
