// Numbers of JSON, to the nearest double.
//
// simdjson's on-demand get_double (3.0.1, Debian 12) is wrong for decimals below 1 with 20 digits
// and more: 0.81540726676487195129 becomes 0.0775. printf("%.20f") writes such numbers.
#pragma once

#include <optional>
#include <string_view>

namespace atl::dataset {

struct JsonNumber {
  double value;
  const char* end;  // the first character that is no longer part of it
};

// The number that begins at `at`, in JSON's grammar (no leading zeros, no bare point). nullopt:
// there is none, or it is beyond the doubles.
std::optional<JsonNumber> read_json_number(const char* at, const char* end);

// The same of a whole text; JSON's white space may follow.
std::optional<double> json_number(std::string_view text);

}  // namespace atl::dataset
