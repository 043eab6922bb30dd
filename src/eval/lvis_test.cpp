#include "eval/lvis.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "eval/fingerprint.h"

namespace atl::eval {
namespace {

using Json = nlohmann::json;
using dataset::CocoDataset;
using ::testing::HasSubstr;
using ::testing::StartsWith;

CocoDataset truth_of(const std::string& text) {
  return CocoDataset::parse(text, "truth.json").value();
}

// ---- the lvis package's results, made by reference/lvis_goldens.py

template <typename Body>
void for_each_golden(Body body) {
  std::ifstream stream(ATOLL_SOURCE_DIR "/reference/goldens/lvis.json", std::ios::binary);
  const Json file = Json::parse(std::string(std::istreambuf_iterator<char>(stream), {}));
  ASSERT_GE(file["cases"].size(), 8U);
  for (const auto& golden : file["cases"]) {
    const CocoDataset truth = truth_of(golden["truth"]);
    const auto lvis =
        parse_lvis(golden["truth"].get_ref<const std::string&>(), "truth.json", truth).value();
    const auto detections =
        parse_results(golden["results"].get_ref<const std::string&>(), "results.json", truth)
            .value();
    for (const auto& run : golden["runs"]) {
      SCOPED_TRACE(fmt::format("seed {} {}", golden["seed"].dump(), run["kind"].dump()));
      LvisOptions options;
      options.kinds = {run["kind"] == "bbox" ? IouKind::kBox : IouKind::kMask};
      options.max_detections = golden["max_detections"];
      options.strict_pycocotools = true;
      options.threads = 2;
      body(run, evaluate_lvis(truth, lvis, detections, options).value());
    }
  }
}

TEST(LvisGoldens, the_thirteen_numbers_are_those_of_the_lvis_package_to_the_last_bit) {
  for_each_golden([](const Json& run, const LvisEvaluation& evaluation) {
    const auto& stats = evaluation.kinds.begin()->second.stats;
    const auto names = lvis_names(evaluation.max_detections);
    ASSERT_EQ(run["stats"].size(), names.size());
    for (size_t i = 0; i < names.size(); ++i) {
      const auto expected = run["stats"][names[i]].get<std::string>();
      EXPECT_EQ(stats[i], std::strtod(expected.c_str(), nullptr)) << names[i];
    }
  });
}

TEST(LvisGoldens, the_arrays_are_those_of_the_lvis_package_to_the_last_bit) {
  for_each_golden([](const Json& run, const LvisEvaluation& evaluation) {
    const LvisResult& result = evaluation.kinds.begin()->second;
    EXPECT_EQ(fingerprint(result.precision), run["precision"]);
    EXPECT_EQ(fingerprint(result.recall), run["recall"]);
  });
}

TEST(LvisGoldens, the_table_is_that_of_the_lvis_package_letter_for_letter) {
  for_each_golden([](const Json& run, const LvisEvaluation& evaluation) {
    EXPECT_EQ(evaluation.table(), run["text"]);
  });
}

// ---- single rules

constexpr std::array<double, 4> kBox = {10, 10, 40, 40};

// One image of 100 x 100 with one annotation of category 1; categories 1 (r), 2 (c) and 3 (f).
Json small_truth() {
  return Json::parse(R"({
    "images": [{"id": 7, "width": 100, "height": 100, "file_name": "x.jpg",
                "neg_category_ids": [2], "not_exhaustive_category_ids": []}],
    "categories": [{"id": 1, "name": "disc", "frequency": "r"},
                   {"id": 2, "name": "star", "frequency": "c"},
                   {"id": 3, "name": "ring", "frequency": "f"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "area": 1600,
                     "bbox": [10, 10, 40, 40]}]})");
}

Detection detection(int64_t category, double score, std::array<double, 4> box) {
  Detection result;
  result.image_id = 7;
  result.category_id = category;
  result.score = score;
  result.box = box;
  result.area = box[2] * box[3];
  return result;
}

std::array<double, 13> stats_of(const Json& json,
                                std::vector<Detection> detections,
                                LvisOptions options = {}) {
  const std::string text = json.dump();
  const CocoDataset truth = truth_of(text);
  const auto lvis = parse_lvis(text, "truth.json", truth).value();
  options.kinds = {IouKind::kBox};
  return evaluate_lvis(truth, lvis, std::move(detections), options)
      .value()
      .kinds.at(IouKind::kBox)
      .stats;
}

TEST(Lvis, a_false_detection_counts_only_where_the_category_was_looked_for) {
  Json truth = small_truth();
  truth["images"][0]["neg_category_ids"] = {2};
  truth["annotations"].push_back(
      {{"id", 2}, {"image_id", 7}, {"category_id", 2}, {"area", 400}, {"bbox", {60, 60, 20, 20}}});
  truth["images"].push_back(truth["images"][0]);
  truth["images"][1]["id"] = 8;
  Detection false_one = detection(2, 0.9, kBox);
  false_one.image_id = 8;
  const std::vector<Detection> found = {false_one, detection(2, 0.8, {60, 60, 20, 20})};
  EXPECT_DOUBLE_EQ(stats_of(truth, found)[7], 0.5);  // APc
  truth["images"][1]["neg_category_ids"] = Json::array();
  EXPECT_DOUBLE_EQ(stats_of(truth, found)[7], 1);
}

TEST(Lvis, where_not_every_object_is_marked_what_matches_nothing_is_ignored) {
  Json truth = small_truth();
  const std::vector<Detection> found = {detection(1, 0.9, {60, 60, 20, 20}),
                                        detection(1, 0.8, kBox)};
  EXPECT_DOUBLE_EQ(stats_of(truth, found)[6], 0.5);  // APr
  truth["images"][0]["not_exhaustive_category_ids"] = {1};
  EXPECT_DOUBLE_EQ(stats_of(truth, found)[6], 1);
}

TEST(Lvis, the_best_detections_of_an_image_are_taken_over_all_categories) {
  LvisOptions options;
  options.max_detections = 1;
  const std::vector<Detection> found = {detection(3, 0.9, {60, 60, 20, 20}),
                                        detection(1, 0.8, kBox)};
  EXPECT_EQ(stats_of(small_truth(), found, options)[9], 0);  // AR@1
  options.max_detections = 2;
  EXPECT_EQ(stats_of(small_truth(), found, options)[9], 1);
}

TEST(Lvis, an_ignored_ground_truth_counts_neither_way_and_a_crowd_is_one_like_any_other) {
  Json truth = small_truth();
  truth["annotations"][0]["iscrowd"] = 1;
  truth["annotations"][0]["segmentation"] = {{"size", {100, 100}}, {"counts", {0, 10000}}};
  EXPECT_DOUBLE_EQ(stats_of(truth, {detection(1, 0.8, kBox)})[0], 1);
  truth["annotations"][0]["ignore"] = 1;
  EXPECT_EQ(stats_of(truth, {detection(1, 0.8, kBox)})[0], -1);
}

TEST(Lvis, records_without_area_are_left_out) {
  Json truth = small_truth();
  std::vector<Detection> found = {detection(1, 0.9, {0, 0, 0, 20}), detection(1, 0.8, kBox)};
  EXPECT_DOUBLE_EQ(stats_of(truth, found)[0], 1);
  truth["annotations"][0]["area"] = 0;
  EXPECT_EQ(stats_of(truth, found)[0], -1);
}

TEST(Lvis, detections_of_an_unknown_image_are_refused) {
  const std::string text = small_truth().dump();
  const CocoDataset truth = truth_of(text);
  Detection stray = detection(1, 0.5, kBox);
  stray.image_id = 12;
  const auto result =
      evaluate_lvis(truth, parse_lvis(text, "truth.json", truth).value(), {stray}, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().to_string(), HasSubstr("image 12"));
}

TEST(Lvis, progress_ends_with_all_images_of_all_kinds) {
  const std::string text = small_truth().dump();
  const CocoDataset truth = truth_of(text);
  size_t most = 0;
  LvisOptions options;
  options.threads = 1;
  options.progress = [&](size_t done, size_t total) {
    EXPECT_EQ(total, 2U);  // boxes and masks of one image
    most = done;
  };
  ASSERT_TRUE(evaluate_lvis(truth, parse_lvis(text, "truth.json", truth).value(), {}, options));
  EXPECT_EQ(most, 2U);
}

// ---- the fields

TEST(LvisFields, are_found_whatever_the_order_of_the_sections) {
  const CocoDataset truth = truth_of(small_truth().dump());
  const auto lvis = parse_lvis(R"({
    "annotations": [{"ignore": true, "id": 1}], "licenses": [{"id": "none"}],
    "categories": [{"frequency": "f", "id": 3}, {"frequency": "c", "id": 2},
                   {"frequency": "r", "id": 1}],
    "images": [{"not_exhaustive_category_ids": [3, 1], "neg_category_ids": [3, 2], "id": 7}]})",
                               "truth.json",
                               truth)
                        .value();
  EXPECT_EQ(lvis.frequencies,
            (std::vector{Frequency::kRare, Frequency::kCommon, Frequency::kFrequent}));
  EXPECT_EQ(lvis.images[0].negative_categories, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(lvis.images[0].not_exhaustive_categories, (std::vector<int64_t>{1, 3}));
  EXPECT_TRUE(lvis.images[0].ignores(0));
}

