#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "train/small_run.h"

namespace atl::train {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class PredictionTest : public SmallRun {
 protected:
  // A model that has seen nothing is unsure of everything; a low bar lets some of it through.
  PredictOptions options(double threshold) {
    return {.weights = path("run/model.safetensors"),
            .inputs = {path("data/val2017")},
            .out = path("found"),
            .device = "cpu",
            .threads = 2,
            .score_threshold = threshold};
  }
  void predict(const PredictOptions& options) {
    lines_.clear();
    const Console console{[this](const std::string& line) { lines_.push_back(line); },
                          [this](const Progress& progress) { progress_.push_back(progress); }};
    const auto result = run_prediction(options, console, {});
    ASSERT_TRUE(result) << result.error().to_string();
  }
  std::vector<Progress> progress_;
};

TEST_F(PredictionTest, the_summary_tells_what_is_drawn_from_what_is_written) {
  make_data(4, 2);
  finish(config("run", {"model.box_score_threshold=0.0"}));
  predict(options(0));
  const json all = json::parse(text("found/predictions.json"));
  ASSERT_GT(all.size(), 2);
  std::vector<double> scores;
  for (const auto& record : all) scores.push_back(record["score"]);
  std::ranges::sort(scores);
  // The best two of all pictures.
  predict(options((scores[scores.size() - 3] + scores[scores.size() - 2]) / 2));
  EXPECT_EQ(json::parse(text("found/predictions.json")), all);
  ASSERT_EQ(lines_.size(), 1);
  EXPECT_THAT(lines_[0], HasSubstr("2 pictures drawn with 2 objects of score "));
  EXPECT_THAT(lines_[0],
              HasSubstr(fmt::format("0 skipped; predictions.json has all {} detections; "
                                    "everything is in {}",
                                    all.size(),
                                    path("found"))));
}

TEST_F(PredictionTest, what_it_drew_itself_is_no_input) {
  make_data(4, 2);
  finish(config("run"));
  PredictOptions into_it = options(0.5);
  into_it.out = path("data/../data/val2017");
  for (int i = 0; i < 2; ++i) {
    predict(into_it);
    EXPECT_THAT(lines_.back(), HasSubstr("2 pictures drawn with "));
  }
  into_it.inputs = {path("data/val2017/pictures")};
  const auto refused = run_prediction(into_it, {}, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().to_string(), HasSubstr("name another --out"));
}

TEST_F(PredictionTest, somebody_elses_picture_is_not_drawn_over) {
  make_data(4, 2);
  const std::string name = "000000000000.jpg";
  ASSERT_TRUE(std::filesystem::exists(path("data/val2017/" + name)));
  std::filesystem::create_directories(path("found/pictures"));
  std::ofstream(path("found/pictures/" + name)) << "mine";
  // Before any work: there is no model yet.
  const auto refused = run_prediction(options(0.5), {}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(refused.error().to_string(),
              HasSubstr(path("found/pictures/" + name) +
                        " is there, and is no picture that atoll predict has drawn (name another "
                        "--out, or move it away)"));
  EXPECT_EQ(text("found/pictures/" + name), "mine");
  finish(config("run"));
  std::filesystem::rename(path("found/pictures/" + name), path("found/pictures/mine.jpg"));
  // Its own are drawn anew.
  for (int i = 0; i < 2; ++i) {
    predict(options(0.5));
    EXPECT_THAT(lines_.back(), HasSubstr("2 pictures drawn with "));
  }
  EXPECT_EQ(text("found/pictures/mine.jpg"), "mine");
}

TEST_F(PredictionTest, a_bad_picture_is_named_and_counts_in_no_rate) {
  make_data(4, 2);
  finish(config("run"));
  std::ofstream(path("data/val2017/000.jpg")) << "no picture";
  predict(options(0.5));
  ASSERT_EQ(lines_.size(), 2);
  EXPECT_THAT(lines_[0], HasSubstr("skipped: " + path("data/val2017/000.jpg")));
  EXPECT_THAT(lines_[1], HasSubstr("2 pictures drawn with "));
  EXPECT_THAT(lines_[1], HasSubstr(", 1 skipped"));
  ASSERT_EQ(progress_.size(), 3);
  EXPECT_EQ(progress_[0].done, 1);
  EXPECT_EQ(progress_[0].images_per_s, 0);
  EXPECT_EQ(progress_[0].seconds_left, 0);
  EXPECT_GT(progress_[1].images_per_s, 0);
  const json images = json::parse(text("found/images.json"))["images"];
  ASSERT_EQ(images.size(), 2);
  EXPECT_EQ(images[0]["id"], 2);
}

}  // namespace
}  // namespace atl::train
