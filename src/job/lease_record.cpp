#include "job/lease_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "job/address.h"
#include "job/variables.h"

namespace atl::job {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxTextBytes = 256;
constexpr size_t kMostAddresses = 64;
constexpr int64_t kMost = int64_t{1} << 53;
constexpr size_t kTermDigits = 10;

bool is_plain(const std::string& text) {
  return text.size() <= kMaxTextBytes && std::ranges::all_of(text, [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
         });
}

std::optional<std::string> text_in(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return std::nullopt;
  std::string text = found->get<std::string>();
  return is_plain(text) ? std::optional(std::move(text)) : std::nullopt;
}

std::optional<int64_t> number_in(const Json& json, const char* name, int64_t least, int64_t most) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  const auto value = found->get<uint64_t>();
  if (value < static_cast<uint64_t>(least) || value > static_cast<uint64_t>(most)) {
    return std::nullopt;
  }
  return static_cast<int64_t>(value);
}

std::optional<std::vector<std::string>> addresses_in(const Json& json) {
  const auto found = json.find("addresses");
  if (found == json.end() || !found->is_array() || found->size() > kMostAddresses) {
    return std::nullopt;
  }
  std::vector<std::string> addresses;
  for (const Json& entry : *found) {
    if (!entry.is_string() || !is_host(entry.get_ref<const std::string&>())) return std::nullopt;
    addresses.push_back(entry.get<std::string>());
  }
  return addresses;
}

}  // namespace

std::string LeaseRecord::to_json() const {
  const Json json = {{"agent", agent},
                     {"token", token},
                     {"host", host},
                     {"addresses", addresses},
                     {"port", port},
                     {"beat", beat},
                     {"resigned", resigned}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<LeaseRecord> parse_lease_record(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  const auto nothing = [] {
    return fail(ErrorCode::kInvalidInput,
                "what lies there is no lease of a job",
                "name a place that nothing else writes to");
  };
  if (!json.is_object()) return nothing();
  const auto agent = text_in(json, "agent");
  const auto token = text_in(json, "token");
  const auto host = text_in(json, "host");
  const auto addresses = addresses_in(json);
  const auto port = number_in(json, "port", 1, UINT16_MAX);
  const auto beat = number_in(json, "beat", 0, kMost);
  const auto resigned = json.find("resigned");
  if (!agent || !token || !host || !addresses || !port || !beat || resigned == json.end() ||
      !resigned->is_boolean()) {
    return nothing();
  }
  return LeaseRecord{*agent,
                     *token,
                     *host,
                     *addresses,
                     static_cast<uint16_t>(*port),
                     static_cast<uint64_t>(*beat),
                     resigned->get<bool>()};
}

std::string lease_key(uint64_t term) {
  return fmt::format("{}{:0{}}", kLeasePrefix, term, kTermDigits);
}

std::optional<uint64_t> term_of(std::string_view key) {
  if (!key.starts_with(kLeasePrefix)) return std::nullopt;
  key.remove_prefix(kLeasePrefix.size());
  if (key.size() != kTermDigits) return std::nullopt;
  const auto term = parse_number(key, 0, INT64_MAX);
  return term ? std::optional(static_cast<uint64_t>(*term)) : std::nullopt;
}

}  // namespace atl::job
