#include "dataset/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

std::vector<ImageSize> some_sizes(int count, uint64_t seed) {
  KeyedRandom random(seed);
  std::vector<ImageSize> sizes;
  for (int i = 0; i < count; ++i) {
    sizes.push_back({1 + static_cast<int>(random.below(5)), 1 + static_cast<int>(random.below(5))});
  }
  return sizes;
}

// For any number of images and any options: an epoch holds every image, and the surplus is the
// padding that was announced.
TEST(Sampler, every_image_comes_once_an_epoch_but_for_the_padding) {
  for (uint64_t round = 0; round < 200; ++round) {
    KeyedRandom random({round, 1});
    const auto sizes = some_sizes(1 + static_cast<int>(random.below(40)), round);
    SamplerOptions options;
    options.seed = round;
    options.global_batch = 1 + static_cast<int>(random.below(9));
    options.shuffle = random.below(4) != 0;
    options.group_by_aspect = random.below(2) == 0;
    Sampler sampler(sizes, options);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      std::map<int64_t, int> seen;
      for (int64_t s = 0; s < sampler.batches_per_epoch(); ++s) {
        const int64_t step = epoch * sampler.batches_per_epoch() + s;
        EXPECT_EQ(sampler.epoch_of(step), epoch);
        const auto batch = sampler.batch(step);
        ASSERT_EQ(batch.size(), static_cast<size_t>(options.global_batch));
        for (const int64_t image : batch) ++seen[image];
      }
      ASSERT_EQ(seen.size(), sizes.size()) << "round " << round;
      EXPECT_EQ(seen.begin()->first, 0);
      EXPECT_EQ(seen.rbegin()->first, static_cast<int64_t>(sizes.size()) - 1);
      int64_t surplus = 0;
      for (const auto& [image, times] : seen) surplus += times - 1;
      EXPECT_EQ(surplus, sampler.padding_per_epoch());
      EXPECT_LT(surplus, 2 * options.global_batch);
    }
  }
}

TEST(Sampler, any_order_of_access_gives_the_same_batches) {
  const auto sizes = some_sizes(23, 5);
  SamplerOptions options;
  options.global_batch = 4;
  Sampler sequential(sizes, options);
  Sampler random_access(sizes, options);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t step = 0; step < 40; ++step) batches.push_back(sequential.batch(step));
  KeyedRandom random(8);
  for (int i = 0; i < 200; ++i) {
    const auto step = static_cast<size_t>(random.below(40));
    EXPECT_EQ(random_access.batch(static_cast<int64_t>(step)), batches[step]);
  }
}

TEST(Sampler, seed_and_epoch_change_the_order) {
  const auto sizes = some_sizes(64, 5);
  const auto epoch_of = [&](uint64_t seed, int64_t epoch) {
    SamplerOptions options;
    options.seed = seed;
    Sampler sampler(sizes, options);
    std::vector<int64_t> order;
    for (int64_t s = 0; s < sampler.batches_per_epoch(); ++s) {
      for (const int64_t image : sampler.batch(epoch * sampler.batches_per_epoch() + s)) {
        order.push_back(image);
      }
    }
    return order;
  };
  EXPECT_EQ(epoch_of(1, 0), epoch_of(1, 0));
  EXPECT_NE(epoch_of(1, 0), epoch_of(1, 1));
  EXPECT_NE(epoch_of(1, 0), epoch_of(2, 0));
  EXPECT_NE(epoch_of(1, 1), epoch_of(2, 0));
}

TEST(Sampler, a_batch_holds_one_aspect_and_the_aspects_mix_over_the_epoch) {
  std::vector<ImageSize> sizes(100, {4, 3});
  for (size_t i = 0; i < 50; ++i) sizes[i * 2] = {3, 4};
  SamplerOptions options;
  options.global_batch = 4;
  Sampler sampler(sizes, options);
  int changes = 0;
  bool last = false;
  for (int64_t step = 0; step < sampler.batches_per_epoch(); ++step) {
    std::set<bool> tall;
    for (const int64_t image : sampler.batch(step)) tall.insert(image % 2 == 0);
    ASSERT_EQ(tall.size(), 1U);
    changes += static_cast<int>(step > 0 && *tall.begin() != last);
    last = *tall.begin();
  }
  EXPECT_GT(changes, 4);
}

TEST(Sampler, images_move_between_batches_from_epoch_to_epoch) {
  Sampler sampler(std::vector<ImageSize>(1000, {4, 3}), {});
  int together = 0;
  const auto first = sampler.batch(0);
  for (int64_t s = 0; s < sampler.batches_per_epoch(); ++s) {
    const auto batch = sampler.batch(sampler.batches_per_epoch() + s);
    int common = 0;
    for (const int64_t image : batch)
      common += static_cast<int>(std::count(first.begin(), first.end(), image));
    together = std::max(together, common);
  }
  EXPECT_LE(together, 3);
}

TEST(Sampler, without_shuffling_the_images_come_in_order) {
  SamplerOptions options;
  options.shuffle = false;
  options.group_by_aspect = false;
  options.global_batch = 2;
  Sampler sampler(some_sizes(5, 1), options);
  EXPECT_EQ(sampler.batch(0), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(sampler.batch(2), (std::vector<int64_t>{4, 0}));
  EXPECT_EQ(sampler.batch(4), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(sampler.padding_per_epoch(), 1);
}

}  // namespace
}  // namespace atl::dataset
