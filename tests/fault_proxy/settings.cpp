#include "settings.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/keyed_random.h"

namespace atl::fault_proxy {
namespace {

constexpr std::array<std::string_view, kFaults> kNames = {
    "none",
    "http_503",
    "http_500",
    "reset_before",
    "reset_after",
    "reset",
    "truncate",
    "stall",
    "trickle",
    "wrong_etag",
};

std::chrono::microseconds from_ms(double ms) {
  return std::chrono::microseconds(std::llround(ms * 1000));
}

}  // namespace

std::string_view fault_name(Fault fault) { return kNames[static_cast<size_t>(fault)]; }

Result<void> Settings::set(std::string_view name, std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() ||
      !(number >= 0 && number < 1e12)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}={}: not a number from 0 on", name, value));
  }
  if (name == "latency_ms") {
    request_latency = response_latency = from_ms(number / 2);
  } else if (name == "request_latency_ms") {
    request_latency = from_ms(number);
  } else if (name == "response_latency_ms") {
    response_latency = from_ms(number);
  } else if (name == "bandwidth_mb_per_s") {
    bandwidth_bytes_per_s = static_cast<uint64_t>(number * 1e6);
  } else if (name == "stall_ms") {
    stall = std::chrono::milliseconds(static_cast<int64_t>(number));
  } else if (name == "trickle_bytes_per_s") {
    trickle_bytes_per_s = std::max<uint64_t>(1, static_cast<uint64_t>(number));
  } else if (name == "seed") {
    seed = static_cast<uint64_t>(number);
  } else {
    for (size_t i = 1; i < kFaults; ++i) {
      if (name != kNames[i]) continue;
      if (number > 1000) {
        return fail(ErrorCode::kInvalidInput,
                    fmt::format("{}={}: more than 1000 per mille", name, value));
      }
      per_mille[i] = static_cast<int>(number);
      return {};
    }
    return fail(ErrorCode::kInvalidInput, fmt::format("there is no setting '{}'", name));
  }
  return {};
}

Plan plan_for(const Settings& settings, uint64_t request_hash, uint64_t attempt) {
  KeyedRandom random({settings.seed, request_hash, attempt});
  int left = static_cast<int>(random.below(1000));
  for (size_t i = 1; i < kFaults; ++i) {
    if (left < settings.per_mille[i]) return {static_cast<Fault>(i), random.next() >> 1};
    left -= settings.per_mille[i];
  }
  return {};
}

}  // namespace atl::fault_proxy
