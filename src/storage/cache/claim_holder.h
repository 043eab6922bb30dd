// Who holds a claim on a bucket, as the claim's object says it: one line of JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "storage/cache/process_identity.h"

namespace atl::storage {

struct ClaimHolder {
  std::string host;
  std::optional<ProcessIdentity> process;
  std::string token;  // no two claims have the same

  static ClaimHolder self();
  std::string to_json() const;
  // Anything else that lies there is a holder of whom nothing is known.
  static ClaimHolder from_json(std::string_view text);

  // kUnknown also where nothing is known of it.
  Alive is_alive() const;
  std::string name() const;  // for people

  bool operator==(const ClaimHolder&) const = default;
};

}  // namespace atl::storage
