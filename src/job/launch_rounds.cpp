// The launcher of a job that goes on after failures: a round of ranks after the other, as its agent says.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <array>
#include <memory>
#include <utility>

#include "job/agent_channel.h"
#include "job/launch.h"
#include "job/launch_signals.h"
#include "job/merged_output.h"
#include "job/rank_round.h"

namespace atl::job {
namespace {

class Rounds : public RoundOrders {
 public:
  Rounds(const LaunchOptions& options,
         LaunchSignals signals,
         std::unique_ptr<Rendezvous> rendezvous)
      : options_(options),
        signals_(std::move(signals)),
        output_(options.out, options.err),
        rendezvous_(std::move(rendezvous)) {}

  Result<LaunchOutcome> run() {
    listener_ = ATOLL_TRY(listen_anywhere());
    rendezvous_->ready(listener_.port, std::nullopt);
    while (!over_ && !forced_) {
      wait();
      while (const auto number = signals_.next()) serve_signal(*number);
      while (!over_ && !forced_) {
        const auto order = rendezvous_->next();
        if (!order) break;
        if (const auto* begin = std::get_if<BeginMessage>(&*order)) {
          ATOLL_TRY(run_one(*begin));
        } else {
          (void)take(*order);
        }
      }
    }
    return finish();
  }

  // --- RoundOrders ---
  int fd() const override { return rendezvous_->fd(); }
  std::optional<End> next() override {
    while (const auto order = rendezvous_->next()) {
      if (auto end = take(*order)) return end;
    }
    return std::nullopt;
  }
  void signalled(int number) override {
    signal_ = number;
    rendezvous_->stop(number);
  }
  void began(int64_t step) override { rendezvous_->began(step); }

 private:
  void wait() {
    std::array<pollfd, 3> wanted{pollfd{signals_.fd(), POLLIN, 0},
                                 pollfd{rendezvous_->fd(), POLLIN, 0},
                                 pollfd{output_.waits_for(), POLLOUT, 0}};
    if (::poll(wanted.data(), wanted.size(), -1) > 0) output_.flush();
  }

  // Between rounds, when there are no ranks to pass it on to.
  void serve_signal(int number) {
    if (number == SIGCHLD || number == SIGWINCH) return;
    if (signal_ != 0) {
      forced_ = true;
      return;
    }
    output_.say(fmt::format("atoll: SIG{}: the job is stopped", ::sigabbrev_np(number)));
    signalled(number == SIGHUP ? SIGTERM : number);
  }

  std::optional<End> take(const Order& order) {
    if (const auto* line = std::get_if<SayOrder>(&order)) {
      output_.say("atoll: " + line->text);
    } else if (const auto* end = std::get_if<EndMessage>(&order)) {
      if (end->round == round_) return End{end->signal, end->stops, end->why};
    } else if (const auto* over = std::get_if<OverMessage>(&order)) {
      over_ = *over;
      if (round_ != 0) return End{SIGTERM, false, over->why};
    }
    return std::nullopt;
  }

  LaunchOptions options_of(const BeginMessage& begin) const {
    LaunchOptions options = options_;
    Place& place = options.place;
    place.node = begin.node;
    place.nodes = begin.nodes;
    place.rank = begin.rank;
    place.size = begin.size;
    place.master_host = begin.master_host;
    place.master_port = begin.master_port;
    place.hosts.clear();  // the cluster's order is not this round's
    // A run that nobody has begun yet is another job's, if somebody writes there.
    if (begin.history.round == 1) options.output_wait = std::chrono::seconds(0);
    return options;
  }

  Result<void> run_one(const BeginMessage& begin) {
    round_ = begin.history.round;
    if (begin.node == 0 && (begin.nodes > 1 || round_ > 1)) output_.say("atoll: " + begin.line);
    const auto ended = run_round(options_of(begin), signals_, output_, std::move(listener_), this);
    HostEnding ending;
    if (ended) {
      ending = {ended->exit_code, ended->by_signal, ended->ordered, ended->why};
      forced_ = ended->forced;
    } else {
      ending = {exit_code(ended.error()), false, false, ended.error().to_string()};
      output_.say("atoll: " + ending.why);
    }
    round_ = 0;
    listener_ = ATOLL_TRY(listen_anywhere());
    rendezvous_->ready(listener_.port, ending);
    return {};
  }

  LaunchOutcome finish() {
    LaunchOutcome outcome;
    outcome.exit_code = over_ ? over_->code : kSignalCode + signal_;
    if (over_) outcome.how_it_ended = over_->why;
    const bool stopped = signal_ != 0 && outcome.exit_code == kSignalCode + signal_;
    if (over_ && over_->code != 0 && !over_->why.empty() && !stopped) {
      output_.say("atoll: the job ends: " + over_->why);
    }
    if (!forced_) drain_output(output_, signals_);
    outcome.output_error = output_.error();
    return outcome;
  }

  const LaunchOptions& options_;
  LaunchSignals signals_;
  MergedOutput output_;
  const std::unique_ptr<Rendezvous> rendezvous_;
  Listener listener_;   // for rank 0, should it be here in the next round
  uint64_t round_ = 0;  // that runs; 0: none
  int signal_ = 0;      // that somebody has sent here
  bool forced_ = false;
  std::optional<OverMessage> over_;
};

}  // namespace

Result<LaunchOutcome> launch_rounds(
    const LaunchOptions& options,
    const std::function<Result<std::unique_ptr<Rendezvous>>()>& meet) {
  auto signals = ATOLL_TRY(LaunchSignals::start());
  auto rendezvous = ATOLL_TRY(meet());
  return Rounds(options, std::move(signals), std::move(rendezvous)).run();
}

}  // namespace atl::job
