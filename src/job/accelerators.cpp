#include "job/accelerators.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "job/place.h"
#include "job/variables.h"

namespace atl::job {
namespace {

int count_nodes(const std::string& directory) {
  constexpr std::string_view kPrefix = "nvidia";
  std::error_code ignored;
  int count = 0;
  std::filesystem::directory_iterator entries(directory, ignored);
  for (; entries != std::filesystem::directory_iterator(); entries.increment(ignored)) {
    const std::string name = entries->path().filename();
    if (!name.starts_with(kPrefix)) continue;
    if (parse_number(std::string_view(name).substr(kPrefix.size()), 0, INT32_MAX)) ++count;
  }
  return count;
}

bool is_device(std::string_view text) {
  return parse_number(text, 0, INT32_MAX).has_value() || text.starts_with("GPU-") ||
         text.starts_with("MIG-");
}

int count_listed(std::string_view list) {
  int count = 0;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (!is_device(list.substr(0, comma))) break;
    ++count;
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return count;
}

}  // namespace

int count_accelerators(const std::string& device_directory,
                       const std::optional<std::string>& visible_devices) {
  const int nodes = std::min(count_nodes(device_directory), kMaxLocalSize);
  if (nodes == 0 || !visible_devices) return nodes;
  return std::min(count_listed(*visible_devices), kMaxLocalSize);
}

}  // namespace atl::job
