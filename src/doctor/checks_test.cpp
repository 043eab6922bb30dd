#include "doctor/checks.h"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

namespace atl::doctor {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

Finding finding(std::string_view id, std::string what = {}) {
  return {id, Severity::kOk, std::move(what), "", ""};
}

// Until the stop: what never answers.
void wait_for(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait(lock, stop, [] { return false; });
}

class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    wake_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return is_open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_open_ = false;
};

RunOptions patient() {
  RunOptions options;
  options.step_deadline = std::chrono::hours(1);
  options.cleanup = std::chrono::hours(1);
  return options;
}

std::vector<std::string> words(const RunOutcome& outcome) {
  std::vector<std::string> words;
  for (const Finding& found : outcome.findings) words.push_back(found.what);
  return words;
}

TEST(Checks, run_beside_one_another_and_are_told_in_their_order) {
  Gate second_ran;
  std::vector<Check> checks;
  // The first ends only once the second one has run.
  checks.push_back({{id::kCpu, "first"}, [&](Report& report, const std::stop_token&) {
                      report.add(finding(id::kCpu, "a"));
                      second_ran.wait();
                      report.add(finding(id::kCpu, "b"));
                    }});
  checks.push_back({{id::kGpu, "second"}, [&](Report& report, const std::stop_token&) {
                      report.add(finding(id::kGpu, "c"));
                      second_ran.open();
                    }});
  std::vector<std::string> told;
  RunOptions options = patient();
  options.on_finding = [&](const Finding& found) { told.push_back(found.what); };
  const RunOutcome outcome = run_checks(std::move(checks), options, {});
  EXPECT_THAT(told, ElementsAre("a", "b", "c"));
  EXPECT_THAT(words(outcome), ElementsAre("a", "b", "c"));
  EXPECT_FALSE(outcome.left_behind);
  EXPECT_FALSE(outcome.stopped);
}

TEST(Checks, what_does_not_answer_is_a_finding_and_what_was_found_before_stays) {
  std::atomic<bool> cleaned = false;
  std::vector<Check> checks;
  checks.push_back(
      {{id::kBucket, "asking"}, [&](Report& report, const std::stop_token& stop) {
         report.add(finding(id::kBucket, "it answers"));
         report.step({id::kBucketPut, "writing s3://b/x", Severity::kWarning, "look at the proxy"});
         wait_for(stop);
         report.add(finding(id::kBucketPut, "too late"));
         report.step({id::kBucketDelete, "too late"});
         cleaned = true;
       }});
  checks.push_back({{id::kCpu, "quick"}, [](Report& report, const std::stop_token&) {
                      report.add(finding(id::kCpu, "quick"));
                    }});
  std::atomic<int> hours = 0;
  RunOptions options = patient();
  options.step_deadline = std::chrono::hours(10);
  options.waiting_every = milliseconds(1);
  options.now = [&] { return std::chrono::steady_clock::time_point(std::chrono::hours(hours)); };
  // Time passes once it is all that is under way.
  options.on_waiting = [&](std::span<const std::string> doing) {
    if (doing.size() == 1 && doing[0] == "writing s3://b/x") hours = 11;
  };
  const RunOutcome outcome = run_checks(std::move(checks), options, {});
  ASSERT_THAT(words(outcome),
              ElementsAre("it answers", HasSubstr("writing s3://b/x: no answer within"), "quick"));
  EXPECT_EQ(outcome.findings[1].id, id::kBucketPut);
  EXPECT_EQ(outcome.findings[1].severity, Severity::kWarning);
  EXPECT_EQ(outcome.findings[1].mend, "look at the proxy");
  EXPECT_FALSE(outcome.left_behind);  // it was waited for
  EXPECT_TRUE(cleaned);
}

TEST(Checks, every_step_has_the_whole_time) {
  std::atomic<int> hours = 0;
  std::atomic<int> looks_at_second = 0;
  Gate looked;
  RunOptions options = patient();
  options.step_deadline = std::chrono::hours(10);
  options.waiting_every = milliseconds(1);
  options.now = [&] { return std::chrono::steady_clock::time_point(std::chrono::hours(hours)); };
  options.on_waiting = [&](std::span<const std::string> doing) {
    if (hours == 18 && doing[0] == "second" && ++looks_at_second == 2) looked.open();
  };
  std::vector<Check> checks;
  checks.push_back({{id::kBucket, "first"}, [&](Report& report, const std::stop_token& stop) {
                      const std::stop_callback too_late(stop, [&] { looked.open(); });
                      hours = 9;
                      report.step({id::kBucket, "second"});
                      hours = 18;
                      looked.wait();
                      report.add(finding(id::kBucket, "done"));
                    }});
  EXPECT_THAT(words(run_checks(std::move(checks), options, {})), ElementsAre("done"));
}

TEST(Checks, a_thread_that_nothing_stops_is_left_behind) {
  const auto gate = std::make_shared<Gate>();
  std::vector<Check> checks;
  checks.push_back({{id::kDiskOut, "writing to a dead mount"},
                    [gate](Report&, const std::stop_token&) { gate->wait(); }});
  RunOptions options;
  options.step_deadline = milliseconds(1);
  options.cleanup = milliseconds(1);
  const RunOutcome outcome = run_checks(std::move(checks), options, {});
  EXPECT_TRUE(outcome.left_behind);
  EXPECT_THAT(words(outcome), ElementsAre(HasSubstr("writing to a dead mount: no answer")));
  gate->open();
}

TEST(Checks, a_stop_ends_what_is_under_way_and_keeps_what_is_known) {
  std::stop_source stop;
  std::vector<Check> checks;
  checks.push_back({{id::kCpu, "quick"}, [](Report& report, const std::stop_token&) {
                      report.add(finding(id::kCpu, "known"));
                    }});
  checks.push_back(
      {{id::kBucket, "slow"}, [](Report&, const std::stop_token& token) { wait_for(token); }});
  RunOptions options = patient();
  options.on_finding = [&](const Finding&) { stop.request_stop(); };
  const RunOutcome outcome = run_checks(std::move(checks), options, stop.get_token());
  EXPECT_TRUE(outcome.stopped);
  EXPECT_FALSE(outcome.left_behind);
  EXPECT_THAT(words(outcome), ElementsAre("known"));
}

TEST(Checks, what_is_under_way_is_told) {
  Gate seen;
  std::vector<Check> checks;
  checks.push_back({{id::kBucket, "first"}, [&](Report& report, const std::stop_token&) {
                      report.step({id::kBucketList, "listing s3://b"});
                      seen.wait();
                    }});
  RunOptions options = patient();
  options.waiting_every = milliseconds(1);
  options.on_waiting = [&](std::span<const std::string> doing) {
    if (doing.size() == 1 && doing[0] == "listing s3://b") seen.open();
  };
  EXPECT_THAT(words(run_checks(std::move(checks), options, {})), ElementsAre());
}

TEST(Checks, an_exception_of_a_library_is_a_finding) {
  std::vector<Check> checks;
  checks.push_back({{id::kGpu, "looking"}, [](Report&, const std::stop_token&) {
                      throw std::runtime_error("out of luck");
                    }});
  const RunOutcome outcome = run_checks(std::move(checks), patient(), {});
  EXPECT_THAT(words(outcome), ElementsAre("looking: unexpected: out of luck"));
  EXPECT_EQ(exit_code(outcome.findings), 1);
}

TEST(Checks, no_checks_are_no_findings) {
  EXPECT_TRUE(run_checks({}, patient(), {}).findings.empty());
}

}  // namespace
}  // namespace atl::doctor
