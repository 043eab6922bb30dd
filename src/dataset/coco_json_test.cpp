#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"
#include "dataset/coco_json_cursor.h"

namespace atl::dataset {
namespace {

using nlohmann::json;
using Mode = CocoDataset::Mode;

// Two images (one with id 0), category ids with a hole, each kind of segmentation.
json sample() {
  return json::parse(R"({
    "info": {"note": "a \"quoted\" ] brace }"},
    "images": [
      {"id": 7, "width": 10, "height": 8, "file_name": "seven.jpg"},
      {"id": 0, "width": 4, "height": 3, "file_name": "näught.png", "license": null}],
    "categories": [
      {"id": 5, "name": "star", "supercategory": "shape"},
      {"id": 2, "name": "disc"}],
    "annotations": [
      {"id": 3, "image_id": 0, "category_id": 5, "iscrowd": 1, "area": 2, "bbox": [1, 0, 1, 2],
       "segmentation": {"size": [3, 4], "counts": [3, 2, 7]}},
      {"id": 1, "image_id": 7, "category_id": 2, "area": 12.5, "bbox": [1.5, 2, 4, 4],
       "segmentation": [[1, 2, 5, 2, 5, 6, 1, 6], [7, 1, 9, 1, 8, 3]], "attributes": {"x": [{}]}},
      {"id": 0, "image_id": 0, "category_id": 2, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]},
      {"id": 9, "image_id": 7, "category_id": 5, "iscrowd": false, "area": 9, "bbox": [0, 0, 3, 3],
       "segmentation": []}]})");
}

Result<CocoDataset> parse(const json& document, Mode mode = Mode::kStrict) {
  return CocoDataset::parse(document.dump(), "test.json", mode);
}

std::string error_of(const json& document) {
  const auto parsed = parse(document);
  return parsed ? "no error" : parsed.error().to_string();
}

std::string error_of_text(std::string_view text) {
  const auto parsed = CocoDataset::parse(text, "test.json");
  return parsed ? "no error" : parsed.error().to_string();
}

TEST(CocoJson, every_kind_of_record_is_read) {
  const auto data = parse(sample());
  ASSERT_TRUE(data) << data.error().to_string();
  ASSERT_EQ(data->images().size(), 2U);
  EXPECT_EQ(data->images()[0].id, 7);
  EXPECT_EQ(data->images()[0].width, 10);
  EXPECT_EQ(data->images()[0].height, 8);
  EXPECT_EQ(data->images()[0].file_name, "seven.jpg");
  EXPECT_EQ(data->images()[1].file_name, "näught.png");
  ASSERT_EQ(data->categories().size(), 2U);
  EXPECT_EQ(data->categories()[0], (Category{2, "disc", ""}));
  EXPECT_EQ(data->categories()[1], (Category{5, "star", "shape"}));

  const auto of_seven = data->annotations_of(0);
  ASSERT_EQ(of_seven.size(), 2U);
  EXPECT_EQ(of_seven[0].id, 1);
  EXPECT_EQ(of_seven[0].kind, SegmentationKind::kPolygons);
  ASSERT_EQ(of_seven[0].part_count, 2U);
  const auto second = data->polygon(of_seven[0].first_part + 1);
  EXPECT_EQ(std::vector<double>(second.begin(), second.end()),
            (std::vector<double>{7, 1, 9, 1, 8, 3}));
  EXPECT_EQ(of_seven[0].box, (std::array<double, 4>{1.5, 2, 4, 4}));
  EXPECT_EQ(of_seven[0].area, 12.5);
  EXPECT_EQ(of_seven[1].kind, SegmentationKind::kNone);

  const auto of_naught = data->annotations_of(1);
  ASSERT_EQ(of_naught.size(), 2U);
  EXPECT_TRUE(of_naught[0].crowd);
  EXPECT_EQ(data->rle(of_naught[0].first_part), (Rle{3, 4, {3, 2, 7}}));
  EXPECT_FALSE(of_naught[1].crowd);
}

TEST(CocoJson, labels_are_contiguous_whatever_the_ids) {
  const auto data = parse(sample());
  ASSERT_TRUE(data);
  EXPECT_EQ(data->label_of(2), 1);
  EXPECT_EQ(data->label_of(5), 2);
  EXPECT_EQ(data->label_of(3), std::nullopt);
  EXPECT_EQ(data->image_index(0), 1U);
  EXPECT_EQ(data->image_index(1), std::nullopt);
}

