// Where a process stands in a job of several. No torch here, so that everyone may hand it on.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace atl::trace {
class Tracer;
}

namespace atl::parallel {

// The default is a job of one process, which opens no socket.
struct GroupOptions {
  int rank = 0;  // 0 … size - 1
  int size = 1;
  int local_rank = 0;  // among those of this machine
  // Where rank 0 listens, as the others reach it: a name or an address.
  std::string master_host = "127.0.0.1";
  uint16_t master_port = 0;
  // Rank 0: a socket that listens on that port already, to be taken over; -1: one is opened. A launcher
  // that forks its ranks keeps the port from everyone else so.
  int listen_fd = -1;
  // Names of the ranks' hosts, by rank, where a launcher has told them: for messages. May be empty.
  std::vector<std::string> rank_hosts;
  // Network interface that the ranks' data takes ("eth0", what GLOO_SOCKET_IFNAME names elsewhere);
  // "": the one that reaches rank 0.
  std::string interface;
  std::chrono::milliseconds join_timeout = std::chrono::minutes(5);  // until all ranks are there
  std::chrono::milliseconds timeout = std::chrono::minutes(10);      // of one collective
  // Ends the wait for the others (kCancelled); nothing later.
  std::stop_token stop;
  // A rank from which nothing has been heard for so long is given up: its host is down, cut off or stopped.
  std::chrono::milliseconds silence = std::chrono::minutes(1);
  // How long the others have for answering when a rank has met trouble; who has not, and has said no word
  // of its own, is named as lost. Some beats of half a second, and a busy machine's delays.
  std::chrono::milliseconds hearing = std::chrono::seconds(4);
  // Has a span for every collective; may be null, and outlives the group.
  trace::Tracer* tracer = nullptr;
};

// What must be the same on all ranks: keys, each with its value, in one order.
using Agreed = std::vector<std::pair<std::string, std::string>>;

}  // namespace atl::parallel
