#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/keyed_random.h"
#include "eval/eval.h"

namespace atl::eval {
namespace {

using dataset::Rle;

const dataset::CocoDataset& truth() {
  static const auto dataset = dataset::CocoDataset::parse(R"({
    "images": [{"id": 0, "width": 6, "height": 4, "file_name": "a"},
               {"id": 7, "width": 20, "height": 20, "file_name": "b"}],
    "categories": [{"id": 1, "name": "disc"}], "annotations": []})",
                                                          "truth.json")
                                  .value();
  return dataset;
}

std::vector<Detection> parsed(std::string_view text) {
  return parse_results(text, "results.json", truth()).value();
}

TEST(Results, a_box_file_has_areas_from_boxes_and_no_masks) {
  const auto detections = parsed(
      R"([{"score": 0.25, "bbox": [1, 2, 3.5, 2], "category_id": 1, "image_id": 7, "id": null}])");
  ASSERT_EQ(detections.size(), 1U);
  EXPECT_EQ(detections[0].image_id, 7);
  EXPECT_EQ(detections[0].category_id, 1);
  EXPECT_EQ(detections[0].score, 0.25);
  EXPECT_EQ(detections[0].box, (std::array<double, 4>{1, 2, 3.5, 2}));
  EXPECT_EQ(detections[0].area, 7);
  EXPECT_TRUE(detections[0].mask.counts.empty());
}

TEST(Results, a_mask_file_has_areas_and_boxes_from_masks) {
  const auto detections = parsed(R"([
    {"image_id": 0, "category_id": 1, "score": 1,
     "segmentation": {"counts": [5, 2, 17], "size": [4, 6]}},
    {"image_id": 0, "category_id": 1, "score": 1,
     "segmentation": {"size": [4, 6], "counts": "52a0"}},
    {"image_id": 7, "category_id": 1, "score": 1, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}])");
  ASSERT_EQ(detections.size(), 3U);
  EXPECT_EQ(detections[0].mask, (Rle{4, 6, {5, 2, 17}}));
  EXPECT_EQ(detections[0].box, (std::array<double, 4>{1, 1, 1, 2}));
  EXPECT_EQ(detections[0].area, 2);
  EXPECT_EQ(detections[2].area, 81);
}

TEST(Results, the_first_record_decides_whose_area_counts) {
  const std::string mask = R"("segmentation": {"counts": [5, 2, 17], "size": [4, 6]}})";
  const std::string head = R"({"image_id": 0, "category_id": 1, "score": 1, )";
  const std::string boxed = head + R"("bbox": [0, 0, 3, 3], )" + mask;
  EXPECT_EQ(parsed("[" + boxed + "]")[0].area, 9);
  const auto masks_lead = parsed("[" + head + mask + "," + boxed + "]");
  EXPECT_EQ(masks_lead[1].area, 2);
  EXPECT_EQ(masks_lead[1].box, (std::array<double, 4>{0, 0, 3, 3}));
  EXPECT_EQ(parsed("[" + head + R"("bbox": [], )" + mask + "]")[0].box[2], 1);
}

TEST(Results, an_empty_list_is_valid) { EXPECT_TRUE(parsed(" [ ] ").empty()); }

TEST(Results, what_is_written_reads_back_to_the_same_bits) {
  std::vector<Detection> detections;
  KeyedRandom random({3});
  for (int i = 0; i < 50; ++i) {
    Detection each;
    each.image_id = i % 2 == 0 ? 0 : 7;
    each.category_id = -i;
    each.score = random.uniform() * std::pow(10, i % 40 - 20);
    for (double& side : each.box) side = random.uniform(-1, 1000);
    if (i % 3 != 0) {
      std::vector<uint8_t> bitmap(24);
      for (auto& pixel : bitmap) pixel = static_cast<uint8_t>(random.below(2));
      each.mask = dataset::rle_from_bitmap(bitmap, 4, 6);
    }
    each.area = each.box[2] * each.box[3];
    detections.push_back(each);
  }
  detections[1].mask = {95, 1, {44, 1, 50}};  // its text has a backslash
  ASSERT_EQ(dataset::rle_to_string(detections[1].mask), "\\11b1");
  const auto read = parsed(results_to_json(detections));
  ASSERT_EQ(read.size(), detections.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].image_id, detections[i].image_id);
    EXPECT_EQ(read[i].category_id, detections[i].category_id);
    EXPECT_EQ(read[i].score, detections[i].score);
    EXPECT_EQ(read[i].box, detections[i].box);
    EXPECT_EQ(read[i].mask, detections[i].mask);
    EXPECT_EQ(read[i].area, detections[i].area);
  }
}

