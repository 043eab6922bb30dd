#include "proxy.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>

namespace atl::fault_proxy {
namespace {

Clock::rep in(std::chrono::milliseconds duration) {
  return (Clock::now() + duration).time_since_epoch().count();
}

Clock::time_point time_of(const std::atomic<Clock::rep>& time) {
  return Clock::time_point(Clock::duration(time.load()));
}

}  // namespace

Result<UniqueFd> listen_on(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 1024) != 0) {
    return fail_errno(fmt::format("listening on port {}", port), errno);
  }
  return fd;
}

uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

Result<std::unique_ptr<Proxy>> Proxy::start(const ProxyOptions& options) {
  std::unique_ptr<Proxy> proxy(
      new Proxy());  // NOLINT(modernize-make-unique): the constructor is private
  proxy->world_.server.sin_family = AF_INET;
  proxy->world_.server.sin_port = htons(options.server_port);
  if (::inet_pton(AF_INET, options.server_host.c_str(), &proxy->world_.server.sin_addr) != 1) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("'{}' is no IPv4 address", options.server_host));
  }
  proxy->world_.current = options.settings;
  proxy->listener_ = ATOLL_TRY(listen_on(options.port));
  proxy->port_ = port_of(proxy->listener_.get());
  proxy->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  proxy->acceptor_ = std::thread([p = proxy.get()] { p->accept_all(); });
  return proxy;
}

Proxy::~Proxy() {
  stopping_ = true;
  if (acceptor_.joinable()) {
    wake();
    acceptor_.join();
  }
  reap(true);
}

void Proxy::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void Proxy::accept_all() {
  while (!stopping_) {
    const auto refused_until = time_of(refused_until_);
    const bool refusing = Clock::now() < refused_until;
    if (refusing) {
      listener_ = UniqueFd();
      const std::scoped_lock lock(mutex_);
      for (Served& served : served_) served.connection.abort();
    } else if (!listener_) {
      if (auto fd = listen_on(port_)) listener_ = std::move(*fd);
    }
    pollfd fds[2] = {{wake_.get(), POLLIN, 0}, {listener_ ? listener_.get() : -1, POLLIN, 0}};
    // Without a listener though it should be there, the port is not free yet: again soon.
    const auto until = refusing     ? refused_until
                       : !listener_ ? Clock::now() + std::chrono::milliseconds(20)
                                    : Clock::time_point::max();
    poll_until(fds, 2, until);
    uint64_t wakes = 0;
    if (fds[0].revents != 0) [[maybe_unused]]
      const ssize_t got = ::read(wake_.get(), &wakes, sizeof wakes);
    if (fds[1].revents != 0) accept_one();
  }
}

void Proxy::accept_one() {
  UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!client) return;
  reap(false);
  const std::scoped_lock lock(mutex_);
  Served& served = served_.emplace_back(world_, std::move(client));
  served.thread = std::thread([&served] {
    // splice() to a client that has gone raises it, and knows no flag against that.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    served.connection.serve();
    served.done = true;
  });
}

// Joins the threads whose connections have ended, or ends all.
void Proxy::reap(bool all) {
  const std::scoped_lock lock(mutex_);
  for (auto served = served_.begin(); served != served_.end();) {
    if (all) served->connection.abort();
    if (!all && !served->done) {
      ++served;
      continue;
    }
    served->thread.join();
    served = served_.erase(served);
  }
}

Result<void> Proxy::set(std::string_view name, std::string_view value) {
  const std::scoped_lock lock(world_.mutex);
  return world_.current.set(name, value);
}

void Proxy::unplug(std::chrono::milliseconds duration) {
  world_.counts.unplugged();
  world_.unplugged_until = in(duration);
}

void Proxy::refuse(std::chrono::milliseconds duration) {
  world_.counts.unplugged();
  refused_until_ = in(duration);
  wake();
}

}  // namespace atl::fault_proxy
