#include "cli/cache_folder.h"

#include <cstdlib>
#include <string_view>

namespace atl::cli {
namespace {

std::string_view absolute_path_in(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value == '/' ? value : "";
}

}  // namespace

std::string cache_folder() {
  if (const auto cache = absolute_path_in("XDG_CACHE_HOME"); !cache.empty()) {
    return std::string(cache) + "/atoll";
  }
  const auto home = absolute_path_in("HOME");
  return home.empty() ? "" : std::string(home) + "/.cache/atoll";
}

}  // namespace atl::cli
