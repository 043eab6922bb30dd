// One thread and one poll(): signals, orders, the outputs of the ranks, and the next deadline. A rank that has ended is
// looked at before it is waited for, so that its process group, which has its number, can still be ended with it.
#include "job/rank_round.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "base/bytes.h"
#include "base/check.h"
#include "base/parallel.h"
#include "job/cpu_slices.h"
#include "job/launch_variables.h"
#include "job/rank_process.h"
#include "job/variables.h"

namespace atl::job {
namespace {

using Clock = std::chrono::steady_clock;
using Stream = MergedOutput::Stream;

// SIGCHLD wakes us; where another thread has swallowed one, this does.
constexpr std::chrono::milliseconds kLookEvery{500};

struct Rank {
  Rank(int rank, bool on_terminal)
      : number(rank), draws(on_terminal), out(rank == 0), err(rank == 0 && !on_terminal) {}

  int number = 0;
  RankProcess process;
  bool running = true;
  bool killed = false;  // by us
  int status = 0;       // of waitpid(), when it has ended
  bool draws = false;   // its standard error is a terminal
  LineSplitter out;
  LineSplitter err;
  Tail tail;
};

bool failed(const Rank& rank) { return !WIFEXITED(rank.status) || WEXITSTATUS(rank.status) != 0; }

int code_of(const Rank& rank) {
  return WIFEXITED(rank.status) ? WEXITSTATUS(rank.status) : kSignalCode + WTERMSIG(rank.status);
}

std::string how_it_ended(const Rank& rank) {
  if (WIFEXITED(rank.status)) return fmt::format("ended with code {}", WEXITSTATUS(rank.status));
  const int number = WTERMSIG(rank.status);
  if (rank.killed) return "did not end in time and was killed";
  if (number == SIGKILL) return "was killed by signal 9 (out of memory?)";
  const char* const name = ::sigdescr_np(number);
  return fmt::format("was killed by signal {} ({})", number, name == nullptr ? "unknown" : name);
}

class RankRound {
 public:
  RankRound(const LaunchOptions& options,
            LaunchSignals& signals,
            MergedOutput& output,
            RoundOrders* orders)
      : options_(options), signals_(signals), output_(output), orders_(orders) {}
  RankRound(const RankRound&) = delete;
  RankRound& operator=(const RankRound&) = delete;
  // Only where it was left early.
  ~RankRound() {
    for (Rank& rank : ranks_) {
      if (!rank.running) continue;
      ::kill(-rank.process.pid, SIGKILL);
      while (::waitpid(rank.process.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }

  Result<RoundEnd> run(Listener listener) {
    ATOLL_TRY(start(std::move(listener)));
    while (true) {
      look_for_ended();
      if (std::ranges::none_of(ranks_, &Rank::running)) {
        if (!drain_until_) drain_until_ = Clock::now() + options_.drain;
        if (!any_output_open() || Clock::now() >= *drain_until_) break;
      }
      if (kill_at_ && Clock::now() >= *kill_at_) kill_all();
      wait();
    }
    for (Rank& rank : ranks_) {
      read_what_is_there(rank, Stream::kOut);
      read_what_is_there(rank, Stream::kErr);
      finish_output(rank);
    }
    if (pollfd ready{steps_.get(), POLLIN, 0}; steps_ && ::poll(&ready, 1, 0) > 0) read_step();
    RoundEnd end = report();
    end.forced = forced_;
    return end;
  }

 private:
  Result<void> start(Listener listener);
  Result<void> start_rank_number(int local, const std::vector<int>& cpus, int share, int listen_fd);
  void wait();
  void serve_signal(int number);
  void serve_order(const RoundOrders::End& order);
  void read_step();
  void look_for_ended();
  void reap(Rank& rank);
  void stop_others();
  void pass_on(int number);
  void kill_all();
  void read_from(Rank& rank, Stream stream);
  void read_what_is_there(Rank& rank, Stream stream);
  void take(Rank& rank, Stream stream, std::string_view bytes);
  void finish_output(Rank& rank);
  void stderr_line(Rank& rank, std::string_view line);
  RoundEnd report();

  bool any_output_open() const {
    return std::ranges::any_of(ranks_, [](const Rank& rank) {
      return static_cast<bool>(rank.process.out) || static_cast<bool>(rank.process.err);
    });
  }
  // Stopped by the signal that was passed on; or in a round that is ended, for whatever reason.
  bool ended_as_asked(const Rank& rank) const {
    if (ordered_) return true;
    const int code = code_of(rank);
    return signal_ != 0 && (code == kSignalCode + SIGTERM || code == kSignalCode + SIGINT);
  }
  std::string name_of(const Rank& rank) const {
    return fmt::format("rank {} on {}", rank.number, options_.place.host);
  }

  const LaunchOptions& options_;
  LaunchSignals& signals_;
  MergedOutput& output_;
  RoundOrders* const orders_;  // null: none come
  std::vector<Rank> ranks_;
  std::optional<size_t> first_;  // the rank whose end is the job's
  bool stopping_ = false;        // a rank has failed
  int signal_ = 0;               // that asked for the end, here or elsewhere
  bool signalled_here_ = false;
  bool ordered_ = false;  // to end, before any rank had failed
  bool forced_ = false;   // by a second signal
  UniqueFd steps_;        // from rank 0
  std::string step_text_;
  int stopped_code_ = 0;  // of a rank that ended as asked
  std::optional<Clock::time_point> kill_at_;
  std::optional<Clock::time_point> drain_until_;
};

Result<void> RankRound::start(Listener listener) {
  const int count = options_.place.local_size;
  const auto slices =
      options_.bind_cpus ? cpu_slices(allowed_cpus(), count) : std::vector<std::vector<int>>{};
  const int share = std::max(1, available_cpus() / count);
  ranks_.reserve(static_cast<size_t>(count));
  if (!options_.hand_over_listener) listener.fd = UniqueFd();
  for (int local = 0; local < count; ++local) {
    const auto cpus = slices.empty() ? std::vector<int>{} : slices[static_cast<size_t>(local)];
    ATOLL_TRY(start_rank_number(local, cpus, share, listener.fd.get()));
  }
  // Ours is closed here: when rank 0 dies, nobody listens there any more, and the others see it.
  return {};
}

Result<void> RankRound::start_rank_number(int local,
                                          const std::vector<int>& cpus,
                                          int share,
                                          int listen_fd) {
  RankRequest request;
  request.command = options_.command;
  request.cpus = cpus;
  // No more than its share of a container's quota, which is no set of processors.
  const int bound = cpus.empty() ? share : static_cast<int>(cpus.size());
  request.environment = rank_environment(options_, local, std::min(bound, share));
  request.signal_mask = signals_.mask_before();
  const int number = options_.place.rank + local;
  Rank rank(number, number == 0 && output_.terminal());
  if (rank.draws) request.terminal = options_.err;
  UniqueFd step_writer;
  if (number == 0 && listen_fd > STDERR_FILENO) {
    request.inherited.push_back(listen_fd);
    request.environment.push_back(fmt::format("{}={}", kListenVariable, listen_fd));
  }
  if (number == 0 && orders_ != nullptr) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("making a pipe", errno);
    steps_ = UniqueFd(ends[0]);
    step_writer = UniqueFd(ends[1]);
    if (step_writer.get() > STDERR_FILENO) {
      request.inherited.push_back(step_writer.get());
      request.environment.push_back(fmt::format("{}={}", kStepVariable, step_writer.get()));
    }
  }
  rank.process = ATOLL_TRY_CONTEXT(start_rank(request), fmt::format("rank {}", rank.number));
  ranks_.push_back(std::move(rank));
  return {};
}

void RankRound::wait() {
  constexpr size_t kOrders = 1, kSteps = 2, kOutput = 3, kSources = 4;
  // poll() passes over what is -1.
  std::vector<pollfd> wanted = {{signals_.fd(), POLLIN, 0},
                                {orders_ == nullptr ? -1 : orders_->fd(), POLLIN, 0},
                                {steps_.get(), POLLIN, 0},
                                {output_.waits_for(), POLLOUT, 0}};
  std::vector<std::pair<Rank*, Stream>> sources;
  for (Rank& rank : ranks_) {
    if (output_.full()) break;
    for (const Stream stream : {Stream::kOut, Stream::kErr}) {
      const UniqueFd& fd = stream == Stream::kOut ? rank.process.out : rank.process.err;
      if (!fd) continue;
      wanted.push_back({fd.get(), POLLIN, 0});
      sources.emplace_back(&rank, stream);
    }
  }
  auto until = Clock::now() + kLookEvery;
  if (kill_at_) until = std::min(until, *kill_at_);
  if (drain_until_) until = std::min(until, *drain_until_);
  // Rounded up, or the last millisecond would be spent asking.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  if (::poll(wanted.data(), wanted.size(), static_cast<int>(std::max<int64_t>(left, 0))) <= 0) {
    return;
  }
  while (const auto number = signals_.next()) serve_signal(*number);
  if (wanted[kOrders].revents != 0) {
    while (const auto order = orders_->next()) serve_order(*order);
  }
  if (wanted[kSteps].revents != 0) read_step();
  if (wanted[kOutput].revents != 0) output_.flush();
  for (size_t i = 0; i < sources.size(); ++i) {
    if (wanted[i + kSources].revents != 0) read_from(*sources[i].first, sources[i].second);
  }
}

void RankRound::serve_signal(int number) {
  if (number == SIGCHLD) return;  // look_for_ended() does it
  if (number == SIGWINCH) {
    for (const Rank& rank : ranks_) {
      if (rank.draws && rank.process.err) copy_terminal_size(options_.err, rank.process.err.get());
    }
    return;
  }
  // One that a cluster sends to all launchers may come after the leader's word of it.
  if (signalled_here_) {
    output_.say("atoll: a second signal: what still runs is killed");
    forced_ = true;
    kill_all();
    return;
  }
  signalled_here_ = true;
  signal_ = number;
  if (orders_ != nullptr) orders_->signalled(number == SIGHUP ? SIGTERM : number);
  const int passed = number == SIGHUP ? SIGTERM : number;
  pass_on(passed);
  const auto deadline = Clock::now() + options_.grace;
  kill_at_ = kill_at_ ? std::min(*kill_at_, deadline) : deadline;
  output_.say(fmt::format("atoll: SIG{}: the ranks have {} to end{}",
                          ::sigabbrev_np(number),
                          format_duration(options_.grace),
                          number == SIGINT ? "; Ctrl-C again kills them" : ""));
}

void RankRound::serve_order(const RoundOrders::End& order) {
  if (order.stops) {
    if (signal_ != 0) return;  // our own, come back
    signal_ = order.signal;
  } else {
    ordered_ = ordered_ || !first_;
  }
  if (!order.why.empty()) output_.say("atoll: " + order.why);
  if (order.signal == SIGKILL) return kill_all();
  pass_on(order.signal);
  const auto deadline = Clock::now() + options_.failure_grace;
  kill_at_ = kill_at_ ? std::min(*kill_at_, deadline) : deadline;
}

// A line with a number; all else means nothing.
void RankRound::read_step() {
  constexpr size_t kMostDigits = 20;
  std::array<char, 64> piece{};
  const ssize_t got = ::read(steps_.get(), piece.data(), piece.size());
  if (got > 0) step_text_.append(piece.data(), static_cast<size_t>(got));
  const size_t end = step_text_.find('\n');
  if (end != std::string::npos) {
    const auto step = parse_number(std::string_view(step_text_).substr(0, end), 0, INT64_MAX);
    if (step) orders_->began(*step);
  }
  // Kept open where more may come, for a rank that writes must find a reader.
  if (got <= 0 || end != std::string::npos || step_text_.size() > kMostDigits) steps_ = UniqueFd();
}

void RankRound::pass_on(int number) {
  for (const Rank& rank : ranks_) {
    if (rank.running) ::kill(-rank.process.pid, number);
  }
}

void RankRound::kill_all() {
  for (Rank& rank : ranks_) {
    if (!rank.running) continue;
    rank.killed = true;
    ::kill(-rank.process.pid, SIGKILL);
  }
  kill_at_.reset();
}

// All that have ended by now. Of several the one that a signal has killed counts as the first to fail: the others'
// errors are most likely about the lost connection to it.
void RankRound::look_for_ended() {
  std::vector<size_t> ended;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    Rank& rank = ranks_[i];
    if (!rank.running) continue;
    siginfo_t info{};
    const auto id = static_cast<id_t>(rank.process.pid);
    if (::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) continue;
    reap(rank);
    // What it has said comes before what is said of it.
    read_what_is_there(rank, Stream::kOut);
    read_what_is_there(rank, Stream::kErr);
    if (failed(rank) && ended_as_asked(rank)) {
      stopped_code_ = code_of(rank);
    } else if (failed(rank)) {
      ended.push_back(i);
    }
  }
  if (ended.empty()) return;
  std::ranges::stable_sort(
      ended, std::ranges::greater{}, [&](size_t i) { return WIFSIGNALED(ranks_[i].status); });
  if (!first_) first_ = ended.front();
  if (!stopping_ && !ordered_ && signal_ == 0) stop_others();
}

void RankRound::reap(Rank& rank) {
  // Nothing that it has started outlives a rank that is ended, or a job that fails.
  siginfo_t info{};
  const auto id = static_cast<id_t>(rank.process.pid);
  ::waitid(P_PID, id, &info, WEXITED | WNOWAIT);
  const bool well = info.si_code == CLD_EXITED && info.si_status == 0;
  if (!well || stopping_ || ordered_ || signal_ != 0) ::kill(-rank.process.pid, SIGKILL);
  while (::waitpid(rank.process.pid, &rank.status, 0) < 0) {
    ATOLL_CHECK(errno == EINTR) << "waitpid: " << errno;
  }
  rank.running = false;
}

void RankRound::stop_others() {
  stopping_ = true;
  if (std::ranges::none_of(ranks_, &Rank::running)) return;
  const Rank& rank = ranks_[*first_];
  output_.say(
      fmt::format("atoll: {} {}; the others are stopped", name_of(rank), how_it_ended(rank)));
  pass_on(SIGTERM);
  kill_at_ = Clock::now() + options_.failure_grace;
}

void RankRound::read_from(Rank& rank, Stream stream) {
  UniqueFd& fd = stream == Stream::kOut ? rank.process.out : rank.process.err;
  std::array<char, 1 << 16> piece;
  const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
  if (got > 0) {
    take(rank, stream, {piece.data(), static_cast<size_t>(got)});
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    fd = UniqueFd();  // a terminal ends with EIO
  }
}

// Of an output that somebody still holds open: what the rank itself has written is in the pipe, and a pipe is small.
void RankRound::read_what_is_there(Rank& rank, Stream stream) {
  constexpr int kMostPieces = 64;
  const UniqueFd& fd = stream == Stream::kOut ? rank.process.out : rank.process.err;
  for (int piece = 0; piece < kMostPieces && fd; ++piece) {
    pollfd ready{fd.get(), POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return;
    read_from(rank, stream);
  }
}

void RankRound::stderr_line(Rank& rank, std::string_view line) {
  if (!rank.draws) output_.line(Stream::kErr, rank.number, line);
  rank.tail.add(line, output_.lines());
}

void RankRound::take(Rank& rank, Stream stream, std::string_view bytes) {
  if (stream == Stream::kOut) {
    rank.out.add(bytes,
                 [&](std::string_view line) { output_.line(Stream::kOut, rank.number, line); });
    return;
  }
  if (rank.draws) output_.draw(bytes);
  rank.err.add(bytes, [&](std::string_view line) { stderr_line(rank, line); });
}

void RankRound::finish_output(Rank& rank) {
  rank.out.finish([&](std::string_view line) { output_.line(Stream::kOut, rank.number, line); });
  rank.err.finish([&](std::string_view line) { stderr_line(rank, line); });
}

RoundEnd RankRound::report() {
  RoundEnd end;
  end.exit_code = stopped_code_;
  end.ordered = ordered_ && !first_;
  if (!first_) return end;
  const Rank& rank = ranks_[*first_];
  for (const Rank& other : ranks_) {
    if (other.killed && &other != &rank) {
      output_.say(fmt::format("atoll: {} {}", name_of(other), how_it_ended(other)));
    }
  }
  end.exit_code = code_of(rank);
  end.by_signal = WIFSIGNALED(rank.status);
  end.why = fmt::format("{} {}", name_of(rank), how_it_ended(rank));
  end.last_lines.assign(rank.tail.lines().begin(), rank.tail.lines().end());
  if (rank.killed && signal_ != 0) end.exit_code = kSignalCode + signal_;
  if (!rank.tail.lines().empty() && output_.lines() > rank.tail.last_number()) {
    output_.say(fmt::format("atoll: the last lines of rank {}, which failed first:", rank.number));
    for (const std::string& line : rank.tail.lines()) {
      output_.line(Stream::kErr, rank.number, line);
    }
  }
  output_.say("atoll: " + end.why);
  return end;
}

}  // namespace

void drain_output(MergedOutput& output, LaunchSignals& signals) {
  while (output.waits_for() >= 0) {
    std::array<pollfd, 2> wanted{pollfd{signals.fd(), POLLIN, 0},
                                 pollfd{output.waits_for(), POLLOUT, 0}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    while (const auto number = signals.next()) {
      if (*number != SIGCHLD && *number != SIGWINCH) return;
    }
    output.flush();
  }
}

Result<RoundEnd> run_round(const LaunchOptions& options,
                           LaunchSignals& signals,
                           MergedOutput& output,
                           Listener listener,
                           RoundOrders* orders) {
  ATOLL_CHECK(!options.command.empty() && options.place.local_size >= 1);
  return RankRound(options, signals, output, orders).run(std::move(listener));
}

}  // namespace atl::job
