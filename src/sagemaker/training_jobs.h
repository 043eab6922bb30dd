// Training jobs at SageMaker, and their logs at CloudWatch.
//
// Errors: aws/aws_error.h's, with what to do about them.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "aws/client.h"
#include "base/error.h"
#include "sagemaker/life_cycle.h"

namespace atl::sagemaker {

// Starts a job and gives its ARN. A request whose answer was lost is not sent as another job: where the name is taken after
// further tries, it is looked at who has it. kConflict: another job has this name already.
Result<std::string> submit_job(aws::AwsClient& client,
                               const nlohmann::json& request,
                               const std::stop_token& stop = {});

// kNotFound: there is no such job in this account and region.
Result<JobRecord> describe_job(aws::AwsClient& client,
                               std::string_view name,
                               const std::stop_token& stop = {});

// Returns when SageMaker has taken it up; the job has its 120 s then. A job that has ended is none to be stopped, and no error.
Result<JobRecord> stop_job(aws::AwsClient& client,
                           std::string_view name,
                           const std::stop_token& stop = {});

struct Waiting {
  std::chrono::seconds every{15};
  std::function<void(std::chrono::milliseconds)> pause;  // null: waits, until told to stop
  std::function<void(const Transition&)> entered;        // each transition once
};
// Until it has ended. kCancelled: told to stop; the job goes on.
Result<JobRecord> wait_for_job(aws::AwsClient& client,
                               std::string_view name,
                               const Waiting& waiting,
                               const std::stop_token& stop);

struct LogLine {
  std::string host;  // "algo-1"; "" where the stream has another kind of name
  std::string text;
  int64_t time_ms = 0;  // since 1970
};

struct Following {
  bool follow = false;  // until the job has ended and has nothing more to say
  std::chrono::milliseconds every{5'000};
  std::function<void(std::chrono::milliseconds)> pause;  // as in Waiting
};
// All lines of all hosts, in the order of their times as far as they have come. kNotFound: nothing has been logged yet.
Result<void> read_logs(aws::AwsClient& client,
                       std::string_view name,
                       const Following& following,
                       const std::function<void(const LogLine&)>& line,
                       const std::stop_token& stop);

// Waits, or calls `pause` where there is one; false: told to stop.
bool wait_or_stop(std::chrono::milliseconds time,
                  const std::function<void(std::chrono::milliseconds)>& pause,
                  const std::stop_token& stop);

}  // namespace atl::sagemaker
