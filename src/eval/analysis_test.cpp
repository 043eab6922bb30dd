#include "eval/analysis.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/keyed_random.h"

namespace atl::eval {
namespace {

using Box = std::array<double, 4>;
using Json = nlohmann::json;
using dataset::CocoDataset;
using ::testing::HasSubstr;

struct TruthBox {
  int64_t category;
  Box box;
  int crowd = 0;
};

// Image 5 of 100 x 100, categories 1 (disc), 2 (star) and 3 (ring).
CocoDataset truth_of(const std::vector<TruthBox>& boxes) {
  Json json = {{"images", {{{"id", 5}, {"width", 100}, {"height", 100}, {"file_name", "x.jpg"}}}},
               {"annotations", Json::array()},
               {"categories",
                {{{"id", 1}, {"name", "disc"}},
                 {{"id", 2}, {"name", "star"}},
                 {{"id", 3}, {"name", "ring"}}}}};
  int id = 1;
  for (const auto& [category, box, crowd] : boxes) {
    const auto [x, y, w, h] = box;
    json["annotations"].push_back(
        {{"id", id++},
         {"image_id", 5},
         {"category_id", category},
         {"bbox", box},
         {"area", w * h},
         {"iscrowd", crowd},
         {"segmentation", Json::array({{x, y, x + w, y, x + w, y + h, x, y + h}})}});
  }
  return CocoDataset::parse(json.dump(), "truth.json").value();
}

Detection detection(int64_t category, double score, Box box) {
  Detection result;
  result.image_id = 5;
  result.category_id = category;
  result.score = score;
  result.box = box;
  result.area = box[2] * box[3];
  return result;
}

constexpr Box kA = {0, 0, 20, 20};
constexpr Box kB = {30, 0, 20, 20};
constexpr Box kC = {60, 0, 20, 20};
constexpr Box kNowhere = {70, 70, 20, 20};

// ---- thresholds

std::optional<OperatingPoint> best_of(const CocoDataset& truth, std::vector<Detection> detections) {
  EvalOptions options;
  options.kinds = {IouKind::kBox};
  return evaluate(truth, std::move(detections), options).value().kinds.at(IouKind::kBox).best_f1[0];
}

void expect_point(const std::optional<OperatingPoint>& point,
                  double score,
                  double precision,
                  double recall) {
  ASSERT_TRUE(point);
  EXPECT_EQ(point->score, score);
  EXPECT_DOUBLE_EQ(point->precision, precision);
  EXPECT_DOUBLE_EQ(point->recall, recall);
  EXPECT_DOUBLE_EQ(point->f1, 2 * precision * recall / (precision + recall));
}

TEST(Thresholds, the_highest_f1_is_at_the_score_of_a_detection) {
  const CocoDataset truth = truth_of({{1, kA}, {1, kB}, {1, kC}});
  expect_point(best_of(truth,
                       {detection(1, 0.9, kA),
                        detection(1, 0.8, kNowhere),
                        detection(1, 0.7, kB),
                        detection(1, 0.2, kNowhere)}),
               0.7,
               2.0 / 3,
               2.0 / 3);
}

TEST(Thresholds, detections_of_one_score_cannot_be_told_apart) {
  const CocoDataset truth = truth_of({{1, kA}, {1, kB}});
  // The right one comes first, but the wrong one cannot be left out.
  expect_point(best_of(truth, {detection(1, 0.9, kA), detection(1, 0.9, kNowhere)}), 0.9, 0.5, 0.5);
}

TEST(Thresholds, of_equal_f1_the_highest_score_is_taken) {
  const CocoDataset truth = truth_of({{1, kA}, {1, kB}, {1, kC}});
  // One of one: 2 / 4. Two of four, then three of... 4 / 7 is higher; two of five is 4 / 8 again.
  expect_point(best_of(truth,
                       {detection(1, 0.9, kA),
                        detection(1, 0.8, kNowhere),
                        detection(1, 0.8, kNowhere),
                        detection(1, 0.8, kNowhere),
                        detection(1, 0.7, kB)}),
               0.9,
               1,
               1.0 / 3);
}

TEST(Thresholds, what_is_ignored_does_not_count) {
  const CocoDataset truth = truth_of({{1, kA}, {1, {30, 30, 60, 60}, 1}});
  expect_point(
      best_of(truth, {detection(1, 0.9, {40, 40, 10, 10}), detection(1, 0.4, kA)}), 0.4, 1, 1);
}

TEST(Thresholds, there_is_none_where_nothing_matches) {
  EXPECT_FALSE(best_of(truth_of({{1, kA}}), {detection(1, 0.9, kB)}));
  EXPECT_FALSE(best_of(truth_of({{2, kA}}), {detection(1, 0.9, kA)}));
  EXPECT_FALSE(best_of(truth_of({{1, kA}}), {}));
  Curves curves;
  curves.best_f1 = {std::nullopt, OperatingPoint{0.25, 1, 1, 1}};
  EXPECT_EQ(score_thresholds(curves), (std::vector<double>{0.5, 0.25}));
}

// Every score tried on its own: the right ones are counted over, and none gives more.
TEST(Thresholds, no_other_score_gives_a_higher_f1) {
  KeyedRandom random({8});
  for (int round = 0; round < 100; ++round) {
    std::vector<TruthBox> boxes;
    std::vector<Detection> detections;
    std::vector<std::pair<double, bool>> scored;
    for (int i = 0; i < 16; ++i) {
      const Box box = {i % 4 * 25.0, i / 4 * 25.0, 20, 20};
      const bool there = random.below(2) == 0;
      if (there) boxes.push_back({1, box});
      if (random.below(4) == 0) continue;
      const double score = static_cast<double>(random.below(8)) / 8;
      detections.push_back(detection(1, score, box));
      scored.emplace_back(score, there);
    }
    double highest = 0;
    for (const auto& [from, unused] : scored) {
      double hits = 0;
      double kept = 0;
      for (const auto& [score, there] : scored) {
        if (score < from) continue;
        kept += 1;
        hits += there ? 1 : 0;
      }
      highest = std::max(highest, 2 * hits / (kept + static_cast<double>(boxes.size())));
    }
    const auto best = best_of(truth_of(boxes), detections);
    ASSERT_EQ(best ? best->f1 : 0, highest) << "round " << round;
  }
}

// ---- confusion

Confusion boxes_confused(const CocoDataset& truth, const std::vector<Detection>& detections) {
  return confuse(truth, detections, {0.5, 0.5, 0.5}, {.kind = IouKind::kBox, .threads = 2});
}

TEST(Confusion, counts_what_is_found_confused_missed_and_on_nothing) {
  const CocoDataset truth = truth_of({{1, kA}, {2, kB}, {2, kC}});
  const Confusion confusion = boxes_confused(truth,
                                             {detection(1, 0.9, kA),
                                              detection(3, 0.8, kB),
                                              detection(3, 0.7, kNowhere),
                                              detection(2, 0.4, kC)});  // below its threshold
  EXPECT_EQ(confusion.counts,
            (std::vector<uint64_t>{1,
                                   0,
                                   0,
                                   0,  // disc: found
                                   0,
                                   0,
                                   1,
                                   1,  // star: one taken for a ring, one missed
                                   0,
                                   0,
                                   0,
                                   0,  //
                                   0,
                                   0,
                                   1,
                                   0}));  // a ring on nothing
}

TEST(Confusion, a_ground_truth_is_taken_once_by_the_higher_score) {
  const Confusion confusion = boxes_confused(
      truth_of({{1, kA}}), {detection(1, 0.6, kA), detection(2, 0.9, {0, 0, 20, 19})});
  EXPECT_EQ(confusion.at(0, 1), 1U);
  EXPECT_EQ(confusion.at(3, 0), 1U);
}

TEST(Confusion, of_equal_overlap_its_own_category_is_taken) {
  for (const auto& boxes : {std::vector<TruthBox>{{1, kA}, {2, kA}}, {{2, kA}, {1, kA}}}) {
    const Confusion confusion = boxes_confused(truth_of(boxes), {detection(2, 0.9, kA)});
    EXPECT_EQ(confusion.at(1, 1), 1U);
    EXPECT_EQ(confusion.at(0, 3), 1U);
  }
}

TEST(Confusion, crowds_are_not_missed_and_excuse_what_lies_on_them) {
  const Confusion confusion =
      boxes_confused(truth_of({{1, {0, 0, 60, 60}, 1}, {2, kA}}),
                     {detection(3, 0.9, {40, 40, 10, 10}), detection(2, 0.8, kA)});
  EXPECT_EQ(confusion.at(1, 1), 1U);
  uint64_t sum = 0;
  for (const uint64_t count : confusion.counts) sum += count;
  EXPECT_EQ(sum, 1U);
}

TEST(Confusion, only_the_best_of_an_image_and_category_count) {
  const Confusion confusion = confuse(truth_of({{1, kA}, {1, kB}}),
                                      std::vector{detection(1, 0.6, kA), detection(1, 0.7, kB)},
                                      {0.5, 0.5, 0.5},
                                      {.kind = IouKind::kBox, .max_detections = 1});
  EXPECT_EQ(confusion.at(0, 0), 1U);
  EXPECT_EQ(confusion.at(0, 3), 1U);
}

TEST(Confusion, masks_and_boundaries_decide_where_they_are_asked_for) {
  const CocoDataset truth = truth_of({{1, {0, 0, 100, 100}}});
  Detection found = detection(1, 0.9, {0, 0, 100, 100});
  // Three quarters of the image: its boundary shares half of the image's frame, and no more.
  found.mask = {100, 100, {0, 7500, 2500}};
  const std::vector<double> thresholds = {0.5, 0.5, 0.5};
  const auto found_by = [&](IouKind kind) {
    return confuse(truth, std::span(&found, 1), thresholds, {.kind = kind}).at(0, 0);
  };
  EXPECT_EQ(found_by(IouKind::kMask), 1U);
  EXPECT_EQ(found_by(IouKind::kBoundary), 1U);
  found.mask = {100, 100, {1020, 7980, 1000}};  // without its left and right frame
  EXPECT_EQ(found_by(IouKind::kMask), 1U);
  EXPECT_EQ(found_by(IouKind::kBoundary), 0U);
  EXPECT_EQ(found_by(IouKind::kBox), 1U);
}

TEST(Confusion, every_ground_truth_and_every_detection_is_counted_once) {
  KeyedRandom random({9});
  for (int round = 0; round < 50; ++round) {
    const auto box = [&] {
      return Box{
          static_cast<double>(random.below(60)), static_cast<double>(random.below(60)), 30, 30};
    };
    std::vector<TruthBox> boxes(random.below(8));
    for (auto& each : boxes) each = {static_cast<int64_t>(1 + random.below(3)), box()};
    std::vector<Detection> detections(random.below(20));
    for (auto& each : detections) {
      each =
          detection(static_cast<int64_t>(1 + random.below(3)), 0.5 + random.uniform() / 2, box());
    }
    const Confusion confusion = boxes_confused(truth_of(boxes), detections);
    for (size_t k = 0; k < 3; ++k) {
      uint64_t row = 0;
      uint64_t column = 0;
      for (size_t other = 0; other < 4; ++other) {
        row += confusion.at(k, other);
        column += confusion.at(other, k);
      }
      const auto id = static_cast<int64_t>(k + 1);
      ASSERT_EQ(row, std::ranges::count(boxes, id, &TruthBox::category));
      ASSERT_EQ(column, std::ranges::count(detections, id, &Detection::category_id));
    }
  }
}

// ---- what people and programs read

Json as_json(const std::vector<dataset::Category>& categories, const KindAnalysis& kind) {
  return Json::parse(fmt::format("{{{}}}", analysis_json(categories, std::span(&kind, 1))));
}

TEST(Analysis, table_and_json_say_what_was_counted) {
  const std::vector<dataset::Category> categories = {{1, "disc", ""}, {2, "\"star\"", ""}};
  Curves curves;
  curves.best_f1 = {OperatingPoint{0.1 + 0.2, 0.5, 0.25, 1.0 / 3}, std::nullopt};
  KindAnalysis kind{IouKind::kMask, &curves, Confusion{{0.3, 0.5}, {4, 2, 1, 0, 5, 0, 7, 0, 0}}};
  EXPECT_EQ(analysis_table(categories, std::span(&kind, 1)),
            "segm at IoU 0.5: the score of the highest F1\n"
            "category  score  precision  recall     F1  counted from  objects  found  confused  "
            "missed  on nothing\n"
            "disc      0.300      0.500   0.250  0.333         0.300        7      4         2  "
            "     1           7\n"
            "\"star\"        -          -       -      -         0.500        5      5         0  "
            "     0           0\n"
            "taken for another category most often:\n"
            "  disc for \"star\": 2\n");
  const Json json = as_json(categories, kind);
  EXPECT_EQ(json["thresholds"]["segm"]["disc"]["score"], 0.1 + 0.2);
  EXPECT_EQ(json["thresholds"]["segm"]["disc"]["f1"], 1.0 / 3);
  EXPECT_TRUE(json["thresholds"]["segm"]["\"star\""].is_null());
  EXPECT_EQ(json["confusion"]["segm"]["counts"], (Json{{4, 2, 1}, {0, 5, 0}, {7, 0, 0}}));
  EXPECT_EQ(json["confusion"]["segm"]["truth"], (Json{"disc", "\"star\"", "background"}));
  EXPECT_EQ(json["confusion"]["segm"]["predicted"], (Json{"disc", "\"star\"", "missed"}));
  kind.confusion.reset();
  EXPECT_FALSE(as_json(categories, kind).contains("confusion"));
  EXPECT_THAT(analysis_table(categories, std::span(&kind, 1)), Not(HasSubstr("missed")));
}

}  // namespace
}  // namespace atl::eval
