#include "relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace atl::fault_proxy {
namespace {

// Below malloc's threshold for mapping memory anew each time.
constexpr size_t kPieceBytes = 65536;
constexpr size_t kSpliceBytes = size_t{1} << 20;
// Where the fault lies in a body whose length nobody knows.
constexpr uint64_t kUnknownLength = 16384;

// -1 with EAGAIN where there is nothing; 0 at the end.
ssize_t receive_piece(int fd, size_t most, Piece& piece) {
  piece.storage = std::make_unique_for_overwrite<char[]>(most);
  const ssize_t got = ::recv(fd, piece.storage.get(), most, MSG_DONTWAIT);
  piece.end = got > 0 ? static_cast<size_t>(got) : 0;
  return got;
}

bool would_block(ssize_t got) { return got < 0 && (errno == EAGAIN || errno == EINTR); }

}  // namespace

std::optional<size_t> Splicer::move(int from, int to, size_t most) {
  if (!in_) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
    out_ = UniqueFd(ends[0]);
    in_ = UniqueFd(ends[1]);
    ::fcntl(in_.get(), F_SETPIPE_SZ, kSpliceBytes);
  }
  const ssize_t got =
      ::splice(from, nullptr, in_.get(), nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (would_block(got)) return 0;
  if (got <= 0) return std::nullopt;
  for (size_t left = static_cast<size_t>(got); left > 0;) {
    const ssize_t put = ::splice(out_.get(), nullptr, to, nullptr, left, SPLICE_F_MOVE);
    if (put <= 0 && !would_block(put)) return std::nullopt;
    if (put > 0) left -= static_cast<size_t>(put);
  }
  return static_cast<size_t>(got);
}

Relay::Relay(World& world,
             int client,
             int server,
             Splicer& splicer,
             const Head& request,
             const Settings& settings,
             Plan plan)
    : world_(world),
      client_(client),
      server_(server),
      splicer_(splicer),
      request_text_(request.text),
      method_(request.method),
      settings_(settings),
      plan_(plan),
      request_body_(Body::of_request(request)),
      up_(settings.request_latency),
      down_(settings.response_latency) {}

bool Relay::run(std::string& pending) {
  up_.push(make_piece(request_text_),
           world_.up.admit(0, settings_.bandwidth_bytes_per_s, Clock::now()));
  const size_t body = request_body_.consume(pending);
  if (body > 0) up_.push(make_piece(std::string_view(pending).substr(0, body)), Clock::now());
  request_bytes_ += body;
  pending.erase(0, body);
  while (!complete()) {
    if (!world_.wait_while_unplugged(client_) || !step()) return false;
  }
  return !ended_;
}

bool Relay::complete() const {
  if (!down_.empty() || !(ended_ || (answering_ && response_body_.complete()))) return false;
  return ended_ || (request_body_.complete() && up_.empty());
}

