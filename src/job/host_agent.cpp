// The thread, and an agent's life under a leader; host_agent_leading.cpp has the leader's.
#include "job/host_agent.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <random>

#include "base/bytes.h"

namespace atl::job {
namespace {

constexpr size_t kMostUnanswered = 64;

std::string random_name() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

}  // namespace

Result<std::unique_ptr<Rendezvous>> join_hosts(const HostAgentOptions& options) {
  // Whoever is interrupted while the bucket is gone need not wait for it long.
  auto records = ATOLL_TRY_CONTEXT(
      storage::open_shared_records(options.place, options.limits.silence / 2), "--rendezvous-dir");
  Listener listener = ATOLL_TRY(listen_anywhere());
  LeaseRecord self;
  self.agent = random_name();
  self.token = random_name();
  self.host = options.host;
  self.addresses = own_addresses(options.interface);
  self.port = listener.port;
  if (self.addresses.empty()) {
    return fail(ErrorCode::kInvalidInput,
                options.interface.empty()
                    ? std::string("this host has no address")
                    : fmt::format("the network interface {} has no address", options.interface),
                "see \"ip address\"; GLOO_SOCKET_IFNAME names the interface to use");
  }
  Wakeup for_orders = ATOLL_TRY(Wakeup::make());
  Wakeup for_commands = ATOLL_TRY(Wakeup::make());
  Wakeup for_lease = ATOLL_TRY(Wakeup::make());
  HostAgent::Parts parts{std::move(records),
                         std::move(listener),
                         std::move(self),
                         std::move(for_orders),
                         std::move(for_commands),
                         std::move(for_lease)};
  return std::make_unique<HostAgent>(options, std::move(parts));
}

HostAgent::HostAgent(HostAgentOptions options, Parts parts)
    : options_(std::move(options)),
      listener_(std::move(parts.listener)),
      self_(std::move(parts.self)),
      orders_(std::move(parts.for_orders)),
      commands_(std::move(parts.for_commands)),
      lease_woken_(std::move(parts.for_lease)),
      keeper_(std::move(parts.records),
              self_,
              options_.limits.silence,
              [this] { lease_woken_.wake(); }),
      thread_([this] { run(); }) {}

HostAgent::~HostAgent() {
  commands_.push(Leave{});
  thread_.join();
}

void HostAgent::ready(uint16_t port, const std::optional<HostEnding>& ending) {
  commands_.push(Ready{port, ending});
}
void HostAgent::began(int64_t step) { commands_.push(Began{step}); }
void HostAgent::stop(int signal) { commands_.push(Stop{signal}); }

// --- The thread ---

void HostAgent::run() {
  seeking_since_ = AgentClock::now();
  while (!leaving_ || (state_ == State::kOver && leader_)) {
    wait();
    const AgentTime now = AgentClock::now();
    serve_commands(now);
    while (auto channel = AgentChannel::accept(listener_)) {
      // Who does not lead has nothing to say to anyone: they look at the lease again.
      if (leader_) guests_.push_back({*std::move(channel), {}, now, false});
    }
    if (leader_channel_) serve_leader(now);
    if (leader_) lead(now);
    if (state_ == State::kSeeking) seek(now);
  }
}

void HostAgent::wait() {
  std::vector<pollfd> wanted = {
      {commands_.fd(), POLLIN, 0}, {lease_woken_.fd(), POLLIN, 0}, {listener_.fd.get(), POLLIN, 0}};
  if (leader_channel_) {
    wanted.push_back({leader_channel_->fd(), leader_channel_->events(), 0});
  }
  for (const Guest& guest : guests_) {
    wanted.push_back({guest.channel.fd(), guest.channel.events(), 0});
  }
  // Every deadline is a part of `silence`, and none finer than a sixteenth.
  ::poll(wanted.data(), wanted.size(), static_cast<int>((silence() / 16).count()) + 1);
  if (wanted[1].revents != 0) lease_woken_.clear();
}

void HostAgent::serve_commands(AgentTime now) {
  while (auto command = commands_.pop()) {
    std::visit([&](const auto& what) { serve(what, now); }, *command);
  }
}

void HostAgent::serve(const Ready& command, AgentTime now) {
  port_ = command.port;
  const uint64_t round = std::exchange(in_round_, 0);
  if (state_ == State::kLeading) {
    if (command.ending && round == leader_->round()) {
      leader_->ended(self_.agent, {round, *command.ending, *port_}, now);
    } else {
      leader_->join(join_message(), "", now);
    }
  } else if (state_ == State::kJoined && command.ending) {
    leader_channel_->send(EndedMessage{round, *command.ending, *port_});
  } else {
    seeking_since_ = now;
  }
}

void HostAgent::serve(const Began& command, AgentTime) {
  const StepMessage message{in_round_, command.step};
  take(message);
  if (leader_) {
    leader_->step(self_.agent, message);
  } else if (state_ == State::kJoined) {
    leader_channel_->send(message);
  }
}

void HostAgent::serve(const Stop& command, AgentTime now) {
  stop_signal_ = command.signal;
  if (leader_) {
    leader_->stop(self_.agent, command.signal, now);
  } else if (state_ == State::kJoined) {
    leader_channel_->send(StopMessage{command.signal});
  }
}

void HostAgent::serve(const Leave&, AgentTime) { leaving_ = true; }

JoinMessage HostAgent::join_message() const {
  const LeaseView view = keeper_.view();
  JoinMessage message;
  message.token = view.leader ? view.leader->token : std::string();
  message.agent = self_.agent;
  message.host = options_.host;
  message.node = node_;
  message.ranks = options_.ranks;
  message.port = *port_;
  message.history = history_;
  return message;
}

void HostAgent::go_over(const OverMessage& message) {
  state_ = State::kOver;
  over_until_ = AgentClock::now() + silence() / 4;
  orders_.push(message);
}

// --- Seeking ---

void HostAgent::seek(AgentTime now) {
  if (!port_ || in_round_ != 0) return;  // its ranks are still ending
  if (stop_signal_) return go_over({kSignalCode + *stop_signal_, {}});
  const LeaseView view = keeper_.view();
  if (view.leads(now, silence())) return become_leader(now);
  if (view.error) obstacle_ = view.error->to_string();
  // What waiting does not mend.
  if (view.error && !view.known && view.error->code != ErrorCode::kIo) {
    return go_over({exit_code(*view.error), obstacle_});
  }
  const auto waited = now - seeking_since_;
  if (waited >= options_.limits.join_timeout) {
    return go_over({1,
                    fmt::format("no leader of the job's hosts could be reached within {}: {}",
                                format_duration(options_.limits.join_timeout),
                                obstacle_)});
  }
  if (waited >= silence() && !obstacle_.empty() && !std::exchange(said_waiting_, true)) {
    say(fmt::format("still looking for the job's other hosts: {}", obstacle_));
  }
  if (now < next_attempt_) return;
  if (view.vacant(now, silence())) {
    if (now < may_take_from_) return;
    keeper_.take();
    next_attempt_ = now + silence() / 8;
  } else if (view.leader && !view.leader->resigned && !view.held) {
    try_next_address(view, now);
  }
}

void HostAgent::try_next_address(const LeaseView& view, AgentTime now) {
  const auto& addresses = view.leader->addresses;
  next_attempt_ = now + silence() / 8;
  leader_host_ = view.leader->host;
  obstacle_ = fmt::format("{} leads, but does not answer", leader_host_);
  if (addresses.empty()) return;
  const std::string& address = addresses[next_address_++ % addresses.size()];
  auto channel = AgentChannel::connect(address, view.leader->port);
  if (!channel) {
    obstacle_ =
        fmt::format("{} leads, but is not reached: {}", leader_host_, channel.error().to_string());
    return;
  }
  leader_channel_ = *std::move(channel);
  leader_channel_->send(join_message());
  unanswered_.clear();
  next_beat_ = now;
  alive_at_ = now;
  connecting_until_ = now + silence() / 4;
  state_ = State::kConnecting;
}

// --- Under a leader ---

void HostAgent::serve_leader(AgentTime now) {
  if (now >= next_beat_ && unanswered_.size() < kMostUnanswered) {
    leader_channel_->send(AliveMessage{++beat_});
    unanswered_.emplace_back(beat_, now);
    next_beat_ = now + silence() / 8;
  }
  auto messages = leader_channel_->serve();
  // Where it closes the connection to one that was suspended, the others may go on already.
  const bool too_late = now - alive_at_ >= silence() * 3 / 4;
  if (!messages && !too_late) {
    obstacle_ =
        fmt::format("{} leads, but is not reached: {}", leader_host_, messages.error().to_string());
    return lose_leader(SIGTERM, fmt::format("the leader, host {}, was lost", leader_host_), now);
  }
  if (messages) {
    for (const AgentMessage& message : *messages) {
      take_message(message, now);
      if (state_ == State::kOver) leader_channel_.reset();
      if (!leader_channel_) return;
    }
  }
  if (state_ == State::kConnecting && now >= connecting_until_) {
    return lose_leader(SIGTERM, "", now);
  }
  if (now - alive_at_ >= silence() * 3 / 4) {
    lose_leader(SIGKILL,
                fmt::format("the leader, host {}, does not answer: this host is cut off, and its "
                            "ranks are killed",
                            leader_host_),
                now);
  }
}

void HostAgent::become_joined() {
  if (state_ != State::kConnecting) return;
  state_ = State::kJoined;
  keeper_.rest();
  if (stop_signal_) leader_channel_->send(StopMessage{*stop_signal_});
  if (leader_host_ != greeted_) say(fmt::format("joined the hosts led by {}", leader_host_));
  greeted_ = leader_host_;
}

void HostAgent::take_message(const AgentMessage& message, AgentTime now) {
  if (const auto* alive = std::get_if<AliveMessage>(&message)) {
    while (!unanswered_.empty() && unanswered_.front().first <= alive->number) {
      alive_at_ = unanswered_.front().second;
      unanswered_.pop_front();
    }
    become_joined();
  } else if (const auto* begin = std::get_if<BeginMessage>(&message)) {
    become_joined();
    BeginMessage own = *begin;
    if (own.master_host.empty()) own.master_host = leader_channel_->peer();
    take(own);
  } else if (const auto* end = std::get_if<EndMessage>(&message)) {
    take(*end);
  } else if (const auto* step = std::get_if<StepMessage>(&message)) {
    take(*step);
  } else if (const auto* over = std::get_if<OverMessage>(&message)) {
    go_over(*over);
  } else {
    lose_leader(SIGTERM, "the leader speaks like no leader", now);
  }
}

void HostAgent::take(const BeginMessage& message) {
  in_round_ = message.history.round;
  history_ = message.history;
  node_ = message.node;
  orders_.push(message);
}

void HostAgent::take(const EndMessage& message) {
  if (message.stops) stop_signal_ = message.signal;  // whatever becomes of this leader
  if (message.round == in_round_ && in_round_ != 0) orders_.push(message);
}

// The leader may die before the round ends: then a host that has heard of the step tells the next one.
void HostAgent::take(const StepMessage& message) {
  if (message.round == history_.round) history_.went_on(message.step);
}

void HostAgent::lose_leader(int signal, const std::string& why, AgentTime now) {
  const bool joined = state_ == State::kJoined;
  leader_channel_.reset();
  state_ = State::kSeeking;
  if (joined) {
    keeper_.watch();
    seeking_since_ = now;  // who has never reached it goes on with the same search
    said_waiting_ = false;
  }
  // Not at once again, where it has just refused.
  next_attempt_ = joined ? now : now + silence() / 16;
  if (!joined) return;
  greeted_.clear();
  if (in_round_ != 0) {
    orders_.push(EndMessage{in_round_, signal, false, why});
  } else {
    say(why);
  }
}

}  // namespace atl::job
