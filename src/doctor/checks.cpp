#include "doctor/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/bytes.h"
#include "base/check.h"

namespace atl::doctor {
namespace {

using Clock = std::chrono::steady_clock;

bool is_known(std::string_view id) { return std::ranges::count(finding_ids(), id) == 1; }

// What the threads of the checks and the one that waits for them share. It belongs to all of them, for a thread that
// cannot be stopped goes on when nobody waits any more.
struct Progress {
  std::mutex mutex;
  std::condition_variable changed;
};

class RunningCheck : public Report {
 public:
  RunningCheck(std::shared_ptr<Progress> progress,
               Step first,
               std::function<Clock::time_point()> now)
      : progress_(std::move(progress)),
        now_(std::move(now)),
        step_(std::move(first)),
        began_(now_()) {
    ATOLL_CHECK(is_known(step_.id)) << step_.id;
  }

  void add(Finding finding) override {
    ATOLL_CHECK(is_known(finding.id)) << finding.id;
    const std::lock_guard lock(progress_->mutex);
    if (is_closed_) return;
    findings_.push_back(std::move(finding));
    progress_->changed.notify_all();
  }

  void step(Step step) override {
    ATOLL_CHECK(is_known(step.id)) << step.id;
    const std::lock_guard lock(progress_->mutex);
    if (is_closed_) return;
    step_ = std::move(step);
    began_ = now_();
  }

  std::stop_token stop_token() const { return stop_.get_token(); }

  void fail_with(const char* reason) {
    std::string what;
    {
      const std::lock_guard lock(progress_->mutex);
      what = fmt::format("{}: unexpected: {}", step_.doing, reason);
    }
    add({step_.id, Severity::kFailure, std::move(what), "", ""});
  }

  void end() {
    const std::lock_guard lock(progress_->mutex);
    is_closed_ = true;
    has_ended_ = true;
    progress_->changed.notify_all();
  }

  // The rest is for the thread that waits, with the mutex held.
  bool is_closed() const { return is_closed_; }
  bool has_ended() const { return has_ended_; }
  const std::string& doing() const { return step_.doing; }
  Clock::duration left(std::chrono::milliseconds patience) const {
    return began_ + patience - now_();
  }
  const std::vector<Finding>& findings() const { return findings_; }

  void give_up(std::chrono::milliseconds patience) {
    findings_.push_back(
        {step_.id,
         step_.if_stuck,
         fmt::format("{}: no answer within {}", step_.doing, format_duration(patience)),
         "",
         step_.mend});
    is_closed_ = true;
  }
  void close() { is_closed_ = true; }
  // Without the mutex: the callbacks of a stop run here.
  void request_stop() { stop_.request_stop(); }