TEST(CocoJson, sections_may_come_in_any_order) {
  const json document = sample();
  std::vector<std::string> keys = {"annotations", "categories", "images"};
  const std::string expected = to_json(*parse(document));
  do {
    std::string text = "{";
    for (const auto& key : keys) {
      text += (text.size() > 1 ? ", \"" : "\"") + key + "\": " + document[key].dump(2);
    }
    const auto data = CocoDataset::parse(text + "}\n", "test.json");
    ASSERT_TRUE(data) << data.error().to_string();
    EXPECT_EQ(to_json(*data), expected);
  } while (std::next_permutation(keys.begin(), keys.end()));
}

TEST(CocoJson, a_compressed_rle_is_the_same_mask_as_its_counts) {
  json document = sample();
  document["annotations"][0]["segmentation"]["counts"] = rle_to_string(Rle{3, 4, {3, 2, 7}});
  const auto data = parse(document);
  ASSERT_TRUE(data) << data.error().to_string();
  EXPECT_EQ(data->rle(0), (Rle{3, 4, {3, 2, 7}}));
}

TEST(CocoJson, written_datasets_read_back_equal) {
  const auto data = parse(sample());
  ASSERT_TRUE(data);
  const std::string text = to_json(*data);
  const auto again = CocoDataset::parse(text, "again");
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(to_json(*again), text);
  ASSERT_EQ(again->annotations().size(), data->annotations().size());
  for (size_t i = 0; i < data->annotations().size(); ++i) {
    EXPECT_EQ(again->mask_of(again->annotations()[i]), data->mask_of(data->annotations()[i]));
  }
}

TEST(CocoJson, a_missing_box_or_area_comes_from_the_mask) {
  json document = sample();
  document["annotations"][0].erase("bbox");
  document["annotations"][0].erase("area");
  document["annotations"][2].erase("area");
  const auto data = parse(document);
  ASSERT_TRUE(data) << data.error().to_string();
  EXPECT_EQ(data->annotations_of(1)[0].box, (std::array<double, 4>{1, 0, 1, 2}));
  EXPECT_EQ(data->annotations_of(1)[0].area, 2);
  EXPECT_EQ(data->annotations_of(1)[1].area, 4);  // no mask: that of the box
}

TEST(CocoJson, masks_follow_the_image_when_it_is_resized_and_mirrored) {
  const auto data = parse(sample());
  ASSERT_TRUE(data);
  const Annotation& polygons = data->annotations_of(0)[0];
  EXPECT_EQ(data->mask_of(polygons, 16, 20, false),
            rle_merge(std::vector<Rle>{
                rle_from_polygon(std::vector<double>{2, 4, 10, 4, 10, 12, 2, 12}, 16, 20),
                rle_from_polygon(std::vector<double>{14, 2, 18, 2, 16, 6}, 16, 20)}));
  EXPECT_EQ(data->mask_of(polygons, 8, 10, true), rle_flip_horizontal(data->mask_of(polygons)));
  const Annotation& runs = data->annotations_of(1)[0];
  EXPECT_EQ(rle_area(data->mask_of(runs, 6, 8, false)), 8U);
  const Annotation& box_only = data->annotations_of(1)[1];
  EXPECT_EQ(rle_area(data->mask_of(box_only)), 4U);
}

struct BadRecord {
  const char* pointer;  // what is replaced in sample(); a value of "DELETE" removes it
  const char* value;
  const char* message;  // a part of the error
};

class BadRecords : public testing::TestWithParam<BadRecord> {};

TEST_P(BadRecords, strict_names_it_and_lenient_drops_it) {
  const BadRecord& bad = GetParam();
  json document = sample();
  const json::json_pointer pointer(bad.pointer);
  if (bad.value == std::string("DELETE")) {
    document[pointer.parent_pointer()].erase(pointer.back());
  } else {
    document[pointer] = json::parse(bad.value);
  }
  EXPECT_NE(error_of(document).find(bad.message), std::string::npos) << error_of(document);
  EXPECT_TRUE(error_of(document).starts_with("test.json: ")) << error_of(document);
  EXPECT_EQ(parse(document).error().code, ErrorCode::kInvalidInput);

  const auto lenient = parse(document, Mode::kLenient);
  ASSERT_TRUE(lenient) << lenient.error().to_string();
  ASSERT_GE(lenient->issue_count(), 1U);
  EXPECT_NE(lenient->issues()[0].find(bad.message), std::string::npos) << lenient->issues()[0];
}

