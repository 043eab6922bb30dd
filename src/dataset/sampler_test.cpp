#include "dataset/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"

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

// Runs are resumed: an order that changes silently would show them other data.
TEST(Sampler, the_order_stays_what_it_was) {
  std::vector<ImageSize> sizes;
  for (int i = 0; i < 10; ++i) sizes.push_back(i % 3 == 0 ? ImageSize{3, 4} : ImageSize{4, 3});
  const std::vector<std::vector<int64_t>> expected = {
      {4, 2, 5}, {0, 3, 6}, {3, 6, 9}, {8, 7, 1}, {6, 9, 3}, {8, 5, 2}, {9, 3, 0}, {4, 7, 1}};
  const SamplerOptions options{.seed = 7, .global_batch = 3};
  Sampler plain(sizes, options);
  Sampler once_each(sizes, options, std::vector<double>(10, 1.0));
  for (size_t step = 0; step < expected.size(); ++step) {
    EXPECT_EQ(plain.batch(static_cast<int64_t>(step)), expected[step]);
    EXPECT_EQ(once_each.batch(static_cast<int64_t>(step)), expected[step]);
  }
}

// --- Ranks ---

TEST(Sampler, any_number_of_ranks_shares_the_same_batches_out) {
  for (int world_size = 1; world_size <= 64; ++world_size) {
    SamplerOptions options;
    options.seed = static_cast<uint64_t>(world_size % 3);
    options.global_batch = 1 + (world_size * 7) % 40;  // dividing, not dividing, fewer than ranks
    const auto sizes = some_sizes(101, 9);
    Sampler alone(sizes, options);
    std::vector<Sampler> ranks(static_cast<size_t>(world_size), Sampler(sizes, options));
    for (int64_t step = 0; step < 2 * alone.batches_per_epoch(); ++step) {
      std::vector<int64_t> together;
      std::set<size_t> shares;
      for (int rank = 0; rank < world_size; ++rank) {
        const auto share = ranks[static_cast<size_t>(rank)].batch(step, rank, world_size);
        together.insert(together.end(), share.begin(), share.end());
        shares.insert(share.size());
      }
      ASSERT_EQ(together, alone.batch(step)) << world_size << " ranks, step " << step;
      ASSERT_LE(*shares.rbegin() - *shares.begin(), 1U);
      ASSERT_EQ(*shares.begin(), static_cast<size_t>(options.global_batch / world_size));
    }
  }
}

// A job that loses nodes and goes on, again and again, in the middle of an epoch.
TEST(Sampler, a_job_resumed_on_another_number_of_ranks_goes_on_with_the_same_data) {
  const auto sizes = some_sizes(57, 3);
  const std::vector<double> repeats(57, 1.7);
  SamplerOptions options;
  options.global_batch = 6;
  for (uint64_t round = 0; round < 20; ++round) {
    KeyedRandom random(round);
    Sampler uninterrupted(sizes, options, repeats);
    const int64_t steps = 3 * uninterrupted.batches_per_epoch();
    for (int64_t step = 0; step < steps;) {
      const int world_size = 1 + static_cast<int>(random.below(64));
      std::vector<Sampler> ranks(static_cast<size_t>(world_size), Sampler(sizes, options, repeats));
      const int64_t killed = std::min(steps, step + 1 + static_cast<int64_t>(random.below(9)));
      for (; step < killed; ++step) {
        std::vector<int64_t> together;
        for (int rank = 0; rank < world_size; ++rank) {
          const auto share = ranks[static_cast<size_t>(rank)].batch(step, rank, world_size);
          together.insert(together.end(), share.begin(), share.end());
        }
        ASSERT_EQ(together, uninterrupted.batch(step)) << world_size << " ranks, step " << step;
      }
    }
  }
}

// --- Repeat factors ---

TEST(Sampler, a_repeated_image_comes_as_often_on_average_and_rounded_in_each_epoch) {
  for (uint64_t round = 0; round < 20; ++round) {
    KeyedRandom random({round, 2});
    const int images = 2 + static_cast<int>(random.below(30));
    std::vector<double> repeats;
    double sum = 0;
    for (int i = 0; i < images; ++i) {
      repeats.push_back(random.below(3) == 0 ? 1.0 : random.uniform(1, 4));
      sum += repeats.back();
    }
    // In order, one by one: so the only padding is one image at an epoch's end, and can be told by
    // being the first image again.
    const SamplerOptions options{
        .seed = round, .global_batch = 1, .shuffle = false, .group_by_aspect = false};
    Sampler sampler(some_sizes(images, round), options, repeats);
    ASSERT_EQ(sampler.batches_per_epoch(), static_cast<int64_t>(std::ceil(sum - 1e-6)));
    constexpr int kEpochs = 400;
    std::vector<int64_t> drawn(static_cast<size_t>(images));
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      std::vector<int64_t> times(static_cast<size_t>(images));
      for (int64_t s = 0; s < sampler.batches_per_epoch(); ++s) {
        const int64_t image = sampler.batch(epoch * sampler.batches_per_epoch() + s)[0];
        const bool padding = s + 1 == sampler.batches_per_epoch() && image == 0;
        if (!padding) ++times[static_cast<size_t>(image)];
      }
      for (size_t i = 0; i < times.size(); ++i) {
        ASSERT_GE(times[i], static_cast<int64_t>(std::floor(repeats[i]))) << "image " << i;
        ASSERT_LE(times[i], static_cast<int64_t>(std::ceil(repeats[i]))) << "image " << i;
        drawn[i] += times[i];
      }
    }
    // Of 400 coins, the mean's standard deviation is 0.025 at most.
    for (size_t i = 0; i < drawn.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(drawn[i]) / kEpochs, repeats[i], 0.1)
          << "round " << round << ", image " << i;
    }
  }
}

