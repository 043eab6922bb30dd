#include "eval/eval.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/keyed_random.h"
#include "eval/accumulate.h"
#include "eval/fingerprint.h"

namespace atl::eval {
namespace {

using Json = nlohmann::json;
using dataset::CocoDataset;

double number(const Json& text) { return std::strtod(text.get<std::string>().c_str(), nullptr); }

CocoDataset truth_of(const std::string& text) {
  return CocoDataset::parse(text, "truth.json").value();
}
std::vector<Detection> results_of(const std::string& text, const CocoDataset& truth) {
  return parse_results(text, "results.json", truth).value();
}
IouKind kind_of(const Json& name) { return name == "bbox" ? IouKind::kBox : IouKind::kMask; }

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void expect_equal_results(const KindResult& actual, const KindResult& expected) {
  EXPECT_EQ(actual.stats, expected.stats);
  EXPECT_EQ(actual.precision, expected.precision);
  EXPECT_EQ(actual.recall, expected.recall);
  EXPECT_EQ(actual.scores, expected.scores);
}

// ---- pycocotools' results, made by reference/coco_eval_goldens.py

const Json& goldens() {
  static const Json file =
      Json::parse(read_file(ATOLL_SOURCE_DIR "/reference/goldens/coco_eval.json"));
  return file;
}

template <typename Body>
void for_each_golden(Body body) {
  ASSERT_GE(goldens()["cases"].size(), 8U);
  for (const auto& golden : goldens()["cases"]) {
    const CocoDataset truth = truth_of(golden["truth"]);
    const auto detections = results_of(golden["results"], truth);
    for (const auto& run : golden["runs"]) {
      SCOPED_TRACE(fmt::format("seed {} {} use_categories {}",
                               golden["seed"].dump(),
                               run["kind"].dump(),
                               run["use_categories"].dump()));
      EvalOptions options;
      options.kinds = {kind_of(run["kind"])};
      options.use_categories = run["use_categories"];
      options.max_detections = golden["max_detections"];
      options.strict_pycocotools = true;
      options.threads = 2;
      body(run, evaluate(truth, detections, options).value());
    }
  }
}

TEST(EvalGoldens, the_twelve_numbers_are_those_of_pycocotools_to_the_last_bit) {
  for_each_golden([](const Json& run, const Evaluation& evaluation) {
    const auto& stats = evaluation.kinds.at(kind_of(run["kind"])).stats;
    for (size_t i = 0; i < stats.size(); ++i) EXPECT_EQ(stats[i], number(run["stats"][i])) << i;
  });
}

TEST(EvalGoldens, the_arrays_are_those_of_pycocotools_to_the_last_bit) {
  for_each_golden([](const Json& run, const Evaluation& evaluation) {
    const KindResult& result = evaluation.kinds.at(kind_of(run["kind"]));
    EXPECT_EQ(fingerprint(result.recall), run["recall"]);
    EXPECT_EQ(fingerprint(result.precision), run["precision"]);
    EXPECT_EQ(fingerprint(result.scores), run["scores"]);
  });
}

TEST(EvalGoldens, the_table_is_that_of_pycocotools_letter_for_letter) {
  for_each_golden([](const Json& run, const Evaluation& evaluation) {
    EXPECT_EQ(evaluation.table(), run["text"]);
  });
}

// ---- the COCO files that cocoapi publishes numbers for

void expect_published_numbers(const char* name,
                              const char* arrays,
                              const std::array<std::string, 3>& prints) {
  const char* root = std::getenv("ATOLL_REAL_DATA");
  const auto folder =
      std::filesystem::path(root != nullptr ? root : ATOLL_SOURCE_DIR "/../shared/data") /
      "coco_eval_ref";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << folder << " is absent; set ATOLL_REAL_DATA to run this test";
  }
  const CocoDataset truth = truth_of(read_file(folder / "instances_val2014_100.json"));
  const auto detections = results_of(
      read_file(folder / fmt::format("instances_val2014_fake{}100_results.json", name)), truth);
  const Json stats = Json::parse(read_file(folder / "golden_stats_val2014_100.json"))[name];
  EvalOptions options;
  options.kinds = {kind_of(name)};
  const Evaluation evaluation = evaluate(truth, detections, options).value();
  const KindResult& result = evaluation.kinds.begin()->second;
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(result.stats[i], number(stats[i])) << i;
  EXPECT_EQ(fingerprint(result.precision), prints[0]) << arrays;
  EXPECT_EQ(fingerprint(result.recall), prints[1]) << arrays;
  EXPECT_EQ(fingerprint(result.scores), prints[2]) << arrays;
}

// The fingerprints: fingerprint(numpy.load(ARRAYS)["precision"]) and so on, coco_eval_oracle.py.
TEST(EvalRealData, boxes_of_val2014_give_the_published_numbers_and_arrays) {
  expect_published_numbers("bbox",
                           "golden_bbox_val2014_100.npz",
                           {"d01f9e44725d4fc8", "3e08f84ceaffe6da", "0805a0f01708494f"});
}
TEST(EvalRealData, masks_of_val2014_give_the_published_numbers_and_arrays) {
  expect_published_numbers("segm",
                           "golden_segm_val2014_100.npz",
                           {"5c4b43e98dd21de6", "887a370ff2947c32", "ac555e528da9f4ed"});
}

// ---- single rules

// One image of 100 x 100, categories 1 and 2; annotations given as {id, category, box, crowd}.
struct TruthBox {
  int64_t id;
  int64_t category;
  std::array<double, 4> box;
  int crowd = 0;
};
CocoDataset tiny_truth(const std::vector<TruthBox>& boxes) {
  Json json = {{"images", Json::array()},
               {"annotations", Json::array()},
               {"categories", {{{"id", 1}, {"name", "disc"}}, {{"id", 2}, {"name", "star"}}}}};
  for (const int id : {0, 5}) {
    json["images"].push_back({{"id", id}, {"width", 100}, {"height", 100}, {"file_name", "x.jpg"}});
  }
  for (const auto& [id, category, box, crowd] : boxes) {
    const auto [x, y, w, h] = box;
    Json segmentation = {{x, y, x + w, y, x + w, y + h, x, y + h}};
    json["annotations"].push_back({{"id", id},
                                   {"image_id", 0},
                                   {"category_id", category},
                                   {"bbox", box},
                                   {"area", w * h},
                                   {"iscrowd", crowd},
                                   {"segmentation", segmentation}});
  }
  return truth_of(json.dump());
}

Detection detection(int64_t category, double score, std::array<double, 4> box) {
  Detection result;
  result.category_id = category;
  result.score = score;
  result.box = box;
  result.area = box[2] * box[3];
  return result;
}

double ap_of(const CocoDataset& truth,
             std::vector<Detection> detections,
             EvalOptions options = {}) {
  options.kinds = {IouKind::kBox};
  return evaluate(truth, std::move(detections), options).value().kinds.at(IouKind::kBox).stats[0];
}

TEST(Eval, a_ground_truth_with_id_0_counts_unless_pycocotools_bug_is_asked_for) {
  const CocoDataset truth = tiny_truth({{0, 1, {10, 10, 40, 40}}});
  const std::vector<Detection> found = {detection(1, 0.9, {10, 10, 40, 40})};
  EXPECT_DOUBLE_EQ(ap_of(truth, found), 1);
  EvalOptions strict;
  strict.strict_pycocotools = true;
  EXPECT_EQ(ap_of(truth, found, strict), 0);
}

TEST(Eval, a_crowd_takes_any_number_of_detections_and_they_are_ignored) {
  const CocoDataset truth = tiny_truth({{1, 1, {0, 0, 20, 20}}, {2, 1, {30, 30, 60, 60}, 1}});
  EXPECT_DOUBLE_EQ(ap_of(truth,
                         {detection(1, 0.9, {40, 40, 10, 10}),
                          detection(1, 0.8, {60, 60, 10, 10}),
                          detection(1, 0.7, {0, 0, 20, 20})}),
                   1);
}

TEST(Eval, no_detections_give_0_and_a_category_without_ground_truth_minus_1) {
  const CocoDataset truth = tiny_truth({{1, 2, {10, 10, 40, 40}}});
  const Evaluation evaluation = evaluate(truth, {}, {}).value();
  for (const auto& [kind, result] : evaluation.kinds) {
    EXPECT_EQ(result.stats[0], 0);
    EXPECT_EQ(result.stats[3], -1);  // no small object
    EXPECT_EQ(result.category_ap, (std::vector<double>{-1, 0}));
  }
  EXPECT_EQ(evaluation.kinds.size(), 2U);
  EXPECT_EQ(ap_of(tiny_truth({}), {detection(1, 0.5, {1, 1, 5, 5})}), -1);
}

TEST(Eval, detections_of_unknown_categories_are_left_out) {
  const CocoDataset truth = tiny_truth({{1, 1, {10, 10, 40, 40}}});
  EvalOptions joined;
  joined.use_categories = false;
  for (const EvalOptions& options : {EvalOptions{}, joined}) {
    EXPECT_DOUBLE_EQ(ap_of(truth,
                           {detection(77, 0.9, {1, 1, 5, 5}), detection(1, 0.8, {10, 10, 40, 40})},
                           options),
                     1);
  }
}

TEST(Eval, a_mask_of_another_size_than_the_image_matches_nothing) {
  const CocoDataset truth = tiny_truth({{1, 1, {0, 0, 50, 50}}});
  Detection found = detection(1, 0.9, {0, 0, 50, 50});
  EXPECT_DOUBLE_EQ(evaluate(truth, {found}, {}).value().kinds.at(IouKind::kMask).stats[0], 1);
  found.mask = {50, 50, {0, 2500}};
  EXPECT_EQ(evaluate(truth, {found}, {}).value().kinds.at(IouKind::kMask).stats[0], 0);
}

TEST(Eval, an_unknown_image_or_one_given_twice_is_refused) {
  const CocoDataset truth = tiny_truth({});
  Evaluator evaluator(truth, {});
  EXPECT_TRUE(evaluator.add(5, {}));
  const auto twice = evaluator.add(5, {});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kInvalidInput);
  EXPECT_NE(twice.error().message.find("image 5"), std::string::npos);
  const auto unknown = evaluator.add(6, {});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("image 6"), std::string::npos);
}

