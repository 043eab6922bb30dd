// A job of one host: the leader decides, and there is nobody else to tell.
#include "job/order_queue.h"
#include "job/rendezvous.h"

namespace atl::job {
namespace {

constexpr const char* kSelf = "self";

class RendezvousOfOne : public Rendezvous {
 public:
  RendezvousOfOne(const JobLimits& limits, std::string host, int ranks, Wakeup wakeup)
      : leader_(limits, AgentClock::now()), orders_(std::move(wakeup)) {
    self_.agent = kSelf;
    self_.host = std::move(host);
    self_.ranks = ranks;
  }

  int fd() const override { return orders_.fd(); }
  std::optional<Order> next() override { return orders_.pop(); }
  void ready(uint16_t port, const std::optional<HostEnding>& ending) override {
    const AgentTime now = AgentClock::now();
    self_.port = port;
    if (ending) {
      leader_.ended(kSelf, {round_, *ending, port}, now);
    } else {
      leader_.join(self_, "", now);
    }
    deliver();
  }
  void began(int64_t step) override { leader_.step(kSelf, {round_, step}); }
  void stop(int signal) override {
    leader_.stop(kSelf, signal, AgentClock::now());
    deliver();
  }

 private:
  void deliver() {
    for (auto& letter : leader_.take_letters()) {
      if (const auto* begin = std::get_if<BeginMessage>(&letter.message)) {
        round_ = begin->history.round;
        BeginMessage own = *begin;
        own.master_host = "127.0.0.1";
        orders_.push(std::move(own));
      } else if (const auto* end = std::get_if<EndMessage>(&letter.message)) {
        orders_.push(*end);
      } else if (const auto* over = std::get_if<OverMessage>(&letter.message)) {
        orders_.push(*over);
      }
    }
  }

  RoundLeader leader_;
  JoinMessage self_;
  uint64_t round_ = 0;
  WakingQueue<Order> orders_;
};

}  // namespace

Result<std::unique_ptr<Rendezvous>> rendezvous_of_one(const JobLimits& limits,
                                                      const std::string& host,
                                                      int ranks) {
  Wakeup wakeup = ATOLL_TRY(Wakeup::make());
  return std::make_unique<RendezvousOfOne>(limits, host, ranks, std::move(wakeup));
}

}  // namespace atl::job
