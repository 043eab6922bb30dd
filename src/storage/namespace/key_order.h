// Positions in the byte order of keys, of which the namespace's ranges are made: [first, past) holds
// every key k with first <= k < past.
#pragma once

#include <string>
#include <string_view>

namespace atl::storage {

// Behind every key.
const std::string& end_of_keys();
// The smallest key greater than `key`.
std::string key_after(std::string_view key);
// The smallest string greater than everything that begins with `prefix`; end_of_keys() for "".
std::string prefix_end(std::string_view prefix);

// A key smaller than `key` and as close as what servers take allows: handed over as start-after, it
// makes a listing begin with `key` or, rarely, a little before. "" where only the start of all is
// smaller.
std::string just_before(std::string_view key);

// Whether a directory can show this key, or the directory "a/b/" itself (storage/key.h).
bool can_be_shown(std::string_view key);
bool can_be_name(std::string_view component);
// The same for a path without '/' at its ends.
bool can_be_path(std::string_view path);

}  // namespace atl::storage
