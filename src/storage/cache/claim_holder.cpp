#include "storage/cache/claim_holder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <random>

namespace atl::storage {

using Json = nlohmann::json;

ClaimHolder ClaimHolder::self() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::random_device random;
  return {host.data(), this_process(), fmt::format("{:08x}{:08x}", random(), random())};
}

std::string ClaimHolder::to_json() const {
  Json json = {{"host", host}, {"token", token}};
  if (process) json["process"] = process->text();
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ClaimHolder ClaimHolder::from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  const auto word = [&](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
  };
  return {word("host"), ProcessIdentity::parse(word("process")), word("token")};
}

Alive ClaimHolder::is_alive() const {
  // Without a boot id, two containers' first processes have the same name.
  if (!process || process->boot.empty()) return Alive::kUnknown;
  return storage::is_alive(*process, this_process());
}

std::string ClaimHolder::name() const {
  if (!process || host.empty()) return "an unknown program";
  return fmt::format("process {} on {}", process->pid, host);
}

}  // namespace atl::storage
