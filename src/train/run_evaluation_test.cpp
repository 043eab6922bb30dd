// `atoll eval --run`: the checkpoints of a run, evaluated beside it.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

#include "train/small_run.h"

namespace atl::train {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class RunEvaluationTest : public SmallRun {
 protected:
  void make_run(const std::vector<std::string>& more = {}) {
    make_data(8, 3);
    std::vector<std::string> sets = {"train.checkpoint_every=1"};
    sets.insert(sets.end(), more.begin(), more.end());
    finish(config("run", sets));
  }
  Result<std::string> evaluate(bool follow) {
    lines_.clear();
    EvaluateOptions options;
    options.run = path("run");
    options.follow = follow;
    options.look_every = std::chrono::milliseconds(1);
    options.device = "cpu";
    options.threads = 2;
    const Console console{[this](const std::string& line) {
                            lines_.push_back(line);
                            if (on_line_) on_line_(line);
                          },
                          nullptr,
                          {}};
    return run_evaluation(options, console, stop_.get_token());
  }
  void hide(int64_t step) {
    std::filesystem::rename(path("run/" + manifest_key(step)), path(fmt::format("{}", step)));
  }
  void bring_back(int64_t step) {
    std::filesystem::rename(path(fmt::format("{}", step)), path("run/" + manifest_key(step)));
  }
  std::vector<json> log() const {
    std::vector<json> lines;
    std::istringstream all(text("run/eval.jsonl"));
    for (std::string line; std::getline(all, line);) lines.push_back(json::parse(line));
    return lines;
  }
  std::vector<int64_t> logged_steps() const {
    std::vector<int64_t> steps;
    for (const auto& line : log()) steps.push_back(line["step"]);
    return steps;
  }
};

class SameNumbers : public RunEvaluationTest, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Weights,
                         SameNumbers,
                         testing::Values("train.ema_decay=0",
                                         "train.ema_decay=0.9",
                                         "data.limit_val_images=1"));

TEST_P(SameNumbers, as_the_run_s_own_evaluation) {
  make_run({GetParam()});
  const auto result = evaluate(/*follow=*/false);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(*result, text("run/eval.json"));
  EXPECT_THAT(log(), ElementsAre(metrics("run").back()));
  EXPECT_THAT(lines_, Contains(HasSubstr("step 4 of 4: bbox AP ")));
}

TEST_F(RunEvaluationTest, it_goes_on_with_the_newest_until_the_run_s_last_each_once) {
  make_run();
  for (const int64_t step : {3, 4}) hide(step);
  on_line_ = [&](const std::string& line) {
    // While step 2 was evaluated two came; 3 is no longer of interest.
    if (!line.starts_with("step 2 of 4")) return;
    for (const int64_t step : {3, 4}) bring_back(step);
  };
  const auto result = evaluate(/*follow=*/true);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(logged_steps(), ElementsAre(2, 4));
  // Everything is done.
  const std::string before = text("run/eval.jsonl");
  ASSERT_TRUE(evaluate(/*follow=*/true));
  EXPECT_THAT(lines_, Contains(HasSubstr("was evaluated before")));
  EXPECT_EQ(text("run/eval.jsonl"), before);
}

TEST_F(RunEvaluationTest, what_another_that_follows_has_written_stays) {
  make_run();
  hide(4);
  on_line_ = [&](const std::string& line) {
    if (line.starts_with("step 3 of 4")) {  // The other was a little faster, and has gone on.
      std::ofstream(path("run/eval.jsonl")) << "{\"step\":2}\n{\"step\":3}\n";
      bring_back(4);
    }
  };
  const auto result = evaluate(/*follow=*/true);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(logged_steps(), ElementsAre(2, 3, 4));
}

TEST_F(RunEvaluationTest, it_waits_for_a_run_that_has_not_begun) {
  make_run();
  std::filesystem::rename(path("run"), path("later"));
  on_line_ = [&](const std::string& line) {
    if (line.starts_with("following ")) std::filesystem::rename(path("later"), path("run"));
  };
  const auto result = evaluate(/*follow=*/true);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(logged_steps(), ElementsAre(4));
}

TEST_F(RunEvaluationTest, a_stop_ends_it_and_the_same_command_goes_on) {
  make_run();
  hide(4);
  on_line_ = [&](const std::string& line) {
    if (line.starts_with("step 3 of 4")) stop_.request_stop();
  };
  const auto stopped = evaluate(/*follow=*/true);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  EXPECT_THAT(logged_steps(), ElementsAre(3));
  stop_ = std::stop_source();
  // Killed in the middle of a line.
  std::ofstream(path("run/eval.jsonl"), std::ios::app) << "{\"step\":4,\"bbox\":[0.";
  bring_back(4);
  const auto result = evaluate(/*follow=*/true);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(logged_steps(), ElementsAre(3, 4));
}

TEST_F(RunEvaluationTest, a_damaged_checkpoint_is_passed_over) {
  make_run();
  std::filesystem::resize_file(path("run/" + shard_key(4, 0, 1)), 1000);
  ASSERT_TRUE(evaluate(/*follow=*/false));
  EXPECT_THAT(lines_, Contains(HasSubstr("passed over a damaged checkpoint")));
  EXPECT_THAT(logged_steps(), ElementsAre(3));
}

TEST_F(RunEvaluationTest, without_a_checkpoint_there_is_nothing_to_evaluate) {
  const auto result = evaluate(/*follow=*/false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(result.error().to_string(), HasSubstr("there is no checkpoint in " + path("run")));
}

}  // namespace
}  // namespace atl::train
