// One client's connection through the proxy, served by one thread: requests are read one after the other,
// passed on and answered, and meet their faults on the way.
//
// Without latency, limits or faults large bodies are spliced from socket to socket and never copied.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "relay.h"
#include "world.h"

namespace atl::fault_proxy {

class Connection {
 public:
  Connection(World& world, UniqueFd client);
  // Until the client or a fault ends it.
  void serve();
  // From another thread: ends serve(), for the client with a reset.
  void abort();

 private:
  std::optional<Head> read_request();
  bool exchange(const Head& request);
  bool pass_on(
      const Head& request, const Settings& settings, Plan plan, uint64_t& in, uint64_t& out);
  bool answer(const Head& request, int status, const Settings& settings);
  bool connect_server();

  World& world_;
  UniqueFd client_, server_;
  Splicer splicer_;
  std::string pending_;    // from the client, behind the last request
  bool linger_ = false;    // for the rest of a request that was answered early
  bool handshake_ = true;  // its time has not been paid yet
  std::atomic<bool> aborted_{false};
  std::mutex mutex_;  // of client_'s end
};

}  // namespace atl::fault_proxy