TEST(Eval, neither_threads_nor_the_order_of_images_change_a_bit) {
  const Json& golden = goldens()["cases"][0];
  const CocoDataset truth = truth_of(golden["truth"]);
  const auto detections = results_of(golden["results"], truth);
  EvalOptions options;
  options.threads = 1;
  const Evaluation expected = evaluate(truth, detections, options).value();
  options.threads = 5;
  Evaluator evaluator(truth, options);
  for (size_t i = truth.images().size(); i-- > 0;) {
    std::vector<Detection> own;
    std::ranges::copy_if(detections, std::back_inserter(own), [&](const Detection& each) {
      return each.image_id == truth.images()[i].id;
    });
    ASSERT_TRUE(evaluator.add(truth.images()[i].id, own));
  }
  const Evaluation actual = evaluator.finish();
  for (const auto& [kind, result] : expected.kinds) {
    expect_equal_results(actual.kinds.at(kind), result);
  }
}

// glibc's count of the bytes handed out; 0 under a sanitizer, which has its own malloc.
size_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(Evaluator, keeps_numbers_of_an_image_and_no_masks) {
  constexpr int64_t kImages = 400;
  constexpr size_t kDetections = 100;
  constexpr int64_t kSide = 400;
  Json json = {{"images", Json::array()},
               {"annotations", Json::array()},
               {"categories", {{{"id", 1}, {"name", "disc"}}}}};
  for (int64_t id = 0; id < kImages; ++id) {
    json["images"].push_back(
        {{"id", id}, {"width", kSide}, {"height", kSide}, {"file_name", "x.jpg"}});
    json["annotations"].push_back({{"id", id + 1},
                                   {"image_id", id},
                                   {"category_id", 1},
                                   {"bbox", {0, 0, kSide, kSide}},
                                   {"area", kSide * kSide},
                                   {"iscrowd", 0}});
  }
  const CocoDataset truth = truth_of(json.dump());
  Detection found = detection(1, 0.5, {0, 0, kSide, kSide});
  found.mask = {kSide, kSide, std::vector<uint32_t>(kSide * kSide / 100, 100)};
  Evaluator evaluator(truth, {});
  const size_t before = bytes_in_use();
  for (int64_t id = 0; id < kImages; ++id) {
    found.image_id = id;
    ASSERT_TRUE(evaluator.add(id, std::vector(kDetections, found)));
  }
  const size_t kept = bytes_in_use() - before;
  // A score and 16 bytes for each of two kinds; the masks alone would be 640,000 bytes an image.
  EXPECT_LT(kept / kImages, kDetections * 80);
  EXPECT_EQ(evaluator.finish().kinds.at(IouKind::kBox).stats[8], 1);
}

