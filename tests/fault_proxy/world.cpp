#include "world.h"

#include <poll.h>
#include <sys/socket.h>

#include <functional>

namespace atl::fault_proxy {

Plan World::plan(const Settings& settings, const Head& request) {
  const uint64_t hash =
      std::hash<std::string>()(request.method + ' ' + request.target + ' ' + request.range);
  const std::scoped_lock lock(mutex);
  return plan_for(settings, hash, attempts[hash]++);
}

bool World::wait_while_unplugged(int client) const {
  for (;;) {
    const Clock::time_point until(Clock::duration(unplugged_until.load()));
    if (Clock::now() >= until) return true;
    if (wait_for(client, POLLRDHUP, until)) return false;
  }
}

bool wait_for(int fd, short events, Clock::time_point until) {
  pollfd poll = {fd, events, 0};
  poll_until(&poll, 1, until);
  return poll.revents != 0;
}

void poll_until(pollfd* fds, size_t count, Clock::time_point until) {
  if (until == Clock::time_point::max()) {
    ::poll(fds, count, -1);
    return;
  }
  const auto left = std::max<int64_t>(0, std::chrono::nanoseconds(until - Clock::now()).count());
  const timespec timeout = {left / 1'000'000'000, left % 1'000'000'000};
  ::ppoll(fds, count, &timeout, nullptr);
}

void reset_on_close(int fd) {
  const linger hard = {1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

}  // namespace atl::fault_proxy
