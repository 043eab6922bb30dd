// What the leader of a job's hosts leaves in the place that they share, for the others to find it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::job {

struct LeaseRecord {
  std::string agent;                   // no two launchers have the same
  std::string token;                   // whoever joins says it
  std::string host;                    // for people
  std::vector<std::string> addresses;  // that reach it, the likeliest first
  uint16_t port = 1;
  uint64_t beat = 0;      // counts renewals
  bool resigned = false;  // leads no more: whoever wants to may take the next term

  std::string to_json() const;
  bool operator==(const LeaseRecord&) const = default;
};

// kInvalidInput: anything else that lies there.
Result<LeaseRecord> parse_lease_record(std::string_view text);

// The record of a term, "leader-0000000007": the order of the names is that of the terms.
std::string lease_key(uint64_t term);
std::optional<uint64_t> term_of(std::string_view key);
inline constexpr std::string_view kLeasePrefix = "leader-";

}  // namespace atl::job
