// What the leader of a job's hosts decides: who takes part in a round, when it ends, and whether another follows. No
// sockets, threads or clocks in it: what happens is told, with the time, and letters to the hosts come out.
//
//   GATHERING  hosts join. All that may take part are there, or enough and for some time nobody more has come:
//              the round begins, with the hosts numbered as they were before, newcomers behind them.
//              Fewer than enough for `join_timeout`: the job fails.
//   RUNNING    until every host has said that its ranks ended with 0: the job is done.
//   ENDING     a rank failed, a host was lost, one has come that has waited long enough, or somebody wants the job to
//              stop: all are told to end their ranks. When they have: GATHERING, or the job is over.
//
// A job is over for good when its ranks failed with 2 (bad usage or input, which another try does not mend) before any
// step, when it was stopped, or when `max_restarts` rounds in a row failed without one of them having gone on from a
// later step. A round that ended for a newcomer is no failure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "job/agent_message.h"
#include "job/lease.h"

namespace atl::job {

struct JobLimits {
  int min_hosts = 1;
  int max_hosts = 1;
  int max_restarts = 3;
  // A host, or a leader, of which nothing has been heard for so long is lost. The other times follow from it.
  std::chrono::milliseconds silence{20'000};
  std::chrono::milliseconds join_timeout{600'000};

  // How long enough hosts wait for more: at the start of the job, and where one was lost.
  std::chrono::milliseconds first_call() const { return silence; }
  std::chrono::milliseconds last_call() const { return silence / 4; }
  // How long a newcomer waits before a round is ended for it, and how long a round is left alone.
  std::chrono::milliseconds newcomer_wait() const { return silence; }
};

class RoundLeader {
 public:
  struct Letter {
    std::string to;  // JoinMessage::agent
    AgentMessage message;
  };

  RoundLeader(const JobLimits& limits, AgentTime now);

  // `address`: of the host as the leader reaches it; "": the leader's own.
  void join(const JoinMessage& host, const std::string& address, AgentTime now);
  void heard(std::string_view agent, AgentTime now);
  // Its connection is closed: its launcher ended, and its ranks with it.
  void gone(std::string_view agent, AgentTime now);
  void step(std::string_view agent, const StepMessage& message);
  void ended(std::string_view agent, const EndedMessage& message, AgentTime now);
  void stop(std::string_view agent, int signal, AgentTime now);
  void tick(AgentTime now);

  std::vector<Letter> take_letters() { return std::exchange(letters_, {}); }
  // Hosts that were given up, whose connections are to be closed.
  std::vector<std::string> take_lost() { return std::exchange(lost_, {}); }
  // No ranks run, and more hosts fell silent than stayed: perhaps it is this one that is cut off, and another should lead.
  bool should_resign() const { return phase_ == Phase::kGathering && minority_ && !over_; }
  uint64_t round() const { return history_.round; }  // the last that has begun
  // Everyone has been told.
  const std::optional<OverMessage>& over() const { return over_; }

 private:
  enum class Phase { kGathering, kRunning, kEnding };
  struct Host {
    JoinMessage info;
    std::string address;
    uint64_t order = 0;  // of joining
    AgentTime heard{};
    bool in_round = false;
    std::optional<HostEnding> ending;
    bool here = true;  // false: it left after its ranks had ended with 0
  };

  Host* find(std::string_view agent);
  void lose(std::string_view agent, const std::string& how, AgentTime now);
  void gather(AgentTime now);
  void begin(std::vector<Host*> hosts, AgentTime now);
  std::vector<Host*> candidates();
  std::string describe_round(const std::vector<Host*>& hosts, int size) const;
  void fail_round(HostEnding failure, AgentTime now);
  void end_round(int signal, bool stops, const std::string& why, AgentTime now);
  void conclude_if_ended(AgentTime now);
  void conclude(AgentTime now);
  bool may_go_on(const HostEnding& failure);
  void finish(int code, const std::string& why);
  int stop_code() const;
  void send(const Host& host, AgentMessage message) {
    letters_.push_back({host.info.agent, std::move(message)});
  }

  const JobLimits limits_;
  Phase phase_ = Phase::kGathering;
  std::vector<Host> hosts_;
  JobHistory history_;
  JobHistory later_;  // of one that came while a round ran, and knows of a later one
  uint64_t joined_ = 0;

  // Gathering.
  AgentTime gathering_since_;
  AgentTime last_join_;
  bool someone_missing_ = true;  // who took part before, or all at the start
  bool minority_ = false;
  std::string why_;  // the round before ended

  // Running and ending.
  AgentTime begun_{};
  size_t hosts_in_round_ = 0;
  std::optional<AgentTime> newcomer_since_;
  std::optional<HostEnding> failure_;  // what counts as the reason
  int stop_signal_ = 0;

  std::vector<Letter> letters_;
  std::vector<std::string> lost_;
  std::optional<OverMessage> over_;
};

}  // namespace atl::job
