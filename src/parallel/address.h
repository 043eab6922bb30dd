// Names and addresses of the machines of a job. No torch here.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::parallel {

// This machine's own name, for messages.
std::string host_name();

// Numeric addresses of the two ends of a connection.
struct Ends {
  std::string own;
  std::string peer;
};

// Connects to host:port and hangs up, again and again until that succeeds. kIo: not before the deadline;
// says what stood in the way last. kCancelled: `stop`.
Result<Ends> reach(const std::string& host,
                   uint16_t port,
                   std::chrono::steady_clock::time_point deadline,
                   const std::stop_token& stop = {});

bool is_loopback(std::string_view address);

// Which of its addresses a rank's data connections use. A rank that shares a machine with rank 0 may
// reach it over the loopback, where nobody from elsewhere comes; what rank 0's machine is called from there
// (the first other address among those that ranks have reached it by, or "") is then the rank's address, too.
std::string data_address(const std::string& own, const std::string& seen_from_elsewhere);

}  // namespace atl::parallel
