// `atoll job` with the services that somebody else wrote, moto's, as a person runs it. What the calls themselves do is
// training_job_test.cpp's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cli/program_fixture.h"
#include "moto_client.h"

namespace atl::cli {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class JobCommands : public aws::MotoTest {
 protected:
  void SetUp() override {
    MotoTest::SetUp();
    write("job.toml",
          "name = \"" + name_ +
              "\"\nimage = \"123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:v1\"\n"
              "role = \"arn:aws:iam::123456789012:role/job\"\n"
              "[instances]\ntype = \"ml.m5.large\"\n[output]\nuri = \"s3://bucket/jobs\"\n"
              "[channels.train]\nuri = \"s3://bucket/coco\"\n");
  }

  void write(const std::string& file, const std::string& text) {
    std::ofstream(directory_.path() / file) << text;
  }
  Outcome atoll(const std::string& arguments) {
    const std::string environment = "env -i PATH=\"$PATH\" HOME=" + directory_.path().string() +
                                    " AWS_ACCESS_KEY_ID=testaccess"
                                    " AWS_SECRET_ACCESS_KEY=testsecretkey123"
                                    " AWS_REGION=eu-central-1 AWS_ENDPOINT_URL=" +
                                    endpoint_url_;
    return run_program(
        environment + " " ATOLL_BINARY_DIR "/bin/atoll", arguments, directory_.path());
  }
  // As a host of the job writes them.
  void log(int host, const std::vector<std::string>& lines) {
    Json stream = {{"logGroupName", "/aws/sagemaker/TrainingJobs"}};
    // Which an earlier test may have made.
    (void)client_->call(aws::kCloudWatchLogs, "CreateLogGroup", stream);
    stream["logStreamName"] = name_ + "/algo-" + std::to_string(host) + "-1700000000";
    must(client_->call(aws::kCloudWatchLogs, "CreateLogStream", stream));
    auto time = std::chrono::duration_cast<std::chrono::milliseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count();
    for (const std::string& line : lines) {
      stream["logEvents"].push_back({{"timestamp", time++}, {"message", line}});
    }
    must(client_->call(aws::kCloudWatchLogs, "PutLogEvents", stream));
  }
  static void must(const aws::AwsResult<Json>& answer) {
    ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
  }

  const TemporaryDirectory directory_;
  // moto may have jobs of an earlier run of this test.
  const std::string name_ =
      "commands-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
};

TEST_F(JobCommands, submit_watch_and_read_a_job) {
  const Outcome unknown = atoll("job status " + name_);
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("there is no training job " + name_ + " in eu-central-1"));

  const Outcome submitted = atoll("job submit job.toml --wait");
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  EXPECT_THAT(submitted.out,
              AllOf(StartsWith("arn:aws:sagemaker:eu-central-1:"),
                    HasSubstr(":training-job/" + name_ + "\n" + name_ + "  Completed\n"),
                    HasSubstr("s3://bucket/jobs/" + name_ + "/output/model.tar.gz")));
  EXPECT_THAT(submitted.err, AllOf(StartsWith("-- "), HasSubstr(" Starting")));

  const Outcome silent = atoll("job logs " + name_);
  EXPECT_EQ(silent.exit_code, 2);
  EXPECT_THAT(silent.err, HasSubstr(name_ + " has logged nothing yet"));
  log(1, {"first", "second"});
  const Outcome logs = atoll("job logs " + name_);
  EXPECT_EQ(logs.exit_code, 0) << logs.err;
  EXPECT_EQ(logs.out, "[algo-1] first\n[algo-1] second\n");
}

TEST_F(JobCommands, tell_a_job_from_one_of_this_machine_of_the_same_name) {
  ASSERT_EQ(atoll("job submit job.toml").exit_code, 0);
  log(1, {"there"});
  write("here.toml", "name = \"" + name_ + "\"\n");
  write("train.sh", "#!/bin/sh\necho here\nexit 4\n");
  ASSERT_EQ(::chmod((directory_.path() / "train.sh").c_str(), S_IRWXU), 0);
  EXPECT_EQ(atoll("job run here.toml --program ./train.sh").exit_code, 1);

  EXPECT_THAT(atoll("job status " + name_).out, StartsWith(name_ + "  Failed\n"));
  const Outcome status = atoll("job status --wait --sagemaker " + name_);
  EXPECT_EQ(status.exit_code, 0) << status.err;
  EXPECT_THAT(status.out, StartsWith(name_ + "  Completed\n"));
  EXPECT_EQ(atoll("job logs " + name_).out, "here\n");
  EXPECT_EQ(atoll("job logs --sagemaker " + name_).out, "[algo-1] there\n");
  // It has ended, and so it need not be stopped.
  EXPECT_EQ(atoll("job stop --sagemaker " + name_).out, name_ + "  Completed\n");
}

}  // namespace
}  // namespace atl::cli
