// The agent of one host, in a thread of its own: rendezvous.h says what it is for, and its states.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "job/agent_channel.h"
#include "job/lease.h"
#include "job/order_queue.h"
#include "job/rendezvous.h"
#include "job/round_leader.h"

namespace atl::job {

class HostAgent : public Rendezvous {
 public:
  struct Parts {
    std::unique_ptr<storage::SharedRecords> records;
    Listener listener;
    LeaseRecord self;
    Wakeup for_orders, for_commands, for_lease;
  };
  HostAgent(HostAgentOptions options, Parts parts);
  // Leaves the job: for the others this host is lost, unless it is over.
  ~HostAgent() override;

  int fd() const override { return orders_.fd(); }
  std::optional<Order> next() override { return orders_.pop(); }
  void ready(uint16_t port, const std::optional<HostEnding>& ending) override;
  void began(int64_t step) override;
  void stop(int signal) override;

 private:
  enum class State { kSeeking, kConnecting, kJoined, kLeading, kOver };
  struct Ready {
    uint16_t port = 0;
    std::optional<HostEnding> ending;
  };
  struct Began {
    int64_t step = 0;
  };
  struct Stop {
    int signal = 0;
  };
  struct Leave {};
  using Command = std::variant<Ready, Began, Stop, Leave>;
  // A host that has connected to us, the leader.
  struct Guest {
    AgentChannel channel;
    std::string agent;  // "": it has not joined yet
    AgentTime since;
    bool closed = false;
  };

  void run();
  void wait();
  void serve_commands(AgentTime now);
  void serve(const Ready& command, AgentTime now);
  void serve(const Began& command, AgentTime now);
  void serve(const Stop& command, AgentTime now);
  void serve(const Leave& command, AgentTime now);

  void seek(AgentTime now);
  void try_next_address(const LeaseView& view, AgentTime now);
  void serve_leader(AgentTime now);
  void become_joined();
  void lose_leader(int signal, const std::string& why, AgentTime now);
  void take_message(const AgentMessage& message, AgentTime now);
  void take(const BeginMessage& message);
  void take(const EndMessage& message);
  void take(const StepMessage& message);

  void become_leader(AgentTime now);
  void lead(AgentTime now);
  void serve_guest(Guest& guest, AgentTime now);
  void take_from(Guest& guest, const AgentMessage& message, AgentTime now);
  void deliver();
  void step_down(int signal, const std::string& why, AgentTime now);

  void go_over(const OverMessage& message);
  void say(std::string text) { orders_.push(SayOrder{std::move(text)}); }
  JoinMessage join_message() const;
  std::chrono::milliseconds silence() const { return options_.limits.silence; }

  const HostAgentOptions options_;
  const Listener listener_;
  const LeaseRecord self_;
  WakingQueue<Order> orders_;
  WakingQueue<Command> commands_;
  Wakeup lease_woken_;
  LeaseKeeper keeper_;

  // Of the thread.
  State state_ = State::kSeeking;
  bool leaving_ = false;
  std::optional<uint16_t> port_;  // for rank 0; nullopt: the launcher is not ready yet
  uint64_t in_round_ = 0;         // whose ranks run here; 0: none do
  int node_ = -1;
  JobHistory history_;
  std::optional<int> stop_signal_;

  AgentTime seeking_since_{};
  AgentTime next_attempt_{};
  AgentTime may_take_from_{};  // the lease; after we have resigned
  size_t next_address_ = 0;
  std::string obstacle_;
  bool said_waiting_ = false;
  std::string leader_host_;  // for people
  std::string greeted_;      // the leader that we have told of

  std::optional<AgentChannel> leader_channel_;
  AgentTime connecting_until_{};
  AgentTime over_until_{};  // how long the others may take to hear it
  uint64_t beat_ = 0;
  std::deque<std::pair<uint64_t, AgentTime>> unanswered_;  // sent, without an answer yet
  AgentTime alive_at_{};  // when the last that was answered was sent
  AgentTime next_beat_{};

  std::optional<RoundLeader> leader_;
  std::list<Guest> guests_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace atl::job
