// Sizes, durations and counts as people write and read them: "1.5 GiB", "512M", "2 h 5 min".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl {

std::string format_bytes(uint64_t bytes);
// A number with an optional unit: B, K/KiB, M/MiB, G/GiB, T/TiB (powers of 1024), kB, MB, GB, TB
// (of 1000).
Result<uint64_t> parse_bytes(std::string_view text);
// "3.2 s", "4 min 10 s", "2 h 5 min".
std::string format_duration(std::chrono::duration<double> duration);
// "0 images", "1 image", "2 images"; `more` where the plural takes another ending than an s.
std::string format_count(uint64_t count, std::string_view one, std::string_view more = {});

}  // namespace atl
