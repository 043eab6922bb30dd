#include "train/predictions_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "storage/fake_store.h"

namespace atl::train {
namespace {

std::vector<eval::Detection> detections_of(int64_t image_id, size_t count) {
  std::vector<eval::Detection> records(count);
  for (size_t i = 0; i < count; ++i) {
    records[i].image_id = image_id;
    records[i].category_id = static_cast<int64_t>(i % 5);
    records[i].score = 1.0 / static_cast<double>(i + 3);
    records[i].box = {0.1, 20, 30.5, 40};
    records[i].mask = {100, 80, {2000, 1000, 1000, 4000}};
  }
  return records;
}

size_t resident_bytes() {
  size_t total_pages = 0;
  size_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
  return resident_pages * 4096;
}

std::string written(const std::vector<std::vector<eval::Detection>>& images) {
  auto file = PredictionsFile::create().value();
  for (const auto& records : images) EXPECT_TRUE(file.add(records));
  storage::FakeStore store;
  EXPECT_TRUE(std::move(file).write_to(store, "predictions.json"));
  return std::string(store.get("predictions.json").value().text());
}

TEST(PredictionsFile, holds_what_all_detections_at_once_would_give) {
  std::vector<std::vector<eval::Detection>> images;
  std::vector<eval::Detection> all;
  for (int64_t id = 0; id < 6; ++id) {
    images.push_back(detections_of(id, id % 3 == 0 ? 0 : 4));
    all.insert(all.end(), images.back().begin(), images.back().end());
  }
  EXPECT_EQ(written(images), eval::results_to_json(all));
  EXPECT_EQ(written({}), eval::results_to_json({}));
  EXPECT_EQ(written({{}, {}}), eval::results_to_json({}));
}

// 30,000 images with 20 detections each make some 70 MB of text.
TEST(PredictionsFile, memory_does_not_grow_with_the_number_of_images) {
  auto file = PredictionsFile::create().value();
  ASSERT_TRUE(file.add(detections_of(0, 20)));
  const size_t before = resident_bytes();
  for (int64_t id = 1; id < 30'000; ++id) ASSERT_TRUE(file.add(detections_of(id, 20)));
  EXPECT_EQ(file.count(), 600'000);
  EXPECT_LT(resident_bytes(), before + 8'000'000);
}

}  // namespace
}  // namespace atl::train