TEST(Results, a_number_that_json_lacks_is_null_and_is_refused_when_read) {
  Detection each;
  each.score = std::numeric_limits<double>::quiet_NaN();
  const std::string text = results_to_json(std::span(&each, 1));
  EXPECT_TRUE(nlohmann::json::parse(text)[0]["score"].is_null());
  EXPECT_FALSE(parse_results(text, "results.json", truth()));
}

void expect_refused(std::string_view text, std::string_view part) {
  const auto result = parse_results(text, "results.json", truth());
  ASSERT_FALSE(result) << text;
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  EXPECT_NE(result.error().to_string().find(part), std::string::npos)
      << text << ": " << result.error().to_string();
  EXPECT_TRUE(result.error().to_string().starts_with("results.json: "))
      << result.error().to_string();
}

TEST(Results, malformed_json_is_refused_with_the_byte) {
  const std::string record =
      R"({"image_id": 0, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4]})";
  expect_refused("", "byte 0");
  expect_refused("[" + record, "the text does not end with the list's ']'");
  expect_refused("[" + record + "] x", "the text does not end with the list's ']'");
  expect_refused("[" + record + "]]", fmt::format("near byte {}: something", record.size() + 2));
  expect_refused("[" + record + "," + record.substr(0, 40) + "]", "near byte");
  expect_refused(R"([{"image_id": 0, "category_id": 1, "score": "high"}])", "near byte 44");
  expect_refused("\xef\xbb\xbf[3]", "near byte 4");
  expect_refused(R"([{"image_id": 0.5}])", "near byte");
}

TEST(Results, bad_records_are_refused_with_their_number) {
  const std::string good = R"({"image_id": 0, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4]})";
  const auto second = [&](const std::string& record) { return "[" + good + ", {" + record + "}]"; };
  expect_refused(second(R"("category_id": 1, "score": 1)"), "record 1: it has no image_id");
  expect_refused(second(R"("image_id": 0, "score": 1)"), "record 1: it has no category_id");
  expect_refused(second(R"("image_id": 0, "category_id": 1)"), "record 1: it has no score");
  const std::string ids = R"("image_id": 0, "category_id": 1, "score": 1)";
  expect_refused(second(ids), "record 1: it has no bbox, though the first record has one");
  expect_refused(second(ids + R"(, "bbox": [1, 2, 3])"), "record 1: bbox has 3 numbers");
  expect_refused(second(R"("image_id": 9, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4])"),
                 "record 1: image_id 9 is not in the ground truth");
  const auto mask = [&](const std::string& value) {
    return "[{" + ids + R"(, "segmentation": )" + value + "}]";
  };
  expect_refused("[{" + ids + "}]", "record 0: it has neither bbox nor segmentation");
  expect_refused(mask("[]"), "record 0: it has neither");
  expect_refused(mask("[[1, 2, 3, 4]]"), "record 0: a polygon of 4 numbers");
  expect_refused(mask(R"({"size": [4, 6]})"), "segmentation has no counts");
  expect_refused(mask(R"({"counts": "52a0"})"), "segmentation needs a size");
  expect_refused(mask(R"({"size": [4, -6], "counts": "52a0"})"), "side -6 is out of range");
  expect_refused(mask(R"({"size": [4, 5], "counts": "52a0"})"), "record 0: mask's runs sum");
  expect_refused(mask(R"({"size": [4, 6], "counts": [5, 4294967296]})"), "run 4294967296");
}

TEST(Results, another_document_than_a_list_is_refused) {
  expect_refused(R"({"images": []})", "not a list of results");
  expect_refused("3", "not a list of results");
}

}  // namespace
}  // namespace atl::eval
