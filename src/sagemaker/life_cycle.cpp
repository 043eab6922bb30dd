#include "sagemaker/life_cycle.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>

#include "base/bytes.h"
#include "base/utf8.h"
#include "sagemaker/failure.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

double seconds_of(WallTime time) {
  // Milliseconds, as SageMaker's own.
  const auto count = std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
  return static_cast<double>(count) / 1000;
}

std::optional<WallTime> time_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  const auto seconds = found->get<double>();
  // The clock counts nanoseconds in 64 bits: until 2262.
  constexpr double kMost_s = 9'223'372'036.0;
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kMost_s) return std::nullopt;
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::milliseconds(std::llround(seconds * 1000))));
}

// It goes to a terminal: nothing in it moves the cursor.
std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? printable(found->get<std::string>())
                                                     : std::string{};
}

std::string status_of(std::string_view secondary) {
  if (secondary == "Completed" || secondary == "Failed" || secondary == "Stopped" ||
      secondary == "Stopping") {
    return std::string(secondary);
  }
  if (secondary == "MaxRuntimeExceeded" || secondary == "MaxWaitTimeExceeded") return "Stopped";
  return "InProgress";
}

std::string clock_text(WallTime time) {
  return fmt::format("{:%H:%M:%S}", std::chrono::floor<std::chrono::seconds>(time));
}

}  // namespace

bool JobRecord::has_ended() const {
  return status == "Completed" || status == "Failed" || status == "Stopped";
}

Json to_json(const JobRecord& record) {
  Json json = {{"TrainingJobName", record.name},
               {"TrainingJobArn", record.arn},
               {"TrainingJobStatus", record.status},
               {"SecondaryStatus", record.secondary},
               {"CreationTime", seconds_of(record.created)},
               {"SecondaryStatusTransitions", Json::array()}};
  if (!record.failure_reason.empty()) json["FailureReason"] = record.failure_reason;
  json["ModelArtifacts"] = {{"S3ModelArtifacts", record.model}};
  if (record.training_start) json["TrainingStartTime"] = seconds_of(*record.training_start);
  if (record.training_end) json["TrainingEndTime"] = seconds_of(*record.training_end);
  if (record.billable_s) json["BillableTimeInSeconds"] = *record.billable_s;
  for (const auto& [name, value] : record.metrics) {
    json["FinalMetricDataList"].push_back({{"MetricName", name}, {"Value", value}});
  }
  for (const Transition& transition : record.transitions) {
    Json entry = {{"Status", transition.status},
                  {"StartTime", seconds_of(transition.start)},
                  {"StatusMessage", transition.message}};
    if (transition.end) entry["EndTime"] = seconds_of(*transition.end);
    json["SecondaryStatusTransitions"].push_back(std::move(entry));
  }
  return json;
}

Result<JobRecord> parse_job_record(const Json& answer) {
  const auto strange = [] {
    return atl::fail(ErrorCode::kIo, "the answer describes no training job");
  };
  if (!answer.is_object()) return strange();
  JobRecord record;
  record.name = text_of(answer, "TrainingJobName");
  record.arn = text_of(answer, "TrainingJobArn");
  record.status = text_of(answer, "TrainingJobStatus");
  record.secondary = text_of(answer, "SecondaryStatus");
  record.failure_reason = text_of(answer, "FailureReason");
  if (record.name.empty() || record.status.empty()) return strange();
  record.created = time_of(answer, "CreationTime").value_or(WallTime());
  record.training_start = time_of(answer, "TrainingStartTime");
  record.training_end = time_of(answer, "TrainingEndTime");
  if (const auto model = answer.find("ModelArtifacts");
      model != answer.end() && model->is_object()) {
    record.model = text_of(*model, "S3ModelArtifacts");
  }
  if (const auto billable = answer.find("BillableTimeInSeconds");
      billable != answer.end() && billable->is_number_integer()) {
    record.billable_s = billable->get<int64_t>();
  }
  if (const auto list = answer.find("SecondaryStatusTransitions");
      list != answer.end() && list->is_array()) {
    for (const Json& entry : *list) {
      if (!entry.is_object()) continue;
      const auto start = time_of(entry, "StartTime");
      const std::string status = text_of(entry, "Status");
      if (!start || status.empty()) continue;
      record.transitions.push_back(
          {status, *start, time_of(entry, "EndTime"), text_of(entry, "StatusMessage")});
    }
  }
  if (const auto list = answer.find("FinalMetricDataList");
      list != answer.end() && list->is_array()) {
    for (const Json& entry : *list) {
      if (!entry.is_object()) continue;
      const std::string name = text_of(entry, "MetricName");
      const auto value = entry.find("Value");
      if (name.empty() || value == entry.end() || !value->is_number()) continue;
      record.metrics.emplace_back(name, value->get<double>());
    }
  }
  return record;
}

std::string transition_line(const Transition& transition) {
  std::string line = fmt::format("{} {}", clock_text(transition.start), transition.status);
  if (transition.end && *transition.end > transition.start) {
    line += fmt::format(" ({})", format_duration(*transition.end - transition.start));
  }
  if (!transition.message.empty()) line += fmt::format(": {}", transition.message);
  return line;
}

std::string job_text(const JobRecord& record) {
  std::string text = fmt::format("{}  {}", record.name, record.status);
  if (record.secondary != record.status && !record.secondary.empty()) {
    text += fmt::format(" ({})", record.secondary);
  }
  text += "\n";
  if (record.created != WallTime()) {
    text += fmt::format("  created {:%Y-%m-%d %H:%M:%S} UTC\n",
                        std::chrono::floor<std::chrono::seconds>(record.created));
  }
  for (const Transition& transition : record.transitions) {
    text += fmt::format("  {}\n", transition_line(transition));
  }
  if (!record.failure_reason.empty()) text += fmt::format("  reason  {}\n", record.failure_reason);
  if (!record.model.empty()) text += fmt::format("  model   {}\n", record.model);
  for (const auto& [name, value] : record.metrics) {
    text += fmt::format("  metric  {} = {}\n", name, value);
  }
  if (record.training_start && record.training_end) {
    text +=
        fmt::format("  trained {}", format_duration(*record.training_end - *record.training_start));
    if (record.billable_s) {
      text += fmt::format(", billed {}", format_duration(std::chrono::seconds(*record.billable_s)));
    }
    text += "\n";
  }
  return text;
}

LifeCycle::LifeCycle(std::string name, std::string arn, Hooks hooks) : hooks_(std::move(hooks)) {
  record_.name = std::move(name);
  record_.arn = std::move(arn);
  record_.created = hooks_.now();
}

void LifeCycle::enter(std::string_view secondary, std::string message) {
  const WallTime now = hooks_.now();
  if (!record_.transitions.empty()) record_.transitions.back().end = now;
  record_.secondary = secondary;
  // A job that was stopped uploads what it has, and is Stopping until it is Stopped.
  if (secondary != "Uploading" || record_.status != "Stopping") {
    record_.status = status_of(secondary);
  }
  if (secondary == "Training" && !record_.training_start) record_.training_start = now;
  if (record_.has_ended() && record_.training_start) record_.training_end = now;
  Transition transition{std::string(secondary), now, std::nullopt, std::move(message)};
  if (record_.has_ended()) transition.end = now;
  record_.transitions.push_back(std::move(transition));
  if (hooks_.entered) hooks_.entered(record_, record_.transitions.back());
}

void LifeCycle::fail(std::string_view reason) {
  record_.failure_reason = failure_text(reason);
  enter("Failed", "");
}

}  // namespace atl::sagemaker