// Delivers what is due, waits for the next thing to happen, reads what has come. False where a side is gone.
bool Relay::step() {
  if (!server_deaf_ && !deliver(up_, server_, server_blocked_)) server_deaf_ = true;
  if (!deliver(down_, client_, client_blocked_)) return false;
  if (complete()) return true;

  const auto now = Clock::now();
  pollfd fds[2] = {{client_, POLLRDHUP, 0}, {server_, 0, 0}};
  if (!request_body_.complete() && !server_deaf_ && up_.has_room(now)) fds[0].events |= POLLIN;
  const bool reading = !ended_ && !(answering_ && response_body_.complete()) && down_.has_room(now);
  if (reading) fds[1].events |= POLLIN;
  if (client_blocked_) fds[0].events |= POLLOUT;
  if (server_blocked_ && !server_deaf_) fds[1].events |= POLLOUT;
  if (fds[1].events == 0) fds[1].fd = -1;  // else its end would wake us again and again

  auto until = Clock::time_point::max();
  if (!client_blocked_) until = std::min(until, down_.next_due().value_or(until));
  if (!server_blocked_ && !server_deaf_) until = std::min(until, up_.next_due().value_or(until));
  poll_until(fds, 2, until);

  if ((fds[0].revents & POLLIN) != 0 && (fds[0].events & POLLIN) != 0) {
    if (!receive_request()) return false;
  } else if ((fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
    return false;  // the client gave up
  }
  if (reading && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) return receive_response();
  return true;
}

bool Relay::receive_request() {
  Piece piece;
  const size_t most =
      std::min<uint64_t>(kPieceBytes, request_body_.remaining().value_or(kPieceBytes));
  const ssize_t got = receive_piece(client_, most, piece);
  if (got <= 0) return would_block(got);
  request_body_.consume(piece.bytes());
  request_bytes_ += piece.bytes().size();
  const auto left = world_.up.admit(piece.end, settings_.bandwidth_bytes_per_s, Clock::now());
  up_.push(std::move(piece), left);
  return true;
}

bool Relay::receive_response() { return answering_ ? receive_body() : receive_head(); }

bool Relay::receive_head() {
  Piece piece;
  const ssize_t got = receive_piece(server_, kPieceBytes, piece);
  if (would_block(got)) return true;
  if (got <= 0) {
    end(Ending::kClose);
    return true;
  }
  response_text_.append(piece.bytes());
  for (;;) {
    bool malformed = false;
    auto head = parse_head(response_text_, malformed);
    if (malformed) return false;
    if (!head) return true;
    const std::string behind = response_text_.substr(head->text.size());
    if (head->status / 100 != 1) return begin_response(std::move(*head), behind);
    down_.push(make_piece(head->text), Clock::now());  // "100 Continue": another one follows
    response_text_ = behind;
  }
}

bool Relay::begin_response(Head head, std::string_view behind) {
  answering_ = true;
  response_body_ = Body::of_response(head, method_);
  if (plan_.fault == Fault::kResetAfter) {
    world_.counts.fault(plan_.fault);
    end(Ending::kReset);
    return true;
  }
  // No server lies about what it has just written; but an object that is read may be another one meanwhile.
  if (plan_.fault == Fault::kWrongEtag && method_ == "GET") {
    std::string text = with_wrong_etag(head);
    if (text != head.text) world_.counts.fault(plan_.fault);
    head.text = std::move(text);
  }
  down_.push(make_piece(head.text),
             world_.down.admit(head.text.size(), settings_.bandwidth_bytes_per_s, Clock::now()));
  const bool in_body = plan_.fault == Fault::kReset || plan_.fault == Fault::kTruncate ||
                       plan_.fault == Fault::kStall || plan_.fault == Fault::kTrickle;
  const uint64_t length = response_body_.remaining().value_or(kUnknownLength);
  if (in_body && length > 0) fault_at_ = plan_.fault == Fault::kTrickle ? 0 : plan_.where % length;
  meet_fault();
  while (!behind.empty() && !ended_ && !response_body_.complete()) {
    const std::string_view part = behind.substr(0, room(behind.size()));
    behind.remove_prefix(part.size());
    add_body(make_piece(part));
  }
  return true;
}

bool Relay::receive_body() {
  if (can_splice()) {
    const auto moved = splicer_.move(server_, client_, room(kSpliceBytes));
    if (!moved) return false;
    response_body_.consume({nullptr, *moved});
    response_bytes_ += *moved;
    meet_fault();
    return true;
  }
  Piece piece;
  const ssize_t got = receive_piece(server_, room(kPieceBytes), piece);
  if (would_block(got)) return true;
  if (got <= 0) {
    end(Ending::kClose);
  } else {
    add_body(std::move(piece));
  }
  return true;
}

void Relay::add_body(Piece piece) {
  const size_t size = response_body_.consume(piece.bytes());
  piece.end = piece.begin + size;
  response_bytes_ += size;
  down_.push(std::move(piece),
             world_.down.admit(size, settings_.bandwidth_bytes_per_s, Clock::now()));
  meet_fault();
}

void Relay::meet_fault() {
  if (fault_at_ != response_bytes_) return;
  fault_at_.reset();
  world_.counts.fault(plan_.fault);
  if (plan_.fault == Fault::kReset) end(Ending::kReset);
  if (plan_.fault == Fault::kTruncate) end(Ending::kClose);
  if (plan_.fault == Fault::kStall) down_.hold(settings_.stall);
  if (plan_.fault == Fault::kTrickle) down_.trickle(settings_.trickle_bytes_per_s);
}

void Relay::end(Ending ending) {
  Piece piece;
  piece.ending = ending;
  down_.push(std::move(piece), Clock::now());
  ended_ = true;
}

// How much of the body may be read without passing its end or the place of the fault.
size_t Relay::room(size_t most) const {
  uint64_t room = std::min<uint64_t>(most, response_body_.remaining().value_or(most));
  if (fault_at_) room = std::min(room, *fault_at_ - response_bytes_);
  if (down_.trickles())
    room = std::min(room, std::max<uint64_t>(1, settings_.trickle_bytes_per_s / 20));
  return room;
}

bool Relay::can_splice() const {
  return response_body_.remaining() && down_.empty() && !down_.trickles() && !down_.held() &&
         settings_.bandwidth_bytes_per_s == 0 && settings_.response_latency.count() == 0 &&
         room(kSpliceBytes) >= kPieceBytes;
}

// False where nobody is there to take it, or it is the end.
bool Relay::deliver(DelayLine& line, int fd, bool& blocked) {
  blocked = false;
  while (Piece* piece = line.due(Clock::now())) {
    if (piece->ending != Ending::kNone) {
      if (piece->ending == Ending::kReset) reset_on_close(fd);
      return false;
    }
    const std::string_view bytes = piece->bytes();
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    blocked = would_block(sent);
    if (blocked) return true;
    if (sent < 0) return false;
    line.sent(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace atl::fault_proxy