TEST(Eval, progress_ends_with_all_images) {
  const CocoDataset truth = tiny_truth({{1, 1, {10, 10, 40, 40}}});
  std::atomic<size_t> most = 0;
  EvalOptions options;
  options.threads = 2;
  options.progress = [&](size_t done, size_t total) {
    EXPECT_LE(done, total);
    EXPECT_EQ(total, truth.images().size());
    if (done == total) most = done;
  };
  ASSERT_TRUE(evaluate(truth, {detection(1, 0.9, {10, 10, 40, 40})}, options));
  EXPECT_EQ(most, truth.images().size());
}

// ---- what people and programs read

TEST(Evaluation, json_holds_every_digit_and_marks_equal_names_with_ids) {
  Evaluation evaluation;
  evaluation.categories = {{1, "a \"b\"", ""}, {2, "same", ""}, {9, "same", ""}};
  KindResult& result = evaluation.kinds[IouKind::kMask];
  result.stats.fill(-1);
  result.stats[0] = 0.1 + 0.2;
  result.category_ap = {-1, 1.0 / 3, 0.5};
  const Json json = Json::parse(evaluation.to_json());
  EXPECT_EQ(json["segm"]["stats"][0], 0.1 + 0.2);
  EXPECT_EQ(json["segm"]["stats"][11], -1);
  EXPECT_EQ(json["segm"]["per_category"],
            (Json{{"a \"b\"", -1}, {"same (2)", 1.0 / 3}, {"same (9)", 0.5}}));
}

