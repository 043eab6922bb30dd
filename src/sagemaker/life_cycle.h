// How far a job is, in SageMaker's words: what DescribeTrainingJob answers, and what a job on this machine writes down.
//
//   Starting → Downloading → Training → Uploading → Completed
//   Training → Interrupted → Starting → …      a spot instance was taken away
//   Training → Stopping → Uploading → Stopped  asked to stop; MaxRuntimeExceeded where the time was up
//   … → Failed
//
// Source: SageMaker API reference, DescribeTrainingJob (TrainingJobStatus, SecondaryStatus).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::sagemaker {

using WallTime = std::chrono::system_clock::time_point;

struct Transition {
  std::string status;  // "Downloading"
  WallTime start;
  std::optional<WallTime> end;
  std::string message;
};

struct JobRecord {
  std::string name;
  std::string arn;
  std::string status;     // InProgress, Completed, Failed, Stopping, Stopped
  std::string secondary;  // that of the last transition
  std::string failure_reason;
  std::string model;  // where model.tar.gz is
  WallTime created;
  std::optional<WallTime> training_start;
  std::optional<WallTime> training_end;
  std::optional<int64_t> billable_s;
  std::vector<Transition> transitions;
  std::vector<std::pair<std::string, double>> metrics;  // the last value of each

  // Completed, Failed or Stopped: it will not change any more.
  bool has_ended() const;
};

// As DescribeTrainingJob's answer; times are seconds since 1970.
nlohmann::json to_json(const JobRecord& record);
// Takes members that are there and ones of its kind; text is made printable. kIo: it names no job or no status.
Result<JobRecord> parse_job_record(const nlohmann::json& answer);

// "12:03:04 Downloading (2.1 s) channel train: 120 files", in UTC; without a duration while it lasts.
std::string transition_line(const Transition& transition);
// A table for a person.
std::string job_text(const JobRecord& record);

// A job that lives here. Not thread safe.
class LifeCycle {
 public:
  struct Hooks {
    std::function<WallTime()> now;
    std::function<void(const JobRecord&, const Transition&)> entered;  // on each new transition
  };

  LifeCycle(std::string name, std::string arn, Hooks hooks);

  const JobRecord& record() const { return record_; }
  // Ends the transition that lasts, and begins another one.
  void enter(std::string_view secondary, std::string message);
  // → Failed. Of the reason at most kMaxFailureBytes are kept (failure.h), as SageMaker does.
  void fail(std::string_view reason);
  void set_model(std::string uri) { record_.model = std::move(uri); }

 private:
  JobRecord record_;
  const Hooks hooks_;
};

}  // namespace atl::sagemaker
