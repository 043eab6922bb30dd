// Connections between launchers: messages in and out (job/agent_message.h), never waiting.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "job/agent_message.h"

namespace atl::job {

struct Listener {
  UniqueFd fd;  // accepts without waiting, IPv4 and IPv6
  uint16_t port = 0;
};
// On all addresses; a port of the system's choice.
Result<Listener> listen_anywhere();

// Numeric addresses of this machine that others may reach it by: of `interface`, or of all of them ("").
// Those of the machine alone (loopback) only where there are no others.
std::vector<std::string> own_addresses(const std::string& interface);

// For one thread. After an error it is of no more use.
class AgentChannel {
 public:
  // Begins to connect to a numeric address.
  static Result<AgentChannel> connect(const std::string& address, uint16_t port);
  // The next connection that waits; nullopt: none.
  static std::optional<AgentChannel> accept(const Listener& listener);

  int fd() const { return fd_.get(); }
  short events() const;                              // for poll()
  const std::string& peer() const { return peer_; }  // its address

  // Written as far as it can be; the rest with serve().
  void send(const AgentMessage& message);
  // What has come since. Errors: it is closed (kIo), or what came is no message; messages before that are lost with it.
  Result<std::vector<AgentMessage>> serve();
  bool all_sent() const { return !connecting_ && out_.empty(); }

 private:
  AgentChannel(UniqueFd fd, std::string peer, bool connecting)
      : fd_(std::move(fd)), peer_(std::move(peer)), connecting_(connecting) {}
  Result<void> write();
  Result<void> read(std::vector<AgentMessage>& messages);

  UniqueFd fd_;
  std::string peer_;
  bool connecting_;
  std::string in_;
  std::string out_;
};

}  // namespace atl::job