TEST(Evaluation, tables_name_the_kind_where_there_are_two) {
  const Evaluation evaluation = evaluate(tiny_truth({{1, 2, {10, 10, 40, 40}}}), {}, {}).value();
  EXPECT_TRUE(evaluation.table().starts_with("bbox\n Average Precision  (AP) @[ IoU=0.50:0.95 |"));
  EXPECT_NE(evaluation.table().find("\nsegm\n Average Precision "), std::string::npos);
  EXPECT_EQ(evaluation.category_table(),
            "category  bbox AP  segm AP\n"
            "disc       -1.000   -1.000\n"
            "star        0.000    0.000\n");
}

// Sums of x_i = ((i * 2654435761) mod 2^32) / 2^32 * 0.1, by numpy 2.4.6.
TEST(NumpySum, is_numpys_sum_to_the_last_bit) {
  const std::pair<size_t, double> expected[] = {{0, 0},
                                                {1, 0.0},
                                                {7, 0.29787137222010646},
                                                {8, 0.3304951629601419},
                                                {9, 0.42492235237732534},
                                                {15, 0.6893568611005322},
                                                {16, 0.716407841257751},
                                                {127, 6.2889928158605475},
                                                {128, 6.338024447858333},
                                                {129, 6.348859478533269},
                                                {136, 6.755199856217951},
                                                {137, 6.760462076310069},
                                                {255, 12.703066159435547},
                                                {256, 12.762932822108269},
                                                {257, 12.784602883458138},
                                                {1000, 49.99763923538849},
                                                {1009, 50.453149682097134},
                                                {8191, 409.55992170388345},
                                                {8192, 409.5915602684021},
                                                {8193, 409.6850022315979},
                                                {100001, 5000.0556734818965}};
  for (const auto& [count, sum] : expected) {
    std::vector<double> values(count);
    for (size_t i = 0; i < count; ++i) {
      values[i] = static_cast<double>(i * 2654435761U % 0x100000000) / 0x1p32 * 0.1;
    }
    EXPECT_EQ(internal::numpy_sum(values), sum) << count;
  }
}

}  // namespace
}  // namespace atl::eval
