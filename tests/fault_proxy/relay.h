// One request and its answer on their way through the proxy, both directions at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "delay_line.h"
#include "http_message.h"
#include "settings.h"
#include "world.h"

namespace atl::fault_proxy {

// Moves bytes from socket to socket inside the kernel.
class Splicer {
 public:
  // Up to `most` bytes, waiting for room; 0 where there are none to be had, nullopt where a side is gone.
  std::optional<size_t> move(int from, int to, size_t most);

 private:
  UniqueFd in_, out_;  // of a pipe
};

class Relay {
 public:
  Relay(World& world,
        int client,
        int server,
        Splicer& splicer,
        const Head& request,
        const Settings& settings,
        Plan plan);

  // The first request of a connection comes so much later as a handshake takes.
  void pay_handshake() { up_.hold(settings_.request_latency + settings_.response_latency); }
  // `pending`: bytes of the client's that have been read already; what lies behind this request stays there.
  // False where the connection ends with it.
  bool run(std::string& pending);

  uint64_t request_bytes() const { return request_bytes_; }
  uint64_t response_bytes() const { return response_bytes_; }

 private:
  bool complete() const;
  bool step();
  bool receive_request();
  bool receive_response();
  bool receive_head();
  bool receive_body();
  bool begin_response(Head head, std::string_view behind);
  void add_body(Piece piece);
  void meet_fault();
  void end(Ending ending);
  size_t room(size_t most) const;
  bool can_splice() const;
  bool deliver(DelayLine& line, int fd, bool& blocked);

  World& world_;
  const int client_, server_;
  Splicer& splicer_;
  const std::string request_text_, method_;
  const Settings settings_;
  const Plan plan_;
  Body request_body_, response_body_;
  DelayLine up_, down_;
  std::string response_text_;         // until its head is whole
  bool answering_ = false;            // the final head has come
  bool ended_ = false;                // nothing more will be read from the server
  bool server_deaf_ = false;          // it takes no more of the request; its answer may still come
  std::optional<uint64_t> fault_at_;  // in the body
  uint64_t request_bytes_ = 0, response_bytes_ = 0;
  bool client_blocked_ = false, server_blocked_ = false;
};

}  // namespace atl::fault_proxy