INSTANTIATE_TEST_SUITE_P(
    CocoJson,
    BadRecords,
    testing::Values(
        BadRecord{"/images/0/width", "0", "image 7: width x height is 0 x 8"},
        BadRecord{"/images/0/height", "-8", "image 7: width x height is 10 x -8"},
        BadRecord{"/images/0/height", "1048577", "image 7: width x height is 10 x 1048577"},
        BadRecord{"/images/1",
                  R"({"id": 1, "width": 70000, "height": 70000, "file_name": "x"})",
                  "image 1: width x height is 70000 x 70000"},
        BadRecord{"/images/0/id", "0", "image 0: the id appears twice"},
        BadRecord{"/images/0/id", "7.5", "the image at byte"},
        BadRecord{"/images/0/id", "99999999999999999999", "'id' must be an integer"},
        BadRecord{"/images/0/width", "\"10\"", "image 7: 'width' must be an integer, found \"10\""},
        BadRecord{"/images/0/file_name", "17", "image 7: 'file_name' must be a string, found 17"},
        BadRecord{"/images/0/file_name", "\"\"", "image 7: 'file_name' is empty"},
        BadRecord{"/images/0/file_name", "DELETE", "image 7: the key 'file_name' is missing"},
        BadRecord{"/images/0", "[1]", "it is not an object"},
        BadRecord{"/categories/0/id", "2", "category 2: the id appears twice"},
        BadRecord{"/categories/0/name", "DELETE", "category 5: the key 'name' is missing"},
        BadRecord{"/annotations/1/id", "3", "annotation 3: the id appears twice"},
        BadRecord{"/annotations/1/image_id", "8", "annotation 1: image 8, which it names"},
        BadRecord{
            "/annotations/1/image_id", "DELETE", "annotation 1: the key 'image_id' is missing"},
        BadRecord{"/annotations/1/category_id", "3", "annotation 1: category 3, which it names"},
        BadRecord{"/annotations/1/category_id",
                  "2.0",
                  "annotation 1: 'category_id' must be an integer, found 2.0"},
        BadRecord{"/annotations/1/iscrowd", "2", "annotation 1: 'iscrowd' must be 0 or 1"},
        BadRecord{"/annotations/1/area", "-1", "annotation 1: 'area' is -1"},
        BadRecord{"/annotations/1/area", "\"big\"", "annotation 1: 'area' must be a number"},
        BadRecord{"/annotations/1/bbox", "[1, 2, 3]", "annotation 1: 'bbox' has 3 numbers"},
        BadRecord{"/annotations/1/bbox", "[1, 2, -3, 4]", "annotation 1: 'bbox' is [1, 2, -3, 4]"},
        BadRecord{"/annotations/1/bbox",
                  "{\"x\": 1}",
                  "annotation 1: 'bbox' must be 4 numbers, found an object"},
        BadRecord{"/annotations/2/bbox", "DELETE", "annotation 0: it has neither 'bbox' nor"},
        BadRecord{"/annotations/1/segmentation",
                  "[[1, 2, 3, 4]]",
                  "annotation 1: polygon 0 has 4 numbers"},
        BadRecord{"/annotations/1/segmentation/1",
                  "[1, 2, 3, 4, 5, 6, 7]",
                  "annotation 1: polygon 1 has 7 numbers"},
        BadRecord{"/annotations/1/segmentation/0/3",
                  "1e300",
                  "annotation 1: polygon 0 has the coordinate 1e+300"},
        BadRecord{"/annotations/1/segmentation/0/3",
                  "null",
                  "annotation 1: 'segmentation' must be a number, found null"},
        BadRecord{"/annotations/1/segmentation",
                  "[1, 2, 3, 4, 5, 6]",
                  "annotation 1: 'segmentation' must be a list of polygons, found 1"},
        BadRecord{"/annotations/1/segmentation",
                  "3",
                  "annotation 1: 'segmentation' must be polygons or an RLE, found 3"},
        BadRecord{"/annotations/0/segmentation/size",
                  "[4, 3]",
                  "annotation 3: the mask is 4 x 3 (height x width), but image 0 is 3 x 4"},
        BadRecord{"/annotations/0/segmentation/size", "[3]", "annotation 3: 'size' has 1 number"},
        BadRecord{"/annotations/0/segmentation/size", "[3, 0]", "annotation 3: a mask side is 0"},
        BadRecord{
            "/annotations/0/segmentation/size", "DELETE", "annotation 3: its RLE has no 'size'"},
        BadRecord{"/annotations/0/segmentation/counts",
                  "DELETE",
                  "annotation 3: its RLE has no 'counts'"},
        BadRecord{"/annotations/0/segmentation/counts", "[3, 2, 8]", "annotation 3: RLE: "},
        BadRecord{"/annotations/0/segmentation/counts", "\"\\u0001\"", "annotation 3: RLE: "},
        BadRecord{"/annotations/0/segmentation/counts",
                  "[3, -2, 11]",
                  "annotation 3: a run of its mask has the length -2"}));

