#include "job/round_leader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "base/bytes.h"

namespace atl::job {
namespace {

constexpr int kBadInput = 2;  // the exit code that says so
constexpr int kLostCode = 1;  // of a job that ends because a host was lost

// The ranks stopped cleanly, by a signal that was not ours: a cluster's, which reached them first.
int clean_stop(const HostEnding& ending) {
  if (ending.ordered || ending.by_signal) return 0;
  const int number = ending.code - kSignalCode;
  return number == SIGTERM || number == SIGINT ? number : 0;
}

// Of what two hosts know. Those of the same round may differ: one had not heard of its first step when the leader died.
JobHistory later_of(const JobHistory& a, const JobHistory& b) {
  const auto place = [](const JobHistory& history) {
    return std::tuple(history.round, history.begun_at);
  };
  return place(a) < place(b) ? b : a;
}

}  // namespace

RoundLeader::RoundLeader(const JobLimits& limits, AgentTime now)
    : limits_(limits), gathering_since_(now), last_join_(now) {}

RoundLeader::Host* RoundLeader::find(std::string_view agent) {
  const auto found =
      std::ranges::find_if(hosts_, [&](const Host& host) { return host.info.agent == agent; });
  return found == hosts_.end() ? nullptr : &*found;
}

// --- What is told ---

void RoundLeader::join(const JoinMessage& info, const std::string& address, AgentTime now) {
  if (over_) return;
  // It joins only when its ranks have ended; what is known of it is of a connection that broke.
  if (Host* const known = find(info.agent)) {
    if (known->in_round && known->ending && known->ending->code == 0) {
      known->here = true;  // its part is done; only the connection is new
      known->address = address;
      known->heard = now;
      known->info.port = info.port;
      return;
    }
    lose(info.agent, "it came anew", now);
  }
  Host host;
  host.info = info;
  host.address = address;
  host.order = joined_++;
  host.heard = now;
  hosts_.push_back(std::move(host));
  // A leader that follows another knows of the job what its hosts know. A round that runs keeps its number.
  JobHistory& so_far = phase_ == Phase::kGathering ? history_ : later_;
  so_far = later_of(so_far, info.history);
  last_join_ = now;
  if (phase_ != Phase::kGathering && !newcomer_since_) newcomer_since_ = now;
  tick(now);
}

void RoundLeader::heard(std::string_view agent, AgentTime now) {
  if (Host* const host = find(agent)) host->heard = now;
}

void RoundLeader::gone(std::string_view agent, AgentTime now) {
  lose(agent, "its launcher ended", now);
}

void RoundLeader::lose(std::string_view agent, const std::string& how, AgentTime now) {
  Host* const host = find(agent);
  if (host == nullptr || !host->here) return;
  if (host->in_round && host->ending && host->ending->code == 0) {
    host->here = false;  // its part is done
    return;
  }
  const bool in_round = host->in_round;
  const std::string why = fmt::format("host {} was lost ({})", host->info.host, how);
  std::erase_if(hosts_, [&](const Host& other) { return &other == host; });
  if (phase_ == Phase::kGathering) return;
  if (!in_round) return;
  someone_missing_ = true;
  fail_round({kLostCode, false, false, why}, now);
  conclude_if_ended(now);
}

void RoundLeader::step(std::string_view agent, const StepMessage& message) {
  const Host* const host = find(agent);
  if (host == nullptr || !host->in_round || message.round != history_.round) return;
  history_.went_on(message.step);
  for (const Host& other : hosts_) {
    if (&other != host && other.in_round && other.here) send(other, message);
  }
}

void RoundLeader::ended(std::string_view agent, const EndedMessage& message, AgentTime now) {
  Host* const host = find(agent);
  if (host == nullptr) return;
  host->heard = now;
  host->info.port = message.port;
  if (!host->in_round || host->ending || message.round != history_.round) return;
  host->ending = message.ending;
  const HostEnding& ending = message.ending;
  const int stopped_by = clean_stop(ending);
  // Ranks stop together: those of a host may have done so before their own order came.
  const bool by_itself = phase_ == Phase::kRunning || failure_ || stop_signal_ != 0;
  if (stopped_by != 0) {
    if (phase_ == Phase::kRunning) stop(agent, stopped_by, now);
  } else if (ending.code != 0 && !ending.ordered && by_itself) {
    fail_round(ending, now);
  }
  conclude_if_ended(now);
}

void RoundLeader::stop(std::string_view agent, int signal, AgentTime now) {
  if (over_ || stop_signal_ != 0) return;
  stop_signal_ = signal;
  const Host* const host = find(agent);
  const char* const name = ::sigabbrev_np(signal);
  why_ = fmt::format("SIG{} on {}",
                     name == nullptr ? std::to_string(signal) : name,
                     host == nullptr ? "a host" : host->info.host);
  if (phase_ == Phase::kGathering) {
    finish(stop_code(), why_);
  } else {
    end_round(signal, true, why_, now);
  }
}

void RoundLeader::tick(AgentTime now) {
  if (over_) return;
  std::vector<std::string> silent;
  for (const Host& host : hosts_) {
    if (host.here && !host.address.empty() && now - host.heard > limits_.silence) {
      silent.push_back(host.info.agent);
    }
  }
  if (!silent.empty()) {
    const auto here = static_cast<size_t>(std::ranges::count_if(hosts_, &Host::here));
    const size_t left = here - silent.size();
    const size_t before = std::max(here, hosts_in_round_);
    if (left < static_cast<size_t>(limits_.min_hosts) || 2 * left < before) minority_ = true;
  }
  for (const std::string& agent : silent) {
    lost_.push_back(agent);
    lose(agent, fmt::format("no sign of life for {}", format_duration(limits_.silence)), now);
  }
  if (phase_ == Phase::kGathering) {
    gather(now);
  } else if (phase_ == Phase::kRunning && newcomer_since_ &&
             hosts_in_round_ < static_cast<size_t>(limits_.max_hosts) &&
             now - *newcomer_since_ >= limits_.newcomer_wait() &&
             now - begun_ >= limits_.newcomer_wait()) {
    for (const Host& host : hosts_) {
      if (host.in_round) continue;
      end_round(SIGTERM, false, fmt::format("host {} has come", host.info.host), now);
      return;
    }
    newcomer_since_.reset();  // it left again
  }
}

// --- A round's beginning ---

// Who would take part, in the order of their numbers: as before, then as they came.
std::vector<RoundLeader::Host*> RoundLeader::candidates() {
  std::vector<Host*> found;
  for (Host& host : hosts_) {
    if (host.here) found.push_back(&host);
  }
  std::ranges::sort(found, std::ranges::less{}, [](const Host* host) {
    const bool is_new = host->info.node < 0;
    return std::tuple(is_new, host->info.node, host->order);
  });
  if (found.size() > static_cast<size_t>(limits_.max_hosts)) {
    found.resize(static_cast<size_t>(limits_.max_hosts));
  }
  return found;
}

void RoundLeader::gather(AgentTime now) {
  if (minority_) return;
  auto hosts = candidates();
  const bool all = hosts.size() == static_cast<size_t>(limits_.max_hosts);
  const bool enough = hosts.size() >= static_cast<size_t>(limits_.min_hosts);
  const auto call = history_.round == 0 ? limits_.first_call() : limits_.last_call();
  if (all || (enough && (!someone_missing_ || now - last_join_ >= call))) {
    begin(std::move(hosts), now);
  } else if (!enough && now - gathering_since_ >= limits_.join_timeout) {
    std::vector<std::string> names;
    names.reserve(hosts.size());
    for (const Host* host : hosts) names.push_back(host->info.host);
    finish(failure_ ? failure_->code : kLostCode,
           fmt::format("only {} of at least {} came within {}: {}",
                       format_count(hosts.size(), "host"),
                       limits_.min_hosts,
                       format_duration(limits_.join_timeout),
                       fmt::join(names, ", ")));
  }
}

std::string RoundLeader::describe_round(const std::vector<Host*>& hosts, int size) const {
  const size_t most = static_cast<size_t>(limits_.max_hosts);
  std::string line =
      fmt::format("round {}: {}, {}",
                  history_.round,
                  hosts.size() == most ? format_count(most, "host")
                                       : fmt::format("{} of {} hosts", hosts.size(), most),
                  format_count(static_cast<uint64_t>(size), "rank"));
  if (!why_.empty()) line += "; " + why_;
  if (history_.round > 1) line += "; going on from the last checkpoint";
  return line;
}

void RoundLeader::begin(std::vector<Host*> hosts, AgentTime now) {
  ++history_.round;
  int size = 0;
  for (const Host* host : hosts) size += host->info.ranks;
  BeginMessage message;
  message.history = history_;
  message.nodes = static_cast<int>(hosts.size());
  message.size = size;
  message.master_host = hosts.front()->address;
  message.master_port = hosts.front()->info.port;
  message.line = describe_round(hosts, size);
  for (Host* host : hosts) {
    host->in_round = true;
    host->ending.reset();
    host->info.node = message.node;
    send(*host, message);
    ++message.node;
    message.rank += host->info.ranks;
  }
  phase_ = Phase::kRunning;
  begun_ = now;
  hosts_in_round_ = hosts.size();
  failure_.reset();
  someone_missing_ = false;
  why_.clear();
  newcomer_since_.reset();
  if (hosts.size() < hosts_.size()) newcomer_since_ = now;  // spares
}

// --- A round's end ---

// Of several reasons the first counts, but one that a signal has killed before one that has an error to tell, which is
// most likely about the connection to it.
void RoundLeader::fail_round(HostEnding failure, AgentTime now) {
  const bool first = !failure_;
  if (first || (failure.by_signal && !failure_->by_signal && failure_->code != kBadInput)) {
    failure_ = std::move(failure);
  }
  if (first && stop_signal_ == 0) end_round(SIGTERM, false, failure_->why, now);
}

void RoundLeader::end_round(int signal, bool stops, const std::string& why, AgentTime now) {
  if (phase_ == Phase::kRunning || stops) {
    for (const Host& host : hosts_) {
      // Of a stop those hear, too, whose ranks have ended: it holds when this leader does not live to its end.
      if (host.here && (stops || (host.in_round && !host.ending))) {
        send(host, EndMessage{history_.round, signal, stops, why});
      }
    }
  }
  if (phase_ == Phase::kRunning) why_ = why;
  phase_ = Phase::kEnding;
  conclude_if_ended(now);
}

void RoundLeader::conclude_if_ended(AgentTime now) {
  if (phase_ == Phase::kGathering || over_) return;
  for (const Host& host : hosts_) {
    if (host.in_round && !host.ending) return;
  }
  conclude(now);
}

void RoundLeader::conclude(AgentTime now) {
  bool all_done = true;
  size_t count = 0;
  for (const Host& host : hosts_) {
    if (!host.in_round) continue;
    ++count;
    all_done = all_done && host.ending->code == 0;
  }
  if (all_done && count == hosts_in_round_) return finish(0, {});
  if (failure_) why_ = failure_->why;
  if (stop_signal_ != 0) {
    const bool failed = failure_ && failure_->code != kSignalCode + stop_signal_;
    return finish(failed ? failure_->code : stop_code(), why_);
  }
  if (failure_ && !may_go_on(*failure_)) return;
  history_ = later_of(history_, later_);
  std::erase_if(hosts_, [](const Host& host) { return !host.here; });
  for (Host& host : hosts_) {
    host.in_round = false;
    host.ending.reset();
  }
  phase_ = Phase::kGathering;
  gathering_since_ = now;
  last_join_ = now;
  gather(now);
}

bool RoundLeader::may_go_on(const HostEnding& failure) {
  // What did for a step is no bad input: something that was there is missing, and may be back for the next round.
  if (failure.code == kBadInput && history_.begun_at < 0) {
    finish(kBadInput, failure.why);
    return false;
  }
  if (++history_.failures <= limits_.max_restarts) return true;
  finish(failure.code,
         limits_.max_restarts == 0
             ? failure.why
             : fmt::format("{}; {} in a row came no further (--max-restarts)",
                           failure.why,
                           format_count(static_cast<uint64_t>(limits_.max_restarts), "restart")));
  return false;
}

int RoundLeader::stop_code() const { return kSignalCode + stop_signal_; }

void RoundLeader::finish(int code, const std::string& why) {
  over_ = OverMessage{code, why};
  for (const Host& host : hosts_) {
    if (host.here) send(host, *over_);
  }
}

}  // namespace atl::job
