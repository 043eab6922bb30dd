#include "train/batch_feed.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace atl::train {
namespace {

dataset::Batch batch_of(int64_t step, std::vector<int64_t> images) {
  dataset::Batch batch;
  batch.step = step;
  batch.height = batch.width = 32;
  batch.pixels =
      dataset::PixelBuffer(dataset::PixelType::kFloat32, images.size() * size_t{32 * 32 * 3});
  for (const int64_t image : images) {
    auto& sample = batch.samples.emplace_back();
    sample.image_index = image;
    sample.image_id = image + 100;
    sample.resized = {32, 32};
  }
  return batch;
}

// Two batches with images, between them one of which none could be read; then `last`.
BatchFeed::Source source_ending_with(Result<std::optional<dataset::Batch>> last) {
  return [step = int64_t{0},
          last = std::move(last)]() mutable -> Result<std::optional<dataset::Batch>> {
    const int64_t now = step++;
    if (now == 0) return batch_of(0, {3, 1});
    if (now == 1) return batch_of(1, {});
    if (now == 2) return batch_of(2, {2});
    return std::move(last);
  };
}

TEST(BatchFeed, batches_come_in_order_whether_staged_or_not) {
  for (const bool staging : {false, true}) {
    BatchFeed feed(source_ending_with(std::nullopt), at::kCPU);
    std::vector<std::vector<int64_t>> images;
    for (int64_t step = 0; step < 3; ++step) {
      auto batch = feed.next();
      ASSERT_TRUE(batch && *batch);
      EXPECT_EQ((*batch)->step, step);
      EXPECT_EQ((*batch)->tensors.has_value(), step != 1);
      images.push_back((*batch)->images);
      if (staging) feed.stage();
    }
    EXPECT_EQ(images, (std::vector<std::vector<int64_t>>{{3, 1}, {}, {2}}));
    const auto end = feed.next();
    ASSERT_TRUE(end);
    EXPECT_FALSE(*end);
  }
}

TEST(BatchFeed, an_error_of_the_source_comes_in_its_turn) {
  BatchFeed feed(source_ending_with(fail(ErrorCode::kIo, "the disk is gone")), at::kCPU);
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(feed.next());
    feed.stage();
  }
  const auto failed = feed.next();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "the disk is gone");
}

TEST(BatchFeed, waiting_is_counted_once) {
  BatchFeed feed(source_ending_with(std::nullopt), at::kCPU);
  ASSERT_TRUE(feed.next());
  EXPECT_GT(feed.take_waited_s(), 0);
  EXPECT_EQ(feed.take_waited_s(), 0);
}

}  // namespace
}  // namespace atl::train
