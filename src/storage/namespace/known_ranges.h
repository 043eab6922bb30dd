// The table `ranges`: which parts of the key order have been listed, and when.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "storage/namespace/names_database.h"

namespace atl::storage {

struct KeyRange {
  std::string first;
  std::string past;
};

inline constexpr int64_t kEver = std::numeric_limits<int64_t>::min();

// The first part of [first, past) that has not been listed since then.
Result<std::optional<KeyRange>> first_gap(NamesConnection& c,
                                          std::string_view first,
                                          std::string_view past,
                                          int64_t since_ns);
// Whether this one key's place has been listed since then, or the key heard of.
Result<bool> is_known(NamesConnection& c, std::string_view key, int64_t since_ns);
// On the writer's connection: [first, past) was listed at that time.
Result<void> cover(NamesConnection& c, KeyRange range, int64_t listed_ns);

}  // namespace atl::storage
