// Times as AWS's answers write them: RFC 3339, "2013-05-24T00:00:00Z", with or without fractions of a second
// and with any offset.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace atl::storage {

// nullopt for anything else. Fractions beyond the clock's are cut off.
std::optional<std::chrono::system_clock::time_point> parse_rfc3339(std::string_view text);

}  // namespace atl::storage
