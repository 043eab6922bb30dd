#include "sagemaker/training_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/fake_aws.h"

namespace atl::sagemaker {
namespace {

using aws::FakeAws;
using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

Json job_json(std::string_view status, const std::vector<std::string>& transitions = {}) {
  Json json = {{"TrainingJobName", "a"},
               {"TrainingJobArn", "arn:a"},
               {"TrainingJobStatus", status},
               {"SecondaryStatus", transitions.empty() ? "Starting" : transitions.back()},
               {"RoleArn", "role"},
               {"HyperParameters", {{"x", "1"}, {"y", "2"}}}};
  double time = 1'700'000'000;
  for (const std::string& transition : transitions) {
    json["SecondaryStatusTransitions"].push_back({{"Status", transition}, {"StartTime", ++time}});
  }
  return json;
}

const Json& request() {
  static const Json json = {
      {"TrainingJobName", "a"}, {"RoleArn", "role"}, {"HyperParameters", {{"x", "1"}, {"y", "2"}}}};
  return json;
}

TEST(SubmitJob, gives_the_arn) {
  FakeAws aws([](const FakeAws::Request&) { return FakeAws::json({{"TrainingJobArn", "arn:a"}}); });
  const auto client = aws.client();
  EXPECT_EQ(submit_job(*client, request()).value(), "arn:a");
  EXPECT_EQ(aws.requests().at(0).json(), request());
}

TEST(SubmitJob, says_that_the_name_is_taken) {
  FakeAws aws([](const FakeAws::Request&) { return FakeAws::refusal(400, "ResourceInUse", "x"); });
  const auto client = aws.client();
  const auto submitted = submit_job(*client, request());
  EXPECT_EQ(submitted.error().code, ErrorCode::kConflict);
  EXPECT_THAT(submitted.error().to_string(), HasSubstr("--unique"));
  EXPECT_THAT(aws.operations(), ElementsAre("CreateTrainingJob"));
}

// The first answer gets lost, the second try finds what the first has made, or somebody else's.
Result<std::string> submit_after_a_lost_answer(const Json& job_there) {
  int creates = 0;
  FakeAws aws([&](const FakeAws::Request& asked) -> Result<storage::HttpResponse> {
    if (asked.operation == "DescribeTrainingJob") return FakeAws::json(job_there);
    if (++creates == 1) return storage::FakeHttp::no_connection();
    return FakeAws::refusal(400, "ResourceInUse", "Training job names must be unique");
  });
  const auto client = aws.client();
  return submit_job(*client, request());
}

TEST(SubmitJob, takes_a_job_for_its_own_whose_answer_was_lost) {
  EXPECT_EQ(submit_after_a_lost_answer(job_json("InProgress")).value(), "arn:a");
}

TEST(SubmitJob, does_not_take_another_job_for_its_own) {
  Json other = job_json("InProgress");
  other["HyperParameters"]["x"] = "3";
  EXPECT_EQ(submit_after_a_lost_answer(other).error().code, ErrorCode::kConflict);
  EXPECT_EQ(submit_after_a_lost_answer(job_json("Completed")).error().code, ErrorCode::kConflict);
}

TEST(SubmitJob, says_which_permission_is_missing) {
  FakeAws aws([](const FakeAws::Request&) {
    return FakeAws::refusal(400,
                            "AccessDeniedException",
                            "User: u is not authorized to perform: iam:PassRole on resource: r");
  });
  const auto client = aws.client();
  EXPECT_THAT(submit_job(*client, request()).error().to_string(),
              HasSubstr("the role or user that asks needs iam:PassRole"));
}

TEST(DescribeJob, says_that_there_is_none) {
  FakeAws aws([](const FakeAws::Request&) {
    return FakeAws::refusal(400, "ValidationException", "Requested resource not found.");
  });
  const auto client = aws.client();
  const auto job = describe_job(*client, "a");
  EXPECT_EQ(job.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(job.error().to_string(), HasSubstr("no training job a in eu-central-1"));
}

TEST(StopJob, asks_only_for_a_job_that_runs) {
  bool ended = false;
  FakeAws aws([&](const FakeAws::Request& asked) {
    if (asked.operation == "StopTrainingJob") return storage::FakeHttp::response(200, "");
    return FakeAws::json(job_json(ended ? "Completed" : "InProgress"));
  });
  const auto client = aws.client();
  EXPECT_TRUE(stop_job(*client, "a").has_value());
  EXPECT_THAT(aws.operations(),
              ElementsAre("DescribeTrainingJob", "StopTrainingJob", "DescribeTrainingJob"));
  ended = true;
  EXPECT_EQ(stop_job(*client, "a").value().status, "Completed");
  EXPECT_EQ(aws.requests().size(), 4U);
}

TEST(StopJob, finds_that_the_job_has_ended_meanwhile) {
  int described = 0;
  FakeAws aws([&](const FakeAws::Request& asked) {
    if (asked.operation == "StopTrainingJob") {
      return FakeAws::refusal(400, "ValidationException", "The request was rejected");
    }
    return FakeAws::json(job_json(++described == 1 ? "InProgress" : "Failed"));
  });
  const auto client = aws.client();
  EXPECT_EQ(stop_job(*client, "a").value().status, "Failed");
}

TEST(WaitForJob, shows_each_transition_once_until_the_job_has_ended) {
  int described = 0;
  FakeAws aws([&](const FakeAws::Request&) {
    switch (++described) {
      case 1:
        return FakeAws::json(job_json("InProgress", {"Starting"}));
      case 2:
        return FakeAws::refusal(400, "ThrottlingException", "Rate exceeded");
      case 3:
        return FakeAws::json(job_json("InProgress", {"Starting", "Downloading", "Training"}));
      default:
        return FakeAws::json(job_json("Failed", {"Starting", "Downloading", "Training", "Failed"}));
    }
  });
  const auto client = aws.client();
  std::vector<std::string> seen;
  int pauses = 0;
  Waiting waiting;
  waiting.pause = [&](std::chrono::milliseconds) { ++pauses; };
  waiting.entered = [&](const Transition& transition) { seen.push_back(transition.status); };
  EXPECT_EQ(wait_for_job(*client, "a", waiting, {}).value().status, "Failed");
  EXPECT_THAT(seen, ElementsAre("Starting", "Downloading", "Training", "Failed"));
  EXPECT_EQ(pauses, 2);
}

TEST(WaitForJob, leaves_the_job_alone_when_it_is_told_to_stop) {
  FakeAws aws([&](const FakeAws::Request&) { return FakeAws::json(job_json("InProgress")); });
  const auto client = aws.client();
  std::stop_source stop;
  Waiting waiting;
  waiting.pause = [&](std::chrono::milliseconds) { stop.request_stop(); };
  const auto job = wait_for_job(*client, "a", waiting, stop.get_token());
  EXPECT_EQ(job.error().code, ErrorCode::kCancelled);
  EXPECT_THAT(job.error().to_string(),
              testing::AllOf(HasSubstr("it goes on"), HasSubstr(" --sagemaker --wait\"")));
  EXPECT_THAT(aws.operations(), ElementsAre("DescribeTrainingJob"));
}

// CloudWatch with two streams, whose pages come as they do there: a token that repeats is the end.
class FakeLogs {
 public:
  explicit FakeLogs(std::map<std::string, std::vector<Json>> pages) : pages_(std::move(pages)) {}

  std::string status = "Completed";

  Result<storage::HttpResponse> answer(const FakeAws::Request& asked) {
    if (asked.operation == "DescribeTrainingJob") return FakeAws::json(job_json(status));
    const Json input = asked.json();
    EXPECT_EQ(input.at("logGroupName"), "/aws/sagemaker/TrainingJobs");
    if (asked.operation == "DescribeLogStreams") return streams(input);
    const auto& pages = pages_.at(input.at("logStreamName"));
    const std::string token = input.value("nextToken", "t0");
    const size_t page = std::stoul(token.substr(1));
    const bool at_end = page >= pages.size();
    return FakeAws::json({{"events", at_end ? Json::array() : pages[page]},
                          {"nextForwardToken", at_end ? token : "t" + std::to_string(page + 1)}});
  }

  std::map<std::string, std::vector<Json>>& pages() { return pages_; }

 private:
  // One to a page.
  Result<storage::HttpResponse> streams(const Json& input) {
    EXPECT_EQ(input.at("logStreamNamePrefix"), "a/");
    if (pages_.empty()) return FakeAws::refusal(400, "ResourceNotFoundException", "no group");
    const size_t index = std::stoul(input.value("nextToken", "0"));
    Json answer = {
        {"logStreams",
         Json::array({{{"logStreamName",
                        std::next(pages_.begin(), static_cast<ptrdiff_t>(index))->first}}})}};
    if (index + 1 < pages_.size()) answer["nextToken"] = std::to_string(index + 1);
    return FakeAws::json(answer);
  }

  std::map<std::string, std::vector<Json>> pages_;
};

Json event(int64_t time, const std::string& text) {
  return {{"timestamp", time}, {"message", text}};
}

struct LogReading {
  std::vector<std::string> lines;
  Result<void> result;
};

LogReading read(FakeLogs& logs,
                bool follow = false,
                const std::function<void(int round)>& between = nullptr) {
  FakeAws aws([&](const FakeAws::Request& asked) { return logs.answer(asked); });
  const auto client = aws.client();
  LogReading reading;
  int round = 0;
  Following following;
  following.follow = follow;
  following.pause = [&](std::chrono::milliseconds) {
    if (between) between(++round);
  };
  reading.result =
      read_logs(*client,
                "a",
                following,
                [&](const LogLine& line) { reading.lines.push_back(line.host + ": " + line.text); },
                {});
  return reading;
}

TEST(ReadLogs, merges_the_pages_of_all_hosts_by_time) {
  FakeLogs logs(
      {{"a/algo-1-1700",
        {Json::array({event(1, "one\n"), event(4, "four")}),
         Json::array(),
         Json::array({event(5, "five")})}},
       {"a/algo-2-1700",
        {Json::array({event(2, "two"), event(3, "three")}), Json::array({event(6, "six")})}}});
  const auto reading = read(logs);
  ASSERT_TRUE(reading.result.has_value()) << reading.result.error().to_string();
  EXPECT_THAT(reading.lines,
              ElementsAre("algo-1: one",
                          "algo-2: two",
                          "algo-2: three",
                          "algo-1: four",
                          "algo-1: five",
                          "algo-2: six"));
}

TEST(ReadLogs, follows_a_job_to_its_end_and_reads_nothing_twice) {
  FakeLogs logs({});
  logs.status = "InProgress";
  const auto reading = read(logs, true, [&](int round) {
    // The stream begins, gets a page more, the job ends, and its last line comes late.
    if (round == 1) logs.pages()["a/algo-1-1"] = {Json::array({event(1, "one")})};
    if (round == 2) logs.pages()["a/algo-1-1"].push_back(Json::array({event(2, "two")}));
    if (round == 3) logs.status = "Completed";
    if (round == 4) logs.pages()["a/algo-1-1"].push_back(Json::array({event(3, "three")}));
  });
  ASSERT_TRUE(reading.result.has_value()) << reading.result.error().to_string();
  EXPECT_THAT(reading.lines, ElementsAre("algo-1: one", "algo-1: two", "algo-1: three"));
}

TEST(ReadLogs, says_that_nothing_has_been_logged_yet) {
  FakeLogs logs({});
  const auto reading = read(logs);
  EXPECT_EQ(reading.result.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(reading.result.error().to_string(), HasSubstr("nothing yet"));
}

}  // namespace
}  // namespace atl::sagemaker
