// An agent that holds the lease: its connections to the other hosts, and what RoundLeader has to say to them.
#include <fmt/format.h>
#include <signal.h>

#include "job/host_agent.h"

namespace atl::job {

void HostAgent::become_leader(AgentTime now) {
  state_ = State::kLeading;
  leader_.emplace(options_.limits, now);
  leader_->join(join_message(), "", now);
  greeted_.clear();
}

void HostAgent::lead(AgentTime now) {
  if (state_ == State::kLeading && !keeper_.view().leads(now, silence())) {
    const LeaseView view = keeper_.view();
    return step_down(
        SIGKILL,
        view.error ? fmt::format("the lease could not be renewed: {}", view.error->to_string())
                   : std::string("another host has taken the lease"),
        now);
  }
  for (Guest& guest : guests_) serve_guest(guest, now);
  if (state_ == State::kLeading) {
    leader_->tick(now);
    deliver();
    if (leader_->should_resign()) {
      keeper_.resign();
      may_take_from_ = now + silence();
      return step_down(SIGTERM,
                       "most hosts were lost, so perhaps it is this one that is cut off: "
                       "another may lead",
                       now);
    }
  }
  for (Guest& guest : guests_) {
    if (!guest.closed) continue;
    if (!guest.agent.empty() && state_ == State::kLeading) leader_->gone(guest.agent, now);
  }
  guests_.remove_if([](const Guest& guest) { return guest.closed; });
  if (state_ == State::kLeading) deliver();
  // The others hang up when they have heard that it is over.
  if (state_ == State::kOver && (guests_.empty() || now >= over_until_)) {
    guests_.clear();
    leader_.reset();
  }
}

void HostAgent::serve_guest(Guest& guest, AgentTime now) {
  if (guest.closed) return;
  const auto messages = guest.channel.serve();
  if (!messages) {
    guest.closed = true;
    return;
  }
  for (const AgentMessage& message : *messages) {
    if (!guest.closed) take_from(guest, message, now);
  }
  if (guest.agent.empty() && now - guest.since >= silence()) guest.closed = true;
}

void HostAgent::take_from(Guest& guest, const AgentMessage& message, AgentTime now) {
  if (state_ != State::kLeading) return;
  if (const auto* join = std::get_if<JoinMessage>(&message)) {
    // A stranger, or one that has read the lease of another leader.
    if (!guest.agent.empty() || join->token != self_.token || join->agent == self_.agent) {
      guest.closed = true;
      return;
    }
    for (Guest& other : guests_) {
      if (other.agent == join->agent) {
        other.closed = true;
        other.agent.clear();
      }
    }
    guest.agent = join->agent;
    leader_->join(*join, guest.channel.peer(), now);
    return;
  }
  if (guest.agent.empty()) {
    guest.closed = true;
    return;
  }
  if (const auto* alive = std::get_if<AliveMessage>(&message)) {
    leader_->heard(guest.agent, now);
    guest.channel.send(*alive);
  } else if (const auto* step = std::get_if<StepMessage>(&message)) {
    leader_->step(guest.agent, *step);
  } else if (const auto* ended = std::get_if<EndedMessage>(&message)) {
    leader_->ended(guest.agent, *ended, now);
  } else if (const auto* stop = std::get_if<StopMessage>(&message)) {
    leader_->stop(guest.agent, stop->signal, now);
  } else {
    guest.closed = true;
  }
}

void HostAgent::deliver() {
  for (const std::string& agent : leader_->take_lost()) {
    for (Guest& guest : guests_) {
      if (guest.agent == agent) {
        guest.closed = true;
        guest.agent.clear();
      }
    }
  }
  for (const auto& letter : leader_->take_letters()) {
    if (letter.to != self_.agent) {
      for (Guest& guest : guests_) {
        if (guest.agent == letter.to) guest.channel.send(letter.message);
      }
    } else if (const auto* begin = std::get_if<BeginMessage>(&letter.message)) {
      BeginMessage own = *begin;
      // What the others call this machine its ranks learn from them (parallel/address.h).
      if (own.master_host.empty()) own.master_host = "127.0.0.1";
      take(own);
    } else if (const auto* end = std::get_if<EndMessage>(&letter.message)) {
      take(*end);
    } else if (const auto* step = std::get_if<StepMessage>(&letter.message)) {
      take(*step);
    } else if (const auto* over = std::get_if<OverMessage>(&letter.message)) {
      go_over(*over);
    }
  }
}

void HostAgent::step_down(int signal, const std::string& why, AgentTime now) {
  guests_.clear();
  leader_.reset();
  state_ = State::kSeeking;
  seeking_since_ = now;
  next_attempt_ = now;
  said_waiting_ = false;
  if (in_round_ != 0) {
    orders_.push(EndMessage{in_round_, signal, false, why});
  } else {
    say(why);
  }
}

}  // namespace atl::job
