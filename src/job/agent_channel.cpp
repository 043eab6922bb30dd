#include "job/agent_channel.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace atl::job {
namespace {

constexpr int kBacklog = 1024;
constexpr size_t kMostUnsent = 1 << 20;
constexpr size_t kMostAddresses = 32;

sockaddr* plain(sockaddr_storage& address) {
  return reinterpret_cast<sockaddr*>(&address);  // NOLINT: the interface of sockets
}

std::string numeric(const sockaddr* address, socklen_t length) {
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(address, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {};
  }
  std::string result = text.data();
  // An IPv4 address in IPv6's clothes.
  if (result.starts_with("::ffff:")) result.erase(0, 7);
  return result;
}

// A socket that is bound to any address; where the machine knows no IPv6, to any of IPv4.
UniqueFd bind_anywhere() {
  sockaddr_storage any{};
  auto& v6 = reinterpret_cast<sockaddr_in6&>(any);  // NOLINT: the interface of sockets
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_any;
  UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int no = 0;
  if (fd && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) == 0 &&
      ::bind(fd.get(), plain(any), sizeof(v6)) == 0) {
    return fd;
  }
  any = {};
  auto& v4 = reinterpret_cast<sockaddr_in&>(any);  // NOLINT: the interface of sockets
  v4.sin_family = AF_INET;
  fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && ::bind(fd.get(), plain(any), sizeof(v4)) != 0) {
    const int error_number = errno;
    fd = UniqueFd();
    errno = error_number;
  }
  return fd;
}

void send_at_once(int fd) {
  const int yes = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

tl::unexpected<Error> closed() { return fail(ErrorCode::kIo, "the connection was closed"); }

}  // namespace

Result<Listener> listen_anywhere() {
  Listener listener{bind_anywhere(), 0};
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (!listener.fd || ::listen(listener.fd.get(), kBacklog) != 0 ||
      ::getsockname(listener.fd.get(), plain(address), &size) != 0) {
    return fail_errno("looking for a free port", errno);
  }
  const uint16_t port = address.ss_family == AF_INET6
                            ? reinterpret_cast<sockaddr_in6&>(address).sin6_port  // NOLINT
                            : reinterpret_cast<sockaddr_in&>(address).sin_port;   // NOLINT
  listener.port = ntohs(port);
  return listener;
}

std::vector<std::string> own_addresses(const std::string& interface) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> keep(list, ::freeifaddrs);
  std::vector<std::string> v4, v6, loopback;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0U) continue;
    if (!interface.empty() && interface != entry->ifa_name) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::string text = numeric(entry->ifa_addr, size);
    if (text.empty() || text.starts_with("fe80:")) continue;  // means nothing on another machine
    if ((entry->ifa_flags & IFF_LOOPBACK) != 0U) {
      loopback.push_back(std::move(text));
    } else {
      (family == AF_INET ? v4 : v6).push_back(std::move(text));
    }
  }
  v4.insert(v4.end(), v6.begin(), v6.end());
  if (v4.empty()) v4 = std::move(loopback);
  if (v4.size() > kMostAddresses) v4.resize(kMostAddresses);
  return v4;
}

Result<AgentChannel> AgentChannel::connect(const std::string& address, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed =
          ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
      failed != 0) {
    return fail(ErrorCode::kIo, fmt::format("{}: {}", address, ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> keep(found, ::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("making a socket", errno);
  send_at_once(fd.get());
  if (::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return fail_errno(fmt::format("{}:{}", address, port), errno);
  }
  return AgentChannel(std::move(fd), address, true);
}

std::optional<AgentChannel> AgentChannel::accept(const Listener& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  UniqueFd fd(::accept4(listener.fd.get(), plain(address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return std::nullopt;
  send_at_once(fd.get());
  return AgentChannel(std::move(fd), numeric(plain(address), size), false);
}

short AgentChannel::events() const {
  if (connecting_) return POLLOUT;
  return static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT);
}

void AgentChannel::send(const AgentMessage& message) {
  out_ += to_line(message);
  if (!connecting_) (void)write();  // an error is serve()'s to tell
}

Result<void> AgentChannel::write() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      out_.erase(0, static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return closed();
    }
  }
  // Who reads nothing any more is as good as gone.
  if (out_.size() > kMostUnsent) return closed();
  return {};
}

Result<void> AgentChannel::read(std::vector<AgentMessage>& messages) {
  std::array<char, 1 << 14> piece;
  const ssize_t got = ::recv(fd_.get(), piece.data(), piece.size(), 0);
  if (got == 0) return closed();
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return {};
    return closed();
  }
  in_.append(piece.data(), static_cast<size_t>(got));
  size_t begin = 0;
  for (size_t end = in_.find('\n'); end != std::string::npos; end = in_.find('\n', begin)) {
    messages.push_back(ATOLL_TRY(parse_message(std::string_view(in_).substr(begin, end - begin))));
    begin = end + 1;
  }
  in_.erase(0, begin);
  if (in_.size() > kMaxMessageBytes) {
    return fail(ErrorCode::kInvalidInput, "a message that is too long");
  }
  return {};
}

Result<std::vector<AgentMessage>> AgentChannel::serve() {
  std::vector<AgentMessage> messages;
  if (connecting_) {
    pollfd ready{fd_.get(), POLLOUT, 0};
    if (::poll(&ready, 1, 0) == 0) return messages;
    int error = 0;
    socklen_t length = sizeof(error);
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    if (error != 0) return fail_errno(peer_, error);
    connecting_ = false;
  }
  ATOLL_TRY(write());
  ATOLL_TRY(read(messages));
  return messages;
}

}  // namespace atl::job