TEST(LvisFields, images_without_file_names_take_them_from_their_addresses) {
  Json truth = small_truth();
  Json& image = truth["images"][0];
  image.erase("file_name");
  image["coco_url"] = "http://images.cocodataset.org/train2017/000000391895.jpg";
  EXPECT_EQ(truth_of(truth.dump()).images()[0].file_name, "train2017/000000391895.jpg");
  image["coco_url"] = "nowhere";
  EXPECT_FALSE(CocoDataset::parse(truth.dump(), "truth.json"));
}

void expect_refused(const Json& truth, std::string_view message) {
  const CocoDataset dataset = truth_of(small_truth().dump());
  const auto result = parse_lvis(truth.dump(), "truth.json", dataset);
  ASSERT_FALSE(result) << message;
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(result.error().to_string(), StartsWith(fmt::format("truth.json: {}", message)));
}

TEST(LvisFields, bad_ones_are_refused_with_the_id) {
  const auto with = [](const char* section, const char* key, const Json& value) {
    Json truth = small_truth();
    truth[section][0][key] = value;
    return truth;
  };
  const auto without = [](const char* section, const char* key) {
    Json truth = small_truth();
    truth[section][0].erase(key);
    return truth;
  };
  expect_refused(without("images", "neg_category_ids"), "image 7: 'neg_category_ids' is missing");
  expect_refused(without("images", "not_exhaustive_category_ids"),
                 "image 7: 'not_exhaustive_category_ids' is missing");
  expect_refused(with("images", "neg_category_ids", {2, 44}),
                 "image 7: category 44 in 'neg_category_ids' is not among the categories");
  expect_refused(with("images", "not_exhaustive_category_ids", {-1}),
                 "image 7: category -1 in 'not_exhaustive_category_ids' is not among");
  for (const Json& value : {Json("2"), Json(2), Json(nullptr), Json({2, "3"}), Json({2.5})}) {
    expect_refused(with("images", "neg_category_ids", value),
                   "image 7: 'neg_category_ids' must be a list of category ids");
  }
  expect_refused(without("categories", "frequency"), "category 1: 'frequency' is missing");
  for (const Json& value : {Json("rare"), Json(1), Json(nullptr)}) {
    expect_refused(with("categories", "frequency", value),
                   "category 1: 'frequency' must be \"r\", \"c\" or \"f\"");
  }
  for (const Json& value : {Json("yes"), Json(2), Json(0.5)}) {
    expect_refused(with("annotations", "ignore", value), "annotation 1: 'ignore' must be 0 or 1");
  }
  expect_refused(without("images", "id"), "one image has no integer 'id'");
  expect_refused(with("images", "id", "7"), "one image has no integer 'id'");
}

