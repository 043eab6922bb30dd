// Calls to AWS's services besides S3: signed with our own signer, tried again, understood.
//
//   auto client = ATOLL_TRY(AwsClient::open({}));
//   const auto job = client->call(kSageMaker, "DescribeTrainingJob", {{"TrainingJobName", "first"}});
//   const auto vpcs = client->query(kEc2, "DescribeVpcs", {{"VpcId.1", "vpc-0123"}});
//   if (vpcs) for (pugi::xml_node vpc : vpcs->result.child("vpcSet").children("item")) …
//
// Settings and credentials are found as AWS's own programs find them: flags, environment, profile. The endpoint:
// options, AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's; otherwise AWS's own of the region and its
// partition.
//
// A call waits. No whole answer, throttling and 5xx are tried again, with full jitter, until the deadline; an expired token
// and a clock that is wrong cost one further try each. Nothing here makes a call idempotent: AwsError::tries tells whether
// an earlier try may have been carried out. No message shows a key or a token.
//
// Source: "AWS JSON 1.1 protocol" and "AWS Query protocol" of Smithy's documentation.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/aws_error.h"
#include "aws/service.h"
#include "base/error.h"
#include "storage/s3/aws_profiles.h"
#include "storage/s3/credentials.h"
#include "storage/s3/http.h"
#include "storage/s3/retry.h"

namespace atl::aws {

struct AwsClientOptions {
  // Before what environment and profile say, where not empty.
  std::string endpoint_url;  // of all services
  std::string region;
  std::string profile;
  storage::RetryOptions retries{.first_delay = std::chrono::milliseconds(200),
                                .deadline = std::chrono::milliseconds(60'000)};

  // Of this process and this machine where null; others for tests (fake_aws.h).
  storage::EnvironmentVariable variable;
  storage::HttpPerform http;
  std::shared_ptr<storage::CredentialsProvider> credentials;
  std::function<std::chrono::system_clock::time_point()> now;
  std::function<std::chrono::steady_clock::time_point()> clock;
  std::function<void(std::chrono::milliseconds)> pause;  // between two tries
};

// An answer of the Query protocol. `result` is a node of `document`: <ActionResult> where the service has one (IAM, STS),
// else the response itself (EC2).
struct QueryAnswer {
  std::unique_ptr<pugi::xml_document> document;
  pugi::xml_node result;
};

using QueryParameters = std::vector<std::pair<std::string, std::string>>;

// Thread safe.
class AwsClient {
 public:
  // Asks nothing yet. kInvalidInput: no region is named anywhere, or a setting is not what it should be.
  static Result<std::shared_ptr<AwsClient>> open(AwsClientOptions options);

  const std::string& region() const { return options_.region; }

  // Errors: those of aws_error(); kIo where there was no whole answer or one of another form; kCancelled once `stop` is
  // requested, at the latest when the try under way has ended.
  AwsResult<nlohmann::json> call(const AwsService& service,
                                 std::string_view operation,
                                 const nlohmann::json& input,
                                 const std::stop_token& stop = {});
  AwsResult<QueryAnswer> query(const AwsService& service,
                               std::string_view action,
                               const QueryParameters& parameters,
                               const std::stop_token& stop = {});

 private:
  struct Call;

  explicit AwsClient(AwsClientOptions options);

  AwsResult<std::string> perform(Call& call);
  AwsResult<std::string> attempt(Call& call);
  AwsError refused(Call& call,
                   const storage::HttpResponse& response,
                   const storage::Credentials* credentials,
                   std::chrono::system_clock::time_point signed_at);
  // False: the time is up, and `error` says so.
  bool wait_for_next(Call& call, AwsError& error);
  void rest(std::chrono::milliseconds time, const std::stop_token& stop) const;

  const AwsClientOptions options_;  // complete
  storage::Retries retries_;
  std::atomic<bool> has_answered_ = false;
  std::atomic<int64_t> skew_ms_ = 0;  // AWS's clock minus ours
};

}  // namespace atl::aws
