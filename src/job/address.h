// Host names, HOST:PORT, and the port of a job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::job {

// Could be a name or an address, IPv4 or IPv6: what a resolver and a log line can bear. Not asked of a resolver.
bool is_host(std::string_view text);

struct Address {
  std::string host;
  std::optional<uint16_t> port;
};
// "HOST", "HOST:PORT", "[IPV6]", "[IPV6]:PORT". `what` begins the messages.
Result<Address> parse_address(std::string_view text, std::string_view what);

// The same on every host of a job, and most likely another one for another job on the same machine: in 20000..29999,
// below the ports that Linux gives out and Kubernetes' NodePorts. A number takes ten ports (for the steps
// of a Slurm job), so that jobs of neighbouring numbers never meet; another text is hashed.
uint16_t port_of_job(std::string_view job_id, int step = 0);

}  // namespace atl::job
