#include "sagemaker/training_jobs.h"

#include <fmt/format.h>

#include "base/rest.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

// SageMaker says ValidationException to a name that it does not know.
bool is_unknown_job(const aws::AwsError& error) {
  return error.code == ErrorCode::kNotFound ||
         (error.service_code == "ValidationException" &&
          (error.service_message.find("not found") != std::string::npos ||
           error.service_message.find("Could not find") != std::string::npos));
}

tl::unexpected<Error> no_such_job(const aws::AwsClient& client, std::string_view name) {
  return fail(ErrorCode::kNotFound,
              fmt::format("there is no training job {} in {}", name, client.region()),
              "check the name, the account and --region");
}

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

}  // namespace

bool wait_or_stop(std::chrono::milliseconds time,
                  const std::function<void(std::chrono::milliseconds)>& pause,
                  const std::stop_token& stop) {
  if (stop.stop_requested()) return false;
  if (pause) {
    pause(time);
  } else {
    rest(time, stop);
  }
  return !stop.stop_requested();
}

Result<std::string> submit_job(aws::AwsClient& client,
                               const Json& request,
                               const std::stop_token& stop) {
  const std::string name = text_of(request, "TrainingJobName");
  auto answer = client.call(aws::kSageMaker, "CreateTrainingJob", request, stop);
  if (answer) return text_of(*answer, "TrainingJobArn");
  const aws::AwsError& error = answer.error();
  if (error.service_code == "ResourceInUse") {
    if (error.tries > 1) {
      // Ours, if an earlier try got through: then it says what we asked for.
      const auto job =
          client.call(aws::kSageMaker, "DescribeTrainingJob", {{"TrainingJobName", name}}, stop);
      if (job && text_of(*job, "RoleArn") == text_of(request, "RoleArn") &&
          job->value("HyperParameters", Json()) == request.value("HyperParameters", Json()) &&
          text_of(*job, "TrainingJobStatus") == "InProgress") {
        return text_of(*job, "TrainingJobArn");
      }
    }
    return fail(ErrorCode::kConflict,
                fmt::format("there is a training job {} in {} already", name, client.region()),
                "names are never used again: give another one with --name, or --unique");
  }
  return tl::unexpected<Error>(std::move(answer).error());
}

Result<JobRecord> describe_job(aws::AwsClient& client,
                               std::string_view name,
                               const std::stop_token& stop) {
  auto answer =
      client.call(aws::kSageMaker, "DescribeTrainingJob", {{"TrainingJobName", name}}, stop);
  if (!answer && is_unknown_job(answer.error())) return no_such_job(client, name);
  if (!answer) return tl::unexpected<Error>(std::move(answer).error());
  return parse_job_record(*answer);
}

Result<JobRecord> stop_job(aws::AwsClient& client,
                           std::string_view name,
                           const std::stop_token& stop) {
  auto job = ATOLL_TRY(describe_job(client, name, stop));
  if (job.has_ended()) return job;
  const auto answer =
      client.call(aws::kSageMaker, "StopTrainingJob", {{"TrainingJobName", name}}, stop);
  auto now = describe_job(client, name, stop);
  if (answer) return now;
  // It may have ended between the two questions.
  if (now && now->has_ended()) return now;
  return tl::unexpected<Error>(answer.error());
}

Result<JobRecord> wait_for_job(aws::AwsClient& client,
                               std::string_view name,
                               const Waiting& waiting,
                               const std::stop_token& stop) {
  size_t shown = 0;
  while (true) {
    auto job = ATOLL_TRY(describe_job(client, name, stop));
    for (; shown < job.transitions.size(); ++shown) {
      if (waiting.entered) waiting.entered(job.transitions[shown]);
    }
    if (job.has_ended()) return job;
    if (!wait_or_stop(waiting.every, waiting.pause, stop)) {
      return fail(
          ErrorCode::kCancelled,
          fmt::format("no longer waiting for {}; it goes on", name),
          // A job of this machine may have the name, too: it was tried out there.
          fmt::format("\"atoll job status {0} --sagemaker --wait\" waits again, \"atoll job "
                      "stop {0} --sagemaker\" stops it",
                      name));
    }
  }
}

}  // namespace atl::sagemaker