 private:
  const std::shared_ptr<Progress> progress_;
  const std::function<Clock::time_point()> now_;
  Step step_;
  Clock::time_point began_;
  bool is_closed_ = false;
  bool has_ended_ = false;
  std::vector<Finding> findings_;
  std::stop_source stop_;
};

class Run {
 public:
  Run(std::vector<Check> checks, const RunOptions& options) : options_(options) {
    for (Check& check : checks) {
      auto running = std::make_shared<RunningCheck>(progress_, std::move(check.first), options.now);
      checks_.push_back(running);
      start(std::move(running), std::move(check.run));
    }
  }
  // What has ended is gone; what hangs is left behind.
  ~Run() {
    for (size_t i = 0; i < checks_.size(); ++i) {
      if (!threads_[i].joinable()) continue;
      if (has_ended(*checks_[i])) {
        threads_[i].join();
      } else {
        threads_[i].detach();
      }
    }
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  RunOutcome wait(const std::stop_token& stop) {
    std::unique_lock lock(progress_->mutex);
    // Without the mutex, which this thread may hold when it waits for the callback to end: should the call come too
    // early, the next look is soon.
    const std::stop_callback wake(stop, [this] { progress_->changed.notify_all(); });
    while (!stop.stop_requested()) {
      show(lock);
      give_up_late_ones(lock);
      if (std::ranges::all_of(checks_, [](const auto& check) { return check->is_closed(); })) break;
      tell_what_is_under_way(lock);
      progress_->changed.wait_for(lock, until_next_look());
    }
    outcome_.stopped =
        !std::ranges::all_of(checks_, [](const auto& check) { return check->is_closed(); });
    show(lock);
    clean_up(lock);
    return std::move(outcome_);
  }

 private:
  using Lock = std::unique_lock<std::mutex>;

  // A machine that has no thread left is one of those that are looked at: then one check follows another.
  void start(std::shared_ptr<RunningCheck> check,
             std::function<void(Report&, const std::stop_token&)> run) {
    try {
      threads_.emplace_back(carry_out, check, run);
    } catch (const std::system_error&) {
      threads_.emplace_back();
      carry_out(check, std::move(run));
    }
  }

  static void carry_out(const std::shared_ptr<RunningCheck>& check,
                        std::function<void(Report&, const std::stop_token&)> run) {
    try {
      run(*check, check->stop_token());
    } catch (const std::exception& error) {
      check->fail_with(error.what());
    }
    run = nullptr;  // what it holds goes before anybody may believe that it has gone
    check->end();
  }

  bool has_ended(const RunningCheck& check) const {
    const std::lock_guard lock(progress_->mutex);
    return check.has_ended();
  }

  // What comes next in order, as far as it is known.
  void show(Lock& lock) {
    while (shown_check_ < checks_.size()) {
      const RunningCheck& check = *checks_[shown_check_];
      if (shown_finding_ < check.findings().size()) {
        Finding finding = check.findings()[shown_finding_++];
        lock.unlock();
        if (options_.on_finding) options_.on_finding(finding);
        lock.lock();
        outcome_.findings.push_back(std::move(finding));
      } else if (check.is_closed()) {
        ++shown_check_;
        shown_finding_ = 0;
      } else {
        return;
      }
    }
  }

  void give_up_late_ones(Lock& lock) {
    std::vector<std::shared_ptr<RunningCheck>> late;
    for (const auto& check : checks_) {
      if (check->is_closed() || check->left(options_.step_deadline) > Clock::duration(0)) continue;
      check->give_up(options_.step_deadline);
      late.push_back(check);
    }
    if (late.empty()) return;
    lock.unlock();
    for (const auto& check : late) check->request_stop();
    lock.lock();
    show(lock);
  }

  void tell_what_is_under_way(Lock& lock) {
    if (!options_.on_waiting) return;
    std::vector<std::string> doing;
    for (const auto& check : checks_) {
      if (!check->is_closed()) doing.push_back(check->doing());
    }
    lock.unlock();
    options_.on_waiting(doing);
    lock.lock();
  }

  Clock::duration until_next_look() const {
    Clock::duration next = options_.waiting_every;
    for (const auto& check : checks_) {
      if (!check->is_closed()) next = std::min(next, check->left(options_.step_deadline));
    }
    return next;
  }

  void clean_up(Lock& lock) {
    for (const auto& check : checks_) check->close();
    lock.unlock();
    for (const auto& check : checks_) check->request_stop();
    lock.lock();
    const auto all_ended = [this] {
      return std::ranges::all_of(checks_, [](const auto& check) { return check->has_ended(); });
    };
    outcome_.left_behind = !progress_->changed.wait_for(lock, options_.cleanup, all_ended);
  }

  const RunOptions& options_;
  const std::shared_ptr<Progress> progress_ = std::make_shared<Progress>();
  std::vector<std::shared_ptr<RunningCheck>> checks_;
  std::vector<std::thread> threads_;  // of each check
  size_t shown_check_ = 0;
  size_t shown_finding_ = 0;
  RunOutcome outcome_;
};

}  // namespace

RunOutcome run_checks(std::vector<Check> checks,
                      const RunOptions& options,
                      const std::stop_token& stop) {
  return Run(std::move(checks), options).wait(stop);
}

}  // namespace atl::doctor
