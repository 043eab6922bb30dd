// Training jobs and their logs at services that somebody else wrote: moto's. It knows the protocols' shape and believes every
// signature; its jobs are Completed as soon as they are made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "moto_client.h"
#include "sagemaker/job_file.h"
#include "sagemaker/request.h"
#include "sagemaker/training_jobs.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

class TrainingJobTest : public aws::MotoTest {
 protected:
  // moto may have jobs of an earlier run of this test.
  static std::string new_name() {
    const auto now = std::chrono::system_clock::now().time_since_epoch().count();
    return "job-" + std::to_string(now);
  }

  static Json request(const std::string& name) {
    const auto job = parse_job_file(
        "image = \"123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1\"\n"
        "role = \"arn:aws:iam::123456789012:role/job\"\nname = \"" +
            name +
            "\"\n"
            "[instances]\ntype = \"ml.m5.large\"\n[output]\nuri = \"s3://bucket/jobs\"\n"
            "[channels.train]\nuri = \"s3://bucket/coco\"\n[hyperparameters]\npreset = \"tiny\"\n",
        "job.toml");
    EXPECT_TRUE(job.has_value()) << job.error().to_string();
    return training_job_request(*job, {});
  }

  void must(const aws::AwsResult<Json>& answer) {
    ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  }
};

TEST_F(TrainingJobTest, is_submitted_and_described) {
  const std::string name = new_name();
  const auto arn = submit_job(*client_, request(name));
  ASSERT_TRUE(arn.has_value()) << arn.error().to_string();
  EXPECT_THAT(*arn, EndsWith("training-job/" + name));
  const auto job = wait_for_job(*client_, name, {}, {});
  ASSERT_TRUE(job.has_value()) << job.error().to_string();
  EXPECT_EQ(job->name, name);
  EXPECT_EQ(job->status, "Completed");
  EXPECT_EQ(job->model, "s3://bucket/jobs/" + name + "/output/model.tar.gz");
  EXPECT_FALSE(job->transitions.empty());
  // It cannot be stopped any more, and need not be.
  EXPECT_EQ(stop_job(*client_, name).value().status, "Completed");
}

TEST_F(TrainingJobTest, that_is_not_there_is_told_from_other_failures) {
  const auto job = describe_job(*client_, new_name());
  ASSERT_FALSE(job.has_value());
  EXPECT_EQ(job.error().code, ErrorCode::kNotFound) << job.error().to_string();
}

TEST_F(TrainingJobTest, is_read_from_cloudwatch) {
  const std::string name = new_name();
  ASSERT_TRUE(submit_job(*client_, request(name)).has_value());
  EXPECT_EQ(read_logs(*client_, name, {}, [](const LogLine&) {}, {}).error().code,
            ErrorCode::kNotFound);
  const Json group = {{"logGroupName", "/aws/sagemaker/TrainingJobs"}};
  // Which an earlier test may have made.
  (void)client_->call(aws::kCloudWatchLogs, "CreateLogGroup", group);
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  for (int host = 1; host <= 2; ++host) {
    Json stream = group;
    stream["logStreamName"] = name + "/algo-" + std::to_string(host) + "-1700000000";
    must(client_->call(aws::kCloudWatchLogs, "CreateLogStream", stream));
    for (int line = 0; line < 2; ++line) {
      stream["logEvents"].push_back(
          {{"timestamp", now + line * 10 + host}, {"message", "line " + std::to_string(line)}});
    }
    must(client_->call(aws::kCloudWatchLogs, "PutLogEvents", stream));
  }
  std::vector<std::string> lines;
  const auto read =
      read_logs(*client_,
                name,
                {},
                [&](const LogLine& line) { lines.push_back(line.host + " " + line.text); },
                {});
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  EXPECT_THAT(lines,
              ElementsAre("algo-1 line 0", "algo-2 line 0", "algo-1 line 1", "algo-2 line 1"));
}

TEST_F(TrainingJobTest, answers_to_the_query_protocol) {
  const auto identity = client_->query(aws::kSts, "GetCallerIdentity", {});
  ASSERT_TRUE(identity.has_value()) << identity.error().to_string();
  EXPECT_STREQ(identity->result.child_value("Account"), "123456789012");
  const auto vpc = client_->query(aws::kEc2, "DescribeVpcs", {{"VpcId.1", "vpc-0123"}});
  ASSERT_FALSE(vpc.has_value());
  EXPECT_EQ(vpc.error().service_code, "InvalidVpcID.NotFound");
  EXPECT_EQ(vpc.error().code, ErrorCode::kNotFound);
  const auto role = client_->query(aws::kIam, "GetRole", {{"RoleName", "none"}});
  ASSERT_FALSE(role.has_value());
  EXPECT_EQ(role.error().service_code, "NoSuchEntity");
}

}  // namespace
}  // namespace atl::sagemaker