TEST(CocoJson, a_number_that_json_does_not_have_is_named) {
  std::string text = sample().dump();
  const size_t place = text.find("12.5");
  ASSERT_NE(place, std::string::npos);
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e999"}) {
    std::string changed = text;
    changed.replace(place, 4, number);
    EXPECT_EQ(error_of_text(changed),
              std::string("test.json: annotation 1: 'area' must be a number, found ") + number);
  }
}

TEST(CocoJson, one_short_polygon_costs_only_itself_in_a_lenient_load) {
  json document = sample();
  document["annotations"][1]["segmentation"][0] = {1, 2, 3, 4};
  const auto data = parse(document, Mode::kLenient);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->annotations().size(), 4U);
  EXPECT_EQ(data->annotations_of(0)[0].part_count, 1U);
  EXPECT_EQ(data->polygon(0)[0], 7);
  EXPECT_EQ(data->issue_count(), 1U);
  // Without another polygon the annotation goes, and leaves nothing behind.
  document["annotations"][1]["segmentation"].erase(1);
  const auto without = parse(document, Mode::kLenient);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->annotations().size(), 3U);
  EXPECT_EQ(without->issue_count(), 2U);
}

TEST(CocoJson, lenient_counts_every_issue_and_keeps_a_hundred) {
  json document = sample();
  for (int i = 0; i < 250; ++i) {
    json annotation = sample()["annotations"][2];
    annotation["id"] = 100 + i;
    annotation["category_id"] = 77;
    document["annotations"].push_back(annotation);
  }
  const auto data = parse(document, Mode::kLenient);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->issue_count(), 250U);
  EXPECT_EQ(data->issues().size(), 100U);
  EXPECT_EQ(data->annotations().size(), 4U);
}

TEST(CocoJson, malformed_text_gives_the_byte) {
  EXPECT_EQ(
      error_of_text(""),
      "test.json: byte 0: malformed JSON: expected '{', but the text ends (check that the file "
      "is complete)");
  EXPECT_NE(error_of_text("[]").find("byte 0: malformed JSON: expected '{', found '['"),
            std::string::npos);
  EXPECT_NE(
      error_of_text(R"({"images" []})").find("byte 10: malformed JSON: expected ':', found '['"),
      std::string::npos);
  EXPECT_NE(error_of_text(R"({"images": [}]})").find("byte 12: malformed JSON: expected a value"),
            std::string::npos);
  EXPECT_NE(error_of_text(R"({"a": {"b": [1}})").find("byte 14: malformed JSON: '}' closes"),
            std::string::npos);
  const std::string deep(5000, '[');
  EXPECT_NE(error_of_text("{\"a\": " + deep).find("nested too deeply"), std::string::npos);
  EXPECT_NE(error_of_text(sample().dump() + "x").find("something follows the end"),
            std::string::npos);
  EXPECT_NE(error_of_text(R"({"images": [], "images": []})").find("'images' appears twice"),
            std::string::npos);
  EXPECT_NE(error_of_text(R"({"images": {}})").find("byte 11: 'images' must be a list"),
            std::string::npos);
  EXPECT_NE(error_of_text(R"({"images": [], "annotations": []})").find("it has no 'categories'"),
            std::string::npos);
  // Inside a record, which is lenient's business no more than strict's.
  const std::string inside = R"({"categories": [], "annotations": [], "images": [{"id" 3}]})";
  EXPECT_NE(error_of_text(inside).find("malformed JSON: in the image that begins at byte 49"),
            std::string::npos)
      << error_of_text(inside);
  EXPECT_FALSE(CocoDataset::parse(inside, "x", Mode::kLenient));
}

TEST(CocoJson, no_cut_or_flipped_byte_gets_past_the_checks) {
  const std::string text = sample().dump();
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_NE(error_of_text(text.substr(0, length)).find("malformed JSON"), std::string::npos)
        << length;
  }
  for (uint64_t i = 0; i < 3000; ++i) {
    KeyedRandom random({1, i});
    std::string changed = text;
    changed[random.below(text.size())] = static_cast<char>(random.below(256));
    const auto data = CocoDataset::parse(changed, "changed", Mode::kLenient);
    if (!data) continue;
    for (const Annotation& annotation : data->annotations()) {
      const Image& image = data->images()[static_cast<size_t>(annotation.image_index)];
      EXPECT_EQ(data->mask_of(annotation).width, static_cast<uint32_t>(image.width));
    }
  }
}

