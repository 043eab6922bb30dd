// What says which hosts a job has: SageMaker's resourceconfig.json and Slurm's compressed lists. However few bytes, no
// more hosts than a job may have come out, and all of them are names. The first byte says which it is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "job/address.h"
#include "job/nodelist.h"
#include "job/place.h"
#include "job/resource_config.h"

namespace {

using namespace atl::job;

constexpr size_t kMostHosts = kMaxNodes;

void check_hosts(const std::vector<std::string>& hosts) {
  ATOLL_CHECK(!hosts.empty() && hosts.size() <= kMostHosts);
  ATOLL_CHECK(std::ranges::all_of(hosts, is_host));
}

void check_config(std::string_view text) {
  const auto config = parse_resource_config(text);
  if (!config) return;
  check_hosts(config->hosts);
  ATOLL_CHECK(config->current >= 0);
  ATOLL_CHECK(static_cast<size_t>(config->current) < config->hosts.size());
  ATOLL_CHECK(std::ranges::is_sorted(config->hosts));
  ATOLL_CHECK(std::ranges::adjacent_find(config->hosts) == config->hosts.end());
}

void check_nodelist(std::string_view text) {
  const auto hosts = expand_nodelist(text);
  if (!hosts) {
    for (const char c : hosts.error().message) ATOLL_CHECK(c >= ' ' && c <= '~');
    return;
  }
  check_hosts(*hosts);
  // Written out it is a list of the same hosts.
  std::string plain;
  for (const std::string& host : *hosts) plain += (plain.empty() ? "" : ",") + host;
  const auto again = expand_nodelist(plain);
  ATOLL_CHECK(again && *again == *hosts);
}

void check_tasks(std::string_view text) {
  const auto tasks = expand_tasks_per_node(text);
  if (!tasks) return;
  ATOLL_CHECK(!tasks->empty() && tasks->size() <= kMostHosts);
  ATOLL_CHECK(std::ranges::all_of(*tasks, [](int count) { return count >= 1; }));
}

void check_address(std::string_view text) {
  const auto address = parse_address(text, "address");
  if (!address) return;
  ATOLL_CHECK(is_host(address->host));
  ATOLL_CHECK(address->port.value_or(1) != 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'c':
      check_config(text);
      break;
    case 'n':
      check_nodelist(text);
      break;
    case 't':
      check_tasks(text);
      break;
    default:
      check_address(text);
      break;
  }
  return 0;
}