TEST(LvisFields, malformed_json_is_refused) {
  const CocoDataset truth = truth_of(small_truth().dump());
  for (const char* text : {"", "[]", "{\"images\": 3}", "{\"images\": [3]}", "{\"images\": [{]}"}) {
    const auto result = parse_lvis(text, "truth.json", truth);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(result.error().to_string(), StartsWith("truth.json: "));
  }
}

// ---- what people and programs read

TEST(LvisEvaluation, tables_and_json_name_every_number) {
  LvisEvaluation evaluation;
  evaluation.categories = {{1, "disc", ""}, {2, "star", ""}};
  evaluation.frequencies = {Frequency::kCommon, Frequency::kRare};
  evaluation.max_detections = 300;
  LvisResult& result = evaluation.kinds[IouKind::kMask];
  result.stats.fill(-1);
  result.stats[6] = 0.1 + 0.2;
  result.category_ap = {0.25, 1.0 / 3};
  EXPECT_EQ(evaluation.category_table(),
            "category     segm AP\n"
            "disc      c    0.250\n"
            "star      r    0.333\n");
  const Json json = Json::parse(evaluation.to_json());
  EXPECT_EQ(json["segm"]["stats"]["APr"], 0.1 + 0.2);
  EXPECT_EQ(json["segm"]["stats"]["ARl@300"], -1);
  EXPECT_EQ(json["segm"]["stats"].size(), 13U);
  EXPECT_EQ(json["segm"]["per_category"], (Json{{"disc", 0.25}, {"star", 1.0 / 3}}));
}

}  // namespace
}  // namespace atl::eval
