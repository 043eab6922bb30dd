// Whole jobs with --device cuda: training with an evaluation, going on, evaluating, predicting.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu.h"
#include "train/small_run.h"

namespace atl::train {
namespace {

using testing::Contains;
using testing::HasSubstr;

class GpuRun : public SmallRun {
 protected:
  void SetUp() override {
    if (!find_tested_device()) GTEST_SKIP() << why_no_device();
    make_data();
  }
  RunConfig gpu_config(const std::string& out, std::vector<std::string> sets = {}) {
    sets.push_back("device=" + tested_device());
    return config(out, sets);
  }
};

TEST_F(GpuRun, training_goes_on_after_a_stop_and_leaves_everything_behind) {
  on_progress_ = [&](const Progress& progress) {
    if (progress.done == 2) stop_.request_stop();
  };
  const auto stopped = run(gpu_config("run"));
  ASSERT_TRUE(stopped) << stopped.error().to_string();
  EXPECT_TRUE(stopped->stopped);
  on_progress_ = nullptr;
  stop_ = std::stop_source();
  finish(gpu_config("run"));
  EXPECT_THAT(lines_, Contains("going on after step 2 of 4"));
  EXPECT_THAT(lines_, Contains(HasSubstr("on " + tested_device())));
  const auto lines = metrics("run");
  ASSERT_EQ(lines.size(), 5);
  for (size_t i = 0; i < 4; ++i) EXPECT_GT(lines[i]["loss"], 0.0);
  for (const char* file : {"model.safetensors", "eval.json", "predictions.json", "trace.json"}) {
    EXPECT_FALSE(text(std::string("run/") + file).empty()) << file;
  }
}

TEST_F(GpuRun, bf16_trains) {
  finish(gpu_config("run", {"train.bf16=true"}));
  for (const auto& line : metrics("run")) {
    if (!line.contains("loss")) continue;
    EXPECT_FALSE(line["skipped"]);
  }
}

// A score may differ by what rounding differs by; what is asked of every picture is the same.
TEST_F(GpuRun, evaluation_and_prediction_give_what_the_cpu_gives) {
  finish(gpu_config("run"));
  const Console quiet;
  const auto stats_on = [&](const std::string& device) {
    const auto json = run_evaluation({.weights = path("run/model.safetensors"),
                                      .data = path("data"),
                                      .device = device,
                                      .threads = 2},
                                     quiet,
                                     {});
    EXPECT_TRUE(json) << json.error().to_string();
    return nlohmann::json::parse(*json)["segm"]["stats"].get<std::vector<double>>();
  };
  const auto expected = stats_on("cpu");
  const auto found = stats_on(tested_device());
  ASSERT_EQ(found.size(), 12);
  for (size_t i = 0; i < 12; ++i) EXPECT_NEAR(found[i], expected[i], 0.05) << i;

  const auto predicted = run_prediction({.weights = path("run/model.safetensors"),
                                         .inputs = {path("data/val2017")},
                                         .out = path("found"),
                                         .device = tested_device(),
                                         .threads = 2},
                                        quiet,
                                        {});
  ASSERT_TRUE(predicted) << predicted.error().to_string();
  const auto images = nlohmann::json::parse(text("found/images.json"))["images"];
  ASSERT_EQ(images.size(), 2);
  for (const auto& image : images) {
    EXPECT_FALSE(text("found/" + image["picture"].get<std::string>()).empty());
  }
}

}  // namespace
}  // namespace atl::train
