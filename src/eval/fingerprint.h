// How the tests compare whole arrays with those that reference/ has seen; for tests only.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace atl::eval {

// FNV-1a over the bytes, as reference/coco_eval_oracle.py has it.
inline std::string fingerprint(const std::vector<double>& values) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const double value : values) {
    const auto bits = std::bit_cast<uint64_t>(value + 0.0);
    for (int byte = 0; byte < 8; ++byte) {
      hash = (hash ^ (bits >> (8 * byte) & 0xff)) * 0x100000001b3;
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace atl::eval
