#include "dataset/stats.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atl::dataset {
namespace {

// Three images: one with a small and a large object, one with a crowd, one empty.
CocoDataset sample() {
  return *CocoDataset::parse(R"({
    "images": [{"id": 0, "width": 200, "height": 100, "file_name": "a"},
               {"id": 1, "width": 100, "height": 300, "file_name": "b"},
               {"id": 2, "width": 100, "height": 100, "file_name": "c"}],
    "categories": [{"id": 4, "name": "Bär"}, {"id": 1, "name": "fox"}],
    "annotations": [
      {"id": 1, "image_id": 0, "category_id": 4, "bbox": [0, 0, 20, 10], "area": 1023.9,
       "segmentation": [[0, 0, 20, 0, 20, 10, 0, 10]]},
      {"id": 2, "image_id": 0, "category_id": 4, "bbox": [0, 0, 96, 96], "area": 9216},
      {"id": 3, "image_id": 1, "category_id": 4, "iscrowd": 1, "bbox": [0, 0, 1, 2], "area": 2,
       "segmentation": {"size": [300, 100], "counts": [0, 2, 29998]}}]})",
                             "sample");
}

TEST(Stats, count_what_is_there) {
  const DatasetStats stats = dataset_stats(sample());
  EXPECT_EQ(stats.images, 3);
  EXPECT_EQ(stats.empty_images, 1);
  EXPECT_EQ(stats.objects, 2);
  EXPECT_EQ(stats.crowds, 1);
  EXPECT_EQ(stats.small, 1);
  EXPECT_EQ(stats.medium, 0);
  EXPECT_EQ(stats.large, 1);  // 96 x 96 is large, as COCO counts
  EXPECT_EQ(stats.with_polygons, 1);
  EXPECT_EQ(stats.with_rle, 1);
  EXPECT_EQ(stats.without_mask, 1);
  EXPECT_EQ(stats.landscape, 1);
  EXPECT_EQ(stats.portrait, 1);
  EXPECT_EQ(stats.square, 1);
  EXPECT_EQ(stats.height_px.median, 100);
  EXPECT_EQ(stats.height_px.max, 300);
  EXPECT_EQ(stats.objects_per_image.max, 2);
  EXPECT_DOUBLE_EQ(stats.objects_per_image.mean, 2.0 / 3);
  EXPECT_EQ(stats.object_aspect.max, 2);
  ASSERT_EQ(stats.classes.size(), 2U);
  EXPECT_EQ(stats.classes[0].category.name, "fox");
  EXPECT_EQ(stats.classes[0].objects, 0);
  EXPECT_EQ(stats.classes[1].objects, 2);
  EXPECT_EQ(stats.classes[1].crowds, 1);
  EXPECT_EQ(stats.classes[1].images, 2);
}

TEST(Stats, the_table_lines_up_under_names_that_are_not_ascii) {
  const std::string table = stats_table(dataset_stats(sample()));
  EXPECT_NE(table.find("     4  Bär           2  100.0 %       1        2\n"), std::string::npos)
      << table;
  EXPECT_NE(table.find("     1  fox           0    0.0 %       0        0\n"), std::string::npos)
      << table;
}

TEST(Stats, json_has_the_same_numbers) {
  const auto document = nlohmann::json::parse(stats_json(dataset_stats(sample())));
  EXPECT_EQ(document["images"]["count"], 3);
  EXPECT_EQ(document["images"]["empty"], 1);
  EXPECT_EQ(document["objects"]["small"], 1);
  EXPECT_EQ(document["objects"]["area_px"]["max"], 9216);
  EXPECT_EQ(document["classes"][1]["name"], "Bär");
  EXPECT_EQ(document["classes"][1]["images"], 2);
}

TEST(Stats, an_empty_dataset_has_empty_numbers) {
  const auto data =
      CocoDataset::parse(R"({"images": [], "annotations": [], "categories": []})", "empty");
  const DatasetStats stats = dataset_stats(*data);
  EXPECT_EQ(stats.images, 0);
  EXPECT_EQ(stats.width_px.max, 0);
  EXPECT_FALSE(stats_table(stats).empty());
}

}  // namespace
}  // namespace atl::dataset
