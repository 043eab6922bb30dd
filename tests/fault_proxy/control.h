// The proxy's control port: small HTTP requests, one a connection, so that a shell's curl and a test's urllib can
// drive it.
//
//   /counts                       what has happened so far, as JSON (Counts::to_json)
//   /reset                        counts from zero
//   /set?latency_ms=20&reset=5    settings from now on (Settings::set)
//   /unplug?ms=60000              the cable is out for so long; ms=0 puts it in again
//   /refuse?ms=5000               nobody is there for so long
#pragma once

#include <cstdint>
#include <thread>

#include "base/unique_fd.h"
#include "proxy.h"

namespace atl::fault_proxy {

class Control {
 public:
  // `proxy` outlives it.
  Control(Proxy& proxy, UniqueFd listener);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  uint16_t port() const { return port_of(listener_.get()); }

 private:
  void serve();
  void answer(int client);

  Proxy& proxy_;
  UniqueFd listener_;
  std::thread thread_;
};

// What one request for `target` does, and its answer's body; kInvalidInput.
Result<std::string> control(Proxy& proxy, std::string_view target);

}  // namespace atl::fault_proxy
