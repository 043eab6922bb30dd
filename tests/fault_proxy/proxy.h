// The fault proxy: listens on a loopback port, passes HTTP/1.1 on to one server, and makes the network as bad as
// asked for. main.cpp is the program; tests may have one in their own process.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/unique_fd.h"
#include "connection.h"
#include "world.h"

namespace atl::fault_proxy {

struct ProxyOptions {
  uint16_t port = 0;  // 0: any
  std::string server_host = "127.0.0.1";
  uint16_t server_port = 0;
  Settings settings;
};

// A listening socket of the loopback; 0: any port.
Result<UniqueFd> listen_on(uint16_t port);
uint16_t port_of(int fd);

// Thread safe.
class Proxy {
 public:
  static Result<std::unique_ptr<Proxy>> start(const ProxyOptions& options);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  uint16_t port() const { return port_; }
  Result<void> set(std::string_view name, std::string_view value);
  // The cable is out: connections stand still, new ones get no answer; afterwards all goes on.
  void unplug(std::chrono::milliseconds duration);
  // Nobody is there: connections are reset, new ones refused.
  void refuse(std::chrono::milliseconds duration);
  std::string counts_json() const { return world_.counts.to_json(); }
  void reset_counts() { world_.counts.reset(); }

 private:
  struct Served {
    explicit Served(World& world, UniqueFd client) : connection(world, std::move(client)) {}
    Connection connection;
    std::atomic<bool> done{false};
    std::thread thread;
  };

  Proxy() = default;
  void accept_all();
  void accept_one();
  void reap(bool all);
  void wake();

  World world_;
  uint16_t port_ = 0;
  UniqueFd listener_, wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<Clock::rep> refused_until_{0};
  std::mutex mutex_;  // of served_
  std::list<Served> served_;
  std::thread acceptor_;
};

}  // namespace atl::fault_proxy
