// Runs checks beside one another, none for longer than it may: a dead endpoint or a hanging mount costs the
// time of one step, and what was found before it is kept.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "doctor/finding.h"

namespace atl::doctor {

// Something that may take long. When it does, this becomes the finding.
struct Step {
  std::string_view id;
  std::string doing;  // for people, while it lasts: "listing s3://bucket/coco"
  Severity if_stuck = Severity::kFailure;
  std::string mend;  // in the finding
};

// Where a check puts what it finds. Thread safe.
class Report {
 public:
  virtual ~Report() = default;
  virtual void add(Finding finding) = 0;
  // The clock begins anew. After a step that took too long, add() and step() do nothing more.
  virtual void step(Step step) = 0;
};

struct Check {
  Step first;
  // Runs on a thread of its own. When a step has taken too long, `stop` is requested; what it has made it should still
  // take away.
  std::function<void(Report& report, const std::stop_token& stop)> run;
};

struct RunOptions {
  std::chrono::milliseconds step_deadline{10'000};
  // What a check that was stopped may still take to clean up.
  std::chrono::milliseconds cleanup{5'000};
  // In the order of the checks, as soon as what comes before is known.
  std::function<void(const Finding&)> on_finding;
  // What is under way, again and again while something is; called from this thread.
  std::function<void(std::span<const std::string> doing)> on_waiting;
  std::chrono::milliseconds waiting_every{200};
  // For the deadlines of the steps. Tests put their own clock there.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

struct RunOutcome {
  std::vector<Finding> findings;  // in the order of the checks
  // A check hangs where nothing can stop it (a dead network file system). Its thread is left behind: end the process
  // by _exit(), for it may be using anything.
  bool left_behind = false;
  bool stopped = false;  // `stop` was requested before all had ended
};

RunOutcome run_checks(std::vector<Check> checks,
                      const RunOptions& options,
                      const std::stop_token& stop);

}  // namespace atl::doctor