TEST(Sampler, a_whole_number_of_repetitions_is_exact_and_spread_over_the_epoch) {
  std::vector<double> repeats(40, 1.0);
  repeats[11] = 8;
  SamplerOptions options;
  options.global_batch = 1;
  Sampler sampler(std::vector<ImageSize>(40, {4, 3}), options, repeats);
  ASSERT_EQ(sampler.batches_per_epoch(), 47);
  EXPECT_EQ(sampler.padding_per_epoch(), 0);
  std::vector<int64_t> steps;
  std::map<int64_t, int> seen;
  for (int64_t step = 0; step < 47; ++step) {
    const int64_t image = sampler.batch(step)[0];
    if (image == 11) steps.push_back(step);
    ++seen[image];
  }
  EXPECT_EQ(steps.size(), 8U);
  EXPECT_GT(steps.back() - steps.front(), 15);
  for (const auto& [image, times] : seen) EXPECT_EQ(times, image == 11 ? 8 : 1);
  EXPECT_EQ(seen.size(), 40U);
}

TEST(Sampler, the_rounded_images_change_from_epoch_to_epoch) {
  SamplerOptions options;
  options.global_batch = 30;
  options.shuffle = false;
  Sampler sampler(std::vector<ImageSize>(20, {4, 3}), options, std::vector<double>(20, 1.5));
  ASSERT_EQ(sampler.batches_per_epoch(), 1);
  EXPECT_NE(sampler.batch(0), sampler.batch(1));
  EXPECT_NE(sampler.batch(1), sampler.batch(2));
}

class RepeatFactorTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const int64_t id : {3, 5, 9}) {
      ASSERT_TRUE(builder_.add_category({id, "category " + std::to_string(id), ""}));
    }
  }
  void add_image(const std::vector<int64_t>& categories, bool crowd = false) {
    const int64_t id = images_++;
    ASSERT_TRUE(builder_.add_image({id, 8, 8, "x.png"}));
    for (const int64_t category : categories) {
      AnnotationRecord record;
      record.id = annotations_++;
      record.image_id = id;
      record.category_id = category;
      record.crowd = crowd;
      record.box = {1, 1, 2, 2};
      record.area = 4;
      if (crowd) {
        record.kind = SegmentationKind::kRle;
        record.rle = Rle{8, 8, {0, 64}};
      }
      ASSERT_TRUE(builder_.add_annotation(record));
    }
  }

  CocoBuilder builder_;
  int64_t images_ = 0;
  int64_t annotations_ = 0;
};

TEST_F(RepeatFactorTest, the_rarest_category_of_an_image_decides) {
  for (int i = 0; i < 12; ++i) add_image({3, 3, 3});  // twice in one image counts once
  add_image({3, 5});
  add_image({9, 5, 3});
  add_image({});
  add_image({9}, true);  // a crowd of the rarest does not count
  const CocoDataset dataset = builder_.finish();
  std::vector<int64_t> images(16);
  for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<int64_t>(i);
  // f: 14/16 of category 3, 2/16 of 5, 1/16 of 9.
  const auto factors = repeat_factors(dataset, images, 0.5);
  EXPECT_DOUBLE_EQ(factors[0], 1);
  EXPECT_DOUBLE_EQ(factors[12], 2);  // sqrt(0.5 / 0.125)
  EXPECT_DOUBLE_EQ(factors[13], std::sqrt(0.5 * 16));
  EXPECT_DOUBLE_EQ(factors[14], 1);
  EXPECT_DOUBLE_EQ(factors[15], 1);
  EXPECT_EQ(repeat_factors(dataset, images, 0), std::vector<double>(16, 1.0));
  // The shares are those of the images that take part.
  const std::vector<int64_t> some = {13, 14};
  EXPECT_EQ(repeat_factors(dataset, some, 0.5), (std::vector<double>{1, 1}));
}

}  // namespace
}  // namespace atl::dataset
