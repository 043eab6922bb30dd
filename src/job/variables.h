// Environment variables as numbers and texts, and the errors when they are none. An empty variable counts as not set:
// job templates leave such behind.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::job {

class Variables {
 public:
  using Lookup = std::function<std::optional<std::string>(std::string_view name)>;

  explicit Variables(Lookup lookup) : lookup_(std::move(lookup)) {}

  bool has(std::string_view name) const { return !text(name).empty(); }
  std::string text(std::string_view name) const;  // "" where it is not set
  // The first of them that is set; the last one where none is.
  std::string_view first_set(std::initializer_list<std::string_view> names) const;

  // In [least, most]. Not set is an error, too: `of` says whose variables these are ("srun").
  Result<int> number(std::string_view of,
                     std::string_view name,
                     int least,
                     int most,
                     std::string_view hint = {}) const;
  Result<std::string> required(std::string_view of,
                               std::string_view name,
                               std::string_view hint = {}) const;
  // A name or an address.
  Result<std::string> host(std::string_view of,
                           std::string_view name,
                           std::string_view hint = {}) const;
  // 1 to 65535; nullopt where it is not set.
  Result<std::optional<uint16_t>> port(std::string_view name) const;

 private:
  Lookup lookup_;
};

// A whole decimal number in [least, most], nothing before or behind it.
std::optional<int64_t> parse_number(std::string_view text, int64_t least, int64_t most);
// Text from outside as it may stand in a message: bounded, and nothing in it moves the cursor.
std::string shown(std::string_view text);

tl::unexpected<Error> refuse(std::string message, std::string_view hint = {});

}  // namespace atl::job
