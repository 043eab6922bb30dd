#include "job/resource_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "job/address.h"
#include "job/place.h"
#include "job/variables.h"

namespace atl::job {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kHint =
    "SageMaker writes this file; outside of a training job, remove it or give --nodes, --node and "
    "--rendezvous";

tl::unexpected<Error> wrong(std::string message) { return refuse(std::move(message), kHint); }

Result<std::vector<std::string>> read_hosts(const Json& document) {
  const auto found = document.find("hosts");
  if (found == document.end() || !found->is_array()) return wrong("\"hosts\" is no list");
  if (found->empty()) return wrong("\"hosts\" is empty");
  if (found->size() > static_cast<size_t>(kMaxNodes)) {
    return wrong(fmt::format("\"hosts\" names more than {} hosts", kMaxNodes));
  }
  std::vector<std::string> hosts;
  for (const Json& host : *found) {
    if (!host.is_string() || !is_host(host.get_ref<const std::string&>())) {
      return wrong("\"hosts\" holds something that is no host's name");
    }
    hosts.push_back(host.get<std::string>());
  }
  std::ranges::sort(hosts);
  const auto twice = std::ranges::adjacent_find(hosts);
  if (twice != hosts.end()) return wrong(fmt::format("\"hosts\" names {} twice", *twice));
  return hosts;
}

Result<void> check_instance_types(const Json& document) {
  const auto groups = document.find("instance_groups");
  if (groups == document.end() || !groups->is_array()) return {};
  std::set<std::string> types;
  for (const Json& group : *groups) {
    if (!group.is_object()) continue;
    const auto type = group.find("instance_type");
    if (type != group.end() && type->is_string()) types.insert(type->get<std::string>());
  }
  if (types.size() <= 1) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("the job has {} types of instances", types.size()),
              "use instances of one type, so that every host has as many ranks");
}

// "" where it is missing or nothing that could be an interface's name: it is only a help to NCCL.
std::string read_interface(const Json& document) {
  constexpr size_t kLongestName = 15;  // IFNAMSIZ, less its end
  const auto found = document.find("network_interface_name");
  if (found == document.end() || !found->is_string()) return {};
  const std::string& name = found->get_ref<const std::string&>();
  return name.size() <= kLongestName && is_host(name) ? name : std::string{};
}

}  // namespace

Result<ResourceConfig> parse_resource_config(std::string_view json) {
  if (json.size() > kMaxResourceConfigBytes) {
    return wrong(fmt::format("is larger than {} bytes", kMaxResourceConfigBytes));
  }
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) return wrong("is no JSON object");
  ResourceConfig config;
  config.hosts = ATOLL_TRY(read_hosts(document));
  const auto current = document.find("current_host");
  if (current == document.end() || !current->is_string()) {
    return wrong("\"current_host\" is no text");
  }
  const std::string& name = current->get_ref<const std::string&>();
  const auto found = std::ranges::find(config.hosts, name);
  if (found == config.hosts.end()) {
    return wrong(fmt::format(
        "\"current_host\" {} is not among the {} \"hosts\"", shown(name), config.hosts.size()));
  }
  config.current = static_cast<int>(found - config.hosts.begin());
  ATOLL_TRY(check_instance_types(document));
  config.network_interface = read_interface(document);
  return config;
}

}  // namespace atl::job