// The narrow types and the wide one, told apart by what a text can hold: every number comes back to
// the last bit.
TEST(CocoJson, coordinates_come_back_to_the_last_bit_whatever_their_form) {
  const std::vector<std::vector<const char*>> polygons = {
      {"0", "0.01", "655.35", "12.5", "7", "100.10"},
      {"0", "655.36", "-0.01", "10485.76", "-10485.76", "3"},
      {"1", "2", "3", "4", "5", "-0.0"},
      {"1.005", "2", "3", "4", "5", "6"},
      {"0.1000000000000000055511151231257827", "0.30000000000000004", "3", "4", "5", "6"},
      {"1e-300", "5e-324", "2097152", "-2097152", "4", "1E2"}};
  for (const auto& polygon : polygons) {
    json document = sample();
    document["annotations"][1]["segmentation"] = {{"HERE"}};
    std::string text = document.dump();
    text.replace(text.find("\"HERE\""), 6, fmt::format("{}", fmt::join(polygon, ",")));
    const auto data = CocoDataset::parse(text, "test.json");
    ASSERT_TRUE(data) << data.error().to_string();
    const Polygon read = data->polygon(0);
    std::vector<double> all;
    read.append_to(all);
    ASSERT_EQ(all.size(), polygon.size());
    for (size_t i = 0; i < polygon.size(); ++i) {
      const auto expected = std::bit_cast<uint64_t>(std::strtod(polygon[i], nullptr));
      EXPECT_EQ(std::bit_cast<uint64_t>(read[i]), expected) << polygon[i];
      EXPECT_EQ(std::bit_cast<uint64_t>(all[i]), expected) << polygon[i];
    }
  }
}

TEST(CocoJson, names_survive_a_move_of_the_dataset) {
  auto data = parse(sample());
  ASSERT_TRUE(data);
  const CocoDataset moved = std::move(*data);
  EXPECT_EQ(moved.images()[0].file_name, "seven.jpg");
}

TEST(CocoJson, the_first_names_come_without_reading_on) {
  const std::string text =
      R"({"info": {}, "images": [{"id": 1, "width": 1, "height": 1, "file_name": "a"},
          {"id": 2}, {"id": 3, "width": 1, "height": 1, "file_name": "b"}], "annotations": [ broken)";
  EXPECT_EQ(first_file_names(text, 5).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(first_file_names(text, 1).value(), (std::vector<std::string>{"a"}));
  EXPECT_EQ(first_file_names("{\"a\": 1}", 5).value(), std::vector<std::string>{});
  EXPECT_FALSE(first_file_names("{\"images\" 1}", 5));
}

TEST(JsonCursor, a_string_ends_at_the_first_quote_that_is_not_escaped) {
  JsonCursor cursor(R"( "a\"b\\" , "c")");
  EXPECT_EQ(cursor.string().value(), R"(a\"b\\)");
  EXPECT_TRUE(cursor.accept(','));
  EXPECT_EQ(cursor.skip_value().value(), "\"c\"");
  EXPECT_EQ(cursor.peek(), '\0');
}

// The ground truth of cocoapi's own example and the two real datasets load strictly.
TEST(CocoJson, real_files_load) {
  const char* variable = std::getenv("ATOLL_REAL_DATA");
  const std::filesystem::path root =
      variable != nullptr ? std::filesystem::path(variable)
                          : std::filesystem::path(ATOLL_SOURCE_DIR) / "../shared/data";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << "no real data in " << root;
  const std::vector<std::tuple<std::string, size_t, size_t>> files = {
      {"balloon/instances_train.json", 61, 255},
      {"fruits_nuts/trainval.json", 18, 165},
      {"coco_eval_ref/instances_val2014_100.json", 100, 839}};
  for (const auto& [name, images, annotations] : files) {
    std::ifstream file(root / name, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    const auto data = CocoDataset::parse(text.str(), name);
    ASSERT_TRUE(data) << data.error().to_string();
    EXPECT_EQ(data->images().size(), images) << name;
    EXPECT_EQ(data->annotations().size(), annotations) << name;
    const auto again = CocoDataset::parse(to_json(*data), name);
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(to_json(*again), to_json(*data));
  }
}

}  // namespace
}  // namespace atl::dataset
