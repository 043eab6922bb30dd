// The whole request is held against botocore's model by tests/training_job_request.py; here is what means something.
#include "sagemaker/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

Json request_of(std::string_view text, std::span<const MetricDefinition> metrics = {}) {
  const auto job = parse_job_file(text, "job.toml");
  EXPECT_TRUE(job.has_value()) << job.error().to_string();
  return training_job_request(*job, metrics);
}

TEST(Request, leaves_out_what_the_file_does_not_say) {
  const Json request = request_of("name = \"a\"\n[output]\nuri = \"s3://b/o\"");
  EXPECT_EQ(request.at("TrainingJobName"), "a");
  EXPECT_EQ(request.at("OutputDataConfig"), (Json{{"S3OutputPath", "s3://b/o"}}));
  for (const char* name : {"InputDataConfig",
                           "HyperParameters",
                           "VpcConfig",
                           "Environment",
                           "Tags",
                           "CheckpointConfig",
                           "ProfilerConfig",
                           "RetryStrategy",
                           "EnableManagedSpotTraining",
                           "EnableNetworkIsolation"}) {
    EXPECT_FALSE(request.contains(name)) << name;
  }
}

TEST(Request, has_a_channel_from_a_bucket_and_one_from_a_file_system) {
  const Json request = request_of(
      "[channels.a]\nuri = \"s3://b/a\"\nmode = \"FastFile\"\nsharded = true\n"
      "[channels.b]\nfsx = \"fs-01234567\"\ndirectory = \"/abcdefgh/x\"");
  const Json& channels = request.at("InputDataConfig");
  EXPECT_EQ(channels.at(0).at("DataSource").at("S3DataSource").at("S3DataDistributionType"),
            "ShardedByS3Key");
  EXPECT_EQ(channels.at(0).at("InputMode"), "FastFile");
  EXPECT_EQ(channels.at(1).at("DataSource").at("FileSystemDataSource"),
            (Json{{"FileSystemId", "fs-01234567"},
                  {"FileSystemType", "FSxLustre"},
                  {"FileSystemAccessMode", "ro"},
                  {"DirectoryPath", "/abcdefgh/x"}}));
}

TEST(Request, has_the_hyperparameter_in_place_of_a_channel_that_is_read_in_place) {
  const Json request = request_of("[channels.a]\nuri = \"s3://b/a\"\nmode = \"InPlace\"");
  EXPECT_FALSE(request.contains("InputDataConfig"));
  EXPECT_EQ(request.at("HyperParameters"), (Json{{"data.path", "s3://b/a"}}));
}

TEST(Request, waits_for_spot_instances_as_long_as_the_job_may_run_unless_told_otherwise) {
  EXPECT_EQ(request_of("[spot]\nenabled = true\n[stopping]\nmax_runtime_s = 60")
                .at("StoppingCondition")
                .at("MaxWaitTimeInSeconds"),
            60);
  const Json request = request_of("[spot]\nenabled = true\nmax_wait_s = 100000");
  EXPECT_EQ(request.at("StoppingCondition").at("MaxWaitTimeInSeconds"), 100000);
  EXPECT_EQ(request.at("EnableManagedSpotTraining"), true);
}

TEST(Request, names_the_metrics) {
  const std::vector<MetricDefinition> metrics = {{"train:loss", "loss ([0-9.]+)"}};
  EXPECT_EQ(request_of("", metrics).at("AlgorithmSpecification").at("MetricDefinitions"),
            Json::array({Json{{"Name", "train:loss"}, {"Regex", "loss ([0-9.]+)"}}}));
}

TEST(Request, switches_the_profiler_off_only_when_told_to) {
  EXPECT_EQ(request_of("[profiler]\nenabled = false").at("ProfilerConfig"),
            (Json{{"DisableProfiler", true}}));
}

}  // namespace
}  // namespace atl::sagemaker
