#include "eval/boundary.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/keyed_random.h"
#include "eval/eval.h"
#include "eval/fingerprint.h"
#include "eval/lvis.h"

namespace atl::eval {
namespace {

using Json = nlohmann::json;
using dataset::CocoDataset;
using dataset::Rle;

// ---- pycocotools and the lvis package with another IoU: reference/boundary_goldens.py

struct Golden {
  const Json& json;
  const std::string& text;
  CocoDataset truth;
  std::vector<Detection> detections;
};

template <typename Body>
void for_each_golden(Body body) {
  std::ifstream stream(ATOLL_SOURCE_DIR "/reference/goldens/boundary.json", std::ios::binary);
  const Json file = Json::parse(std::string(std::istreambuf_iterator<char>(stream), {}));
  ASSERT_GE(file["cases"].size(), 4U);
  for (const auto& json : file["cases"]) {
    SCOPED_TRACE(json["seed"].dump());
    const auto& text = json["truth"].get_ref<const std::string&>();
    Golden golden{json, text, CocoDataset::parse(text, "truth.json").value(), {}};
    golden.detections =
        parse_results(json["results"].get_ref<const std::string&>(), "results.json", golden.truth)
            .value();
    body(golden);
  }
}

void expect_stats(std::span<const double> actual, const Json& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i], std::strtod(expected[i].get<std::string>().c_str(), nullptr)) << i;
  }
}

Evaluation evaluate_boundaries(const Golden& golden, bool use_categories = true) {
  EvalOptions options;
  options.kinds = {IouKind::kBoundary};
  options.use_categories = use_categories;
  options.strict_pycocotools = true;
  options.threads = 2;
  return evaluate(golden.truth, golden.detections, options).value();
}

TEST(BoundaryGoldens, pycocotools_with_boundary_iou_gives_the_same_numbers_and_arrays) {
  for_each_golden([](const Golden& golden) {
    const Evaluation evaluation = evaluate_boundaries(golden);
    const KindResult& result = evaluation.kinds.at(IouKind::kBoundary);
    expect_stats(result.stats, golden.json["stats"]);
    EXPECT_EQ(fingerprint(result.precision), golden.json["precision"]);
    EXPECT_EQ(fingerprint(result.recall), golden.json["recall"]);
    EXPECT_EQ(fingerprint(result.scores), golden.json["scores"]);
    EXPECT_EQ(evaluation.table(), golden.json["text"]);
  });
}

TEST(BoundaryGoldens, joined_categories_give_the_same_numbers) {
  for_each_golden([](const Golden& golden) {
    const Evaluation evaluation = evaluate_boundaries(golden, false);
    expect_stats(evaluation.kinds.at(IouKind::kBoundary).stats, golden.json["joined_stats"]);
  });
}

TEST(BoundaryGoldens, the_lvis_package_with_boundary_iou_gives_the_same_numbers) {
  for_each_golden([](const Golden& golden) {
    const auto lvis = parse_lvis(golden.text, "truth.json", golden.truth).value();
    LvisOptions options;
    options.kinds = {IouKind::kBoundary};
    options.strict_pycocotools = true;
    const auto evaluation = evaluate_lvis(golden.truth, lvis, golden.detections, options).value();
    expect_stats(evaluation.kinds.at(IouKind::kBoundary).stats, golden.json["lvis_stats"]);
  });
}

// ---- single rules

// Ties round to even, as Python does: diagonals of 75 and 125 give 1.5 and 2.5.
TEST(Boundary, is_as_wide_as_two_percent_of_the_diagonal) {
  EXPECT_EQ(internal::boundary_width_px(1, 1), 1U);
  EXPECT_EQ(internal::boundary_width_px(45, 60), 2U);
  EXPECT_EQ(internal::boundary_width_px(75, 100), 2U);
  EXPECT_EQ(internal::boundary_width_px(480, 640), 16U);
  EXPECT_EQ(internal::boundary_width_px(640, 427), 15U);
}

TEST(Boundary, of_a_whole_image_is_its_frame) {
  std::vector<uint8_t> frame(480 * 640, 1);
  for (size_t x = 16; x < 640 - 16; ++x) {
    for (size_t y = 16; y < 480 - 16; ++y) frame[x * 480 + y] = 0;
  }
  EXPECT_EQ(internal::boundary_of(Rle{480, 640, {0, 480 * 640}}),
            dataset::rle_from_bitmap(frame, 480, 640));
}

TEST(Boundary, of_a_mask_thinner_than_twice_the_width_is_the_mask) {
  const Rle thin =
      dataset::rle_from_polygon(std::vector<double>{10, 10, 300, 10, 300, 40, 10, 40}, 480, 640);
  EXPECT_EQ(internal::boundary_of(thin), thin);
  EXPECT_EQ(internal::boundary_of(Rle{480, 640, {480 * 640}}), (Rle{480, 640, {480 * 640}}));
}

}  // namespace
}  // namespace atl::eval
