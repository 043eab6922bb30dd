#include "sagemaker/life_cycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::sagemaker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LifeCycleTest : public testing::Test {
 protected:
  WallTime now_{std::chrono::seconds(1'700'000'000)};
  std::vector<std::string> seen_;
  // A second passes between any two looks at the clock.
  LifeCycle cycle_{"job",
                   "arn:x",
                   {.now = [this] { return now_ += std::chrono::seconds(1); },
                    .entered =
                        [this](const JobRecord& record, const Transition& transition) {
                          seen_.push_back(record.status + "/" + transition.status);
                        }}};
};

TEST_F(LifeCycleTest, goes_through_the_states_of_a_job) {
  for (const char* state : {"Starting",
                            "Downloading",
                            "Training",
                            "Interrupted",
                            "Starting",
                            "Training",
                            "Stopping",
                            "Uploading",
                            "Stopped"}) {
    cycle_.enter(state, "");
  }
  EXPECT_THAT(seen_,
              ElementsAre("InProgress/Starting",
                          "InProgress/Downloading",
                          "InProgress/Training",
                          "InProgress/Interrupted",
                          "InProgress/Starting",
                          "InProgress/Training",
                          "Stopping/Stopping",
                          "Stopping/Uploading",
                          "Stopped/Stopped"));
  EXPECT_TRUE(cycle_.record().has_ended());
}

TEST_F(LifeCycleTest, ends_each_state_when_the_next_one_begins) {
  cycle_.enter("Starting", "");
  cycle_.enter("Training", "");
  cycle_.enter("Completed", "");
  const auto& transitions = cycle_.record().transitions;
  EXPECT_EQ(transitions[0].end, transitions[1].start);
  EXPECT_EQ(transitions[2].end, transitions[2].start);
  EXPECT_EQ(*cycle_.record().training_end - *cycle_.record().training_start,
            std::chrono::seconds(1));
}

TEST_F(LifeCycleTest, keeps_as_much_of_a_failure_as_sagemaker_does_and_no_half_character) {
  cycle_.fail(std::string(2000, 'x') + "ä\x9b; algo-2 ended with exit code 1");
  const std::string& kept = cycle_.record().failure_reason;
  EXPECT_LE(kept.size(), 1024);
  EXPECT_THAT(kept, testing::EndsWith("ä?; algo-2 ended with exit code 1"));
  EXPECT_EQ(cycle_.record().status, "Failed");
}

TEST_F(LifeCycleTest, reads_back_what_it_has_written) {
  cycle_.enter("Starting", "2 hosts");
  cycle_.enter("Training", "");
  cycle_.set_model("s3://b/m");
  cycle_.fail("AlgorithmError: x");
  const auto back = parse_job_record(to_json(cycle_.record()));
  ASSERT_TRUE(back.has_value()) << back.error().to_string();
  EXPECT_EQ(to_json(*back), to_json(cycle_.record()));
  EXPECT_EQ(back->transitions.size(), 3U);
  EXPECT_EQ(back->failure_reason, "AlgorithmError: x");
}

TEST(JobRecord, is_read_from_what_describe_training_job_answers) {
  const auto job = parse_job_record(nlohmann::json::parse(R"({
    "TrainingJobName": "a", "TrainingJobArn": "arn", "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Training", "CreationTime": 1700000000.25,
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/m.tar.gz"}, "BillableTimeInSeconds": 90,
    "SecondaryStatusTransitions": [
      {"Status": "Starting", "StartTime": 1700000000.0, "EndTime": 1700000060.0,
       "StatusMessage": "Preparing the instances\u001b[2J"},
      {"Status": "Training", "StartTime": 1700000060.0}, {"Status": 3}, "x"],
    "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.5, "Timestamp": 1}, {"Value": 1}]})"));
  ASSERT_TRUE(job.has_value()) << job.error().to_string();
  ASSERT_EQ(job->transitions.size(), 2U);
  EXPECT_EQ(job->transitions[0].message, "Preparing the instances [2J");
  EXPECT_FALSE(job->has_ended());
  EXPECT_THAT(job->metrics, ElementsAre(testing::Pair("loss", 0.5)));
  const std::string text = job_text(*job);
  EXPECT_THAT(text, HasSubstr("a  InProgress (Training)\n"));
  EXPECT_THAT(text, HasSubstr("22:13:20 Starting (1 min"));
  EXPECT_THAT(text, HasSubstr("created 2023-11-14 22:13:20 UTC"));
}

TEST(JobRecord, that_is_of_another_kind_is_refused) {
  for (const char* text :
       {"[]", "{}", R"({"TrainingJobName": "a"})", R"({"TrainingJobStatus": 1})"}) {
    EXPECT_FALSE(parse_job_record(nlohmann::json::parse(text)).has_value()) << text;
  }
  EXPECT_TRUE(parse_job_record(nlohmann::json::parse(
                                   R"({"TrainingJobName": "a", "TrainingJobStatus": "b",
                                       "CreationTime": 1e300, "SecondaryStatusTransitions": 3,
                                       "ModelArtifacts": [], "FinalMetricDataList": {}})"))
                  .has_value());
}

}  // namespace
}  // namespace atl::sagemaker
