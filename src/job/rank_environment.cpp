#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "job/launch.h"
#include "job/launch_variables.h"

namespace atl::job {
namespace {

bool is_set(const std::vector<std::string>& environment, const std::string& name) {
  return std::ranges::any_of(environment, [&](const std::string& entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
}

void set(std::vector<std::string>& environment, const std::string& name, const std::string& value) {
  std::erase_if(environment, [&](const std::string& entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
  environment.push_back(name + "=" + value);
}

void set_number(std::vector<std::string>& environment, const std::string& name, int value) {
  set(environment, name, fmt::format("{}", value));
}

}  // namespace

std::vector<std::string> rank_environment(const LaunchOptions& options,
                                          int local_rank,
                                          int threads) {
  const Place& place = options.place;
  std::vector<std::string> environment = options.environment;
  set_number(environment, "RANK", place.rank + local_rank);
  set_number(environment, "LOCAL_RANK", local_rank);
  set_number(environment, "WORLD_SIZE", place.size);
  set_number(environment, "LOCAL_WORLD_SIZE", place.local_size);
  set_number(environment, "GROUP_RANK", place.node);
  set_number(environment, "GROUP_WORLD_SIZE", place.nodes);
  set(environment, "MASTER_ADDR", place.master_host);
  set_number(environment, "MASTER_PORT", place.master_port);
  set(environment, kLaunchedVariable, "1");
  if (!place.hosts.empty()) {
    set(environment, kHostsVariable, fmt::format("{}", fmt::join(place.hosts, ",")));
  }
  if (options.output_wait.count() > 0) {
    set_number(environment, kOutputWaitVariable, static_cast<int>(options.output_wait.count()));
  }
  if (!is_set(environment, "OMP_NUM_THREADS")) set_number(environment, "OMP_NUM_THREADS", threads);
  for (const char* const name : {"NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"}) {
    if (!place.network_interface.empty() && !is_set(environment, name)) {
      set(environment, name, place.network_interface);
    }
  }
  return environment;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    entries.emplace_back(*entry);
  }
  return entries;
}

}  // namespace atl::job
