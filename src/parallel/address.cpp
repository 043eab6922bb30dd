#include "parallel/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/unique_fd.h"

namespace atl::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRetryDelay = std::chrono::milliseconds(100);
constexpr auto kLongestAttempt = std::chrono::seconds(5);

std::string numeric(const sockaddr_storage& address, socklen_t length) {
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address),
                    length,
                    text.data(),
                    text.size(),
                    nullptr,
                    0,
                    NI_NUMERICHOST) != 0) {
    return {};
  }
  std::string result = text.data();
  // An IPv4 address in IPv6's clothes.
  if (result.starts_with("::ffff:")) result.erase(0, 7);
  return result;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

// 0, or what errno would say.
int connect_before(int fd, const addrinfo& address, Clock::time_point deadline) {
  if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{fd, POLLOUT, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, milliseconds_until(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return errno;
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

struct Attempt {
  bool connected = false;
  Ends ends;
  std::string obstacle;
};

Attempt try_once(const std::string& host, uint16_t port, Clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) return {.obstacle = ::gai_strerror(failed)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  Attempt attempt;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const UniqueFd fd(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int error = fd.get() < 0 ? errno : connect_before(fd.get(), *address, deadline);
    if (error != 0) {
      attempt.obstacle = std::strerror(error);
      continue;
    }
    sockaddr_storage own{};
    sockaddr_storage peer{};
    socklen_t own_length = sizeof own;
    socklen_t peer_length = sizeof peer;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &own_length) != 0 ||
        ::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
      attempt.obstacle = std::strerror(errno);
      continue;
    }
    attempt.connected = true;
    attempt.ends = {numeric(own, own_length), numeric(peer, peer_length)};
    return attempt;
  }
  return attempt;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

Result<Ends> reach(const std::string& host,
                   uint16_t port,
                   Clock::time_point deadline,
                   const std::stop_token& stop) {
  while (true) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped before the job began");
    auto attempt = try_once(host, port, std::min(deadline, Clock::now() + kLongestAttempt));
    if (attempt.connected) return std::move(attempt.ends);
    if (Clock::now() + kRetryDelay >= deadline) {
      return fail(ErrorCode::kIo, fmt::format("{}:{}: {}", host, port, attempt.obstacle));
    }
    std::this_thread::sleep_for(kRetryDelay);
  }
}

bool is_loopback(std::string_view address) {
  return address == "::1" || address.starts_with("127.");
}

std::string data_address(const std::string& own, const std::string& seen_from_elsewhere) {
  return is_loopback(own) && !seen_from_elsewhere.empty() ? seen_from_elsewhere : own;
}

}  // namespace atl::parallel
