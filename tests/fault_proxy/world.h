// What all connections of the proxy share.
#pragma once

#include <netinet/in.h>
#include <poll.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "counts.h"
#include "delay_line.h"
#include "http_message.h"
#include "settings.h"

namespace atl::fault_proxy {

// Thread safe.
struct World {
  sockaddr_in server{};
  Wire up, down;
  Counts counts;
  std::atomic<Clock::rep> unplugged_until{0};  // nothing moves before; steady clock

  Settings settings() const {
    const std::scoped_lock lock(mutex);
    return current;
  }
  // What befalls this request.
  Plan plan(const Settings& settings, const Head& request);
  // False where this client gave up meanwhile.
  bool wait_while_unplugged(int client) const;

  mutable std::mutex mutex;
  Settings current;
  std::unordered_map<uint64_t, uint64_t> attempts;
};

// Whether an event came before that time. The times of poll() are whole milliseconds; latencies want finer steps.
bool wait_for(int fd, short events, Clock::time_point until);
void poll_until(pollfd* fds, size_t count, Clock::time_point until);
// close() will be a reset instead of an orderly end.
void reset_on_close(int fd);

}  // namespace atl::fault_proxy
