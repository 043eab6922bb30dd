// What the fault proxy does to the traffic: as given on its command line and changed while it runs through
// its control port, both as name=value.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::fault_proxy {

enum class Fault {
  kNone,
  kHttp503,      // answered by the proxy; the server never sees the request
  kHttp500,      // the same
  kResetBefore,  // the connection is reset; the server never sees the request
  kResetAfter,   // the server has answered, and not a byte of the answer comes out
  kReset,        // the connection is reset within the body
  kTruncate,     // the connection is closed in an orderly way within the body
  kStall,        // nothing for stall_ms within the body, then the rest
  kTrickle,      // the body comes at trickle_bytes_per_s
  kWrongEtag,    // the ETag header of the answer to a GET is another one
};
inline constexpr size_t kFaults = 10;
std::string_view fault_name(Fault fault);

struct Settings {
  // Each way, on top of what the loopback takes. A new connection pays both once more, as for TCP's handshake.
  std::chrono::microseconds request_latency{0};
  std::chrono::microseconds response_latency{0};
  uint64_t bandwidth_bytes_per_s = 0;    // each way, of all connections together; 0: unlimited
  std::array<int, kFaults> per_mille{};  // of the requests; kNone's is not used
  std::chrono::milliseconds stall{30000};
  uint64_t trickle_bytes_per_s = 2000;
  uint64_t seed = 1;

  // latency_ms (both ways together), request_latency_ms, response_latency_ms, bandwidth_mb_per_s, stall_ms,
  // trickle_bytes_per_s, seed, and the faults' names for their rates. kInvalidInput.
  Result<void> set(std::string_view name, std::string_view value);
};

// What befalls a request, and where.
struct Plan {
  Fault fault = Fault::kNone;
  uint64_t where = 0;  // random; within a body of n bytes: where % n
};

// A function of the seed, of what is asked for, and of how often it has been asked for before: the same
// requests meet the same faults, in whatever order they come.
Plan plan_for(const Settings& settings, uint64_t request_hash, uint64_t attempt);

}  // namespace atl::fault_proxy
