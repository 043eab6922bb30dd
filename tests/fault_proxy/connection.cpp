#include "connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace atl::fault_proxy {
namespace {

// Below malloc's threshold for mapping memory anew each time.
constexpr size_t kBufferBytes = 65536;

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Connection::Connection(World& world, UniqueFd client) : world_(world), client_(std::move(client)) {
  set_no_delay(client_.get());
}

void Connection::serve() {
  world_.counts.connection();
  while (!aborted_) {
    const std::optional<Head> request = read_request();
    if (!request || !exchange(*request)) break;
  }
  server_ = UniqueFd();
  if (linger_) {
    // What the client has sent and nobody read would turn the end into a reset, and the answer be lost.
    ::shutdown(client_.get(), SHUT_WR);
    char rest[4096];
    const auto patience = Clock::now() + std::chrono::seconds(2);
    while (wait_for(client_.get(), POLLIN, patience)) {
      if (::recv(client_.get(), rest, sizeof rest, 0) <= 0) break;
    }
  }
  const std::scoped_lock lock(mutex_);
  client_ = UniqueFd();
}

void Connection::abort() {
  const std::scoped_lock lock(mutex_);
  aborted_ = true;
  if (!client_) return;
  reset_on_close(client_.get());
  ::shutdown(client_.get(), SHUT_RDWR);
}

std::optional<Head> Connection::read_request() {
  for (;;) {
    bool malformed = false;
    if (auto head = parse_head(pending_, malformed)) {
      pending_.erase(0, head->text.size());
      return head;
    }
    if (malformed) return std::nullopt;
    if (!wait_for(client_.get(), POLLIN, Clock::time_point::max())) return std::nullopt;
    if (!world_.wait_while_unplugged(client_.get())) return std::nullopt;
    char buffer[16384];
    const ssize_t got = ::recv(client_.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return std::nullopt;
    pending_.append(buffer, static_cast<size_t>(got));
  }
}

bool Connection::connect_server() {
  server_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_no_delay(server_.get());
  const auto* address = reinterpret_cast<const sockaddr*>(&world_.server);
  if (::connect(server_.get(), address, sizeof world_.server) == 0) return true;
  server_ = UniqueFd();
  return false;
}

// The proxy's own answer. False where the connection ends with it.
bool Connection::answer(const Head& request, int status, const Settings& settings) {
  // A client that waits for leave to send its body is told at once, and the connection closed.
  const bool drain = !request.expects_continue;
  for (Body body = Body::of_request(request); drain && !body.complete();) {
    if (pending_.empty()) {
      pending_.resize(kBufferBytes);
      const ssize_t got = ::recv(client_.get(), pending_.data(), pending_.size(), 0);
      if (got <= 0) return false;
      pending_.resize(static_cast<size_t>(got));
    }
    pending_.erase(0, body.consume(pending_));
  }
  if (wait_for(client_.get(),
               POLLRDHUP,
               Clock::now() + settings.request_latency + settings.response_latency)) {
    return false;
  }
  const std::string_view code = status == 503 ? "SlowDown" : "InternalError";
  const std::string body = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>from the fault "
      "proxy</Message></Error>",
      code);
  const std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n{}\r\n{}",
      status,
      code,
      body.size(),
      drain ? "" : "Connection: close\r\n",
      request.method == "HEAD" ? "" : body);
  const ssize_t sent = ::send(client_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  linger_ = !drain;
  return drain && sent == static_cast<ssize_t>(text.size());
}

bool Connection::pass_on(
    const Head& request, const Settings& settings, Plan plan, uint64_t& in, uint64_t& out) {
  // A server may close a connection that has been idle.
  if (server_ && wait_for(server_.get(), POLLIN, Clock::now())) server_ = UniqueFd();
  if (!server_ && !connect_server()) return false;
  Relay relay(world_, client_.get(), server_.get(), splicer_, request, settings, plan);
  if (std::exchange(handshake_, false)) relay.pay_handshake();
  const bool goes_on = relay.run(pending_);
  in = relay.request_bytes();
  out = relay.response_bytes();
  return goes_on && !aborted_;
}

bool Connection::exchange(const Head& request) {
  const Settings settings = world_.settings();
  const Plan plan = world_.plan(settings, request);
  const std::string kind = request_kind(request);
  world_.counts.request_begins(kind);
  uint64_t in = 0, out = 0;
  bool goes_on = false;
  if (plan.fault == Fault::kHttp503 || plan.fault == Fault::kHttp500) {
    world_.counts.fault(plan.fault);
    goes_on = answer(request, plan.fault == Fault::kHttp503 ? 503 : 500, settings);
  } else if (plan.fault == Fault::kResetBefore) {
    world_.counts.fault(plan.fault);
    reset_on_close(client_.get());
  } else {
    goes_on = pass_on(request, settings, plan, in, out);
  }
  world_.counts.request_ends(kind, in, out);
  return goes_on;
}

}  // namespace atl::fault_proxy
