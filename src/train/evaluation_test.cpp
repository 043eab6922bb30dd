#include "train/evaluation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace atl::train {
namespace {

Split split_of(const std::vector<dataset::ImageSize>& sizes) {
  std::string images;
  for (size_t i = 0; i < sizes.size(); ++i) {
    images += fmt::format(R"({}{{"id": {}, "file_name": "{}.jpg", "width": {}, "height": {}}})",
                          i == 0 ? "" : ",",
                          i,
                          i,
                          sizes[i].width,
                          sizes[i].height);
  }
  Split split;
  split.dataset = *dataset::CocoDataset::parse(
      fmt::format(R"({{"images": [{}], "annotations": [], "categories": []}})", images), "test");
  for (size_t i = 0; i < sizes.size(); ++i) split.images.push_back(static_cast<int64_t>(i));
  return split;
}

// At 320 px and padded to multiples of 32, (height, width).
std::pair<int, int> padded_size(const Split& split, int64_t index) {
  const auto size = split.sizes()[static_cast<size_t>(index)];
  const auto resized = dataset::resized_size(size, 320, 320);
  return {(resized.height + 31) / 32 * 32, (resized.width + 31) / 32 * 32};
}

TEST(EvaluationBatches, hold_each_image_once_and_only_images_that_are_padded_alike) {
  const Split split = split_of({{1024, 768},  // 240 high
                                {768, 1024},
                                {640, 480},
                                {1024, 683},  // 213 high: another padding
                                {500, 500},
                                {2048, 1536},
                                {1000, 740}});  // 237 high: padded to 256 like 240
  model::ModelConfig config;
  config.min_size_px = 320;
  config.max_size_px = 320;
  for (const int64_t batch : {1, 2, 3, 8}) {
    std::vector<int64_t> seen;
    std::map<std::pair<int, int>, std::pair<int64_t, int64_t>> of_size;  // batches, images
    for (const auto& indices : evaluation_batches(split, config, batch)) {
      ASSERT_FALSE(indices.empty());
      EXPECT_LE(static_cast<int64_t>(indices.size()), batch);
      ++of_size[padded_size(split, indices.front())].first;
      for (const int64_t index : indices) {
        EXPECT_EQ(padded_size(split, index), padded_size(split, indices.front()));
        ++of_size[padded_size(split, index)].second;
        seen.push_back(index);
      }
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, split.images);
    ASSERT_EQ(of_size.size(), 4U);
    for (const auto& [size, count] : of_size) {
      EXPECT_EQ(count.first, (count.second + batch - 1) / batch);  // full but the last
    }
  }
}

TEST(EvaluationRounds, are_a_second_long_but_one_batch_at_least_and_eight_at_most) {
  EXPECT_EQ(batches_in_round(0), 1);
  EXPECT_EQ(batches_in_round(1e-9), 8);
  EXPECT_EQ(batches_in_round(0.125), 8);
  EXPECT_EQ(batches_in_round(0.3), 3);
  EXPECT_EQ(batches_in_round(1), 1);
  EXPECT_EQ(batches_in_round(1000), 1);
}

}  // namespace
}  // namespace atl::train
