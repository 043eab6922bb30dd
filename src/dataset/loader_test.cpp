#include "dataset/loader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "dataset/loader_fixture.h"

namespace atl::dataset {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(LoaderTest, pixels_are_normalised_mirrored_and_padded_with_zeros) {
  const Picture first = add_image({64, 48});
  const Picture second = add_image({50, 48});
  finish();
  for (const double flip_probability : {0.0, 1.0}) {
    LoaderOptions options = options_at_own_size();
    options.flip_probability = flip_probability;
    Loader loader = this->loader(options, {{0, 1}});
    const auto batches = all_of(loader);
    ASSERT_EQ(batches.size(), 1U);
    const Copy& batch = batches[0];
    EXPECT_EQ(batch.height, 64);
    EXPECT_EQ(batch.width, 64);
    ASSERT_EQ(batch.samples.size(), 2U);
    EXPECT_EQ(batch.samples[1].image_id, 101);
    ASSERT_EQ(batch.pixels.size(), 2U * 64 * 64 * 3);
    for (size_t i = 0; i < batch.pixels.size(); ++i) {
      const Picture& picture = i < 64 * 64 * 3 ? first : second;
      const int c = static_cast<int>(i % 3);
      const int x = static_cast<int>(i / 3 % 64);
      const int y = static_cast<int>(i / 3 / 64 % 64);
      double expected = 0;
      if (x < picture.width && y < picture.height) {
        const int from = flip_probability == 1.0 ? picture.width - 1 - x : x;
        const double value =
            picture.rgb[static_cast<size_t>((y * picture.width + from) * 3 + c)] / 255.0;
        expected = (value - options.mean[static_cast<size_t>(c)]) /
                   options.standard_deviation[static_cast<size_t>(c)];
      }
      ASSERT_NEAR(batch.pixels[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << i;
    }
  }
}

TEST_F(LoaderTest, targets_are_scaled_clipped_and_mirrored_as_torchvision_does) {
  add_image({64, 48});
  add_annotation(0, {10, 8, 20, 16}, {10, 8, 30, 8, 30, 24, 10, 24});
  add_annotation(0, {50, 40, 30, 30}, {50, 40, 64, 40, 64, 48, 50, 48});  // beyond the edge
  add_annotation(0, {0, 0, 64, 48}, {}, true);                            // a crowd
  add_annotation(0, {10, 8, 0, 16}, {10, 8, 30, 8, 30, 24, 10, 24});      // no width
  finish();
  LoaderOptions options = options_at_own_size();
  options.min_size_px = 96;
  for (const bool flip : {false, true}) {
    options.flip_probability = flip ? 1 : 0;
    Loader loader = this->loader(options, {{0}});
    const auto batches = all_of(loader);
    const Sample& sample = batches.at(0).samples.at(0);
    EXPECT_EQ(sample.flipped, flip);
    EXPECT_EQ(sample.resized, (ImageSize{128, 96}));
    if (flip) {
      EXPECT_THAT(sample.boxes, ElementsAre(68, 16, 108, 48, 0, 80, 28, 96));
    } else {
      EXPECT_THAT(sample.boxes, ElementsAre(20, 16, 60, 48, 100, 80, 128, 96));
    }
    EXPECT_THAT(sample.labels, ElementsAre(1, 1));
    ASSERT_EQ(sample.masks.size(), 2U);
    EXPECT_EQ(sample.masks[0].height, 96U);
    EXPECT_EQ(sample.masks[0].width, 128U);
    EXPECT_NEAR(static_cast<double>(rle_area(sample.masks[0])), 40 * 32, 80);
    EXPECT_NEAR(rle_bounding_box(sample.masks[0])[0], flip ? 68 : 20, 1);
  }
}

TEST_F(LoaderTest, evaluation_neither_mirrors_nor_carries_targets) {
  add_image({64, 48});
  add_annotation(0, {10, 8, 20, 16}, {10, 8, 30, 8, 30, 24, 10, 24});
  finish();
  LoaderOptions options = options_at_own_size();
  options.train = false;
  options.flip_probability = 1;
  Loader loader = this->loader(options, {{0}});
  const auto batches = all_of(loader);
  const Sample& sample = batches.at(0).samples.at(0);
  EXPECT_FALSE(sample.flipped);
  EXPECT_THAT(sample.boxes, IsEmpty());
  EXPECT_THAT(sample.labels, IsEmpty());
  EXPECT_THAT(sample.masks, IsEmpty());
}

TEST_F(LoaderTest, batches_do_not_depend_on_threads_window_or_reused_memory) {
  KeyedRandom random(1);
  for (int i = 0; i < 12; ++i) {
    const auto side = [&] { return 20 + static_cast<int>(random.below(60)); };
    add_image({side(), side()});
    add_annotation(i, {2, 2, 10, 10}, {2, 2, 12, 2, 12, 12, 2, 12});
  }
  overwrite(5, "no picture");
  finish();
  Plan plan;
  for (int64_t step = 0; step < 20; ++step) {
    plan.push_back({step % 12, (step * 5 + 1) % 12, (step * 7 + 2) % 12});
  }
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 1;
  options.threads = 1;
  options.batches_ahead = 1;
  Loader reference_loader = loader(options, plan);
  const auto reference = all_of(reference_loader);
  ASSERT_EQ(reference.size(), plan.size());
  for (const int threads : {2, 5}) {
    options.threads = threads;
    options.batches_ahead = threads;
    Loader other_loader = loader(options, plan);
    const auto other = all_of(other_loader);
    ASSERT_EQ(other.size(), reference.size());
    for (size_t b = 0; b < other.size(); ++b) {
      EXPECT_EQ(other[b].step, static_cast<int64_t>(b));
      EXPECT_EQ(other[b].height, reference[b].height);
      EXPECT_EQ(other[b].width, reference[b].width);
      EXPECT_TRUE(other[b].pixels == reference[b].pixels) << "batch " << b;
      ASSERT_EQ(other[b].samples.size(), reference[b].samples.size());
      for (size_t i = 0; i < other[b].samples.size(); ++i) {
        EXPECT_EQ(other[b].samples[i].image_id, reference[b].samples[i].image_id);
        EXPECT_EQ(other[b].samples[i].flipped, reference[b].samples[i].flipped);
        EXPECT_EQ(other[b].samples[i].boxes, reference[b].samples[i].boxes);
        EXPECT_EQ(other[b].samples[i].masks, reference[b].samples[i].masks);
      }
    }
    EXPECT_EQ(other_loader.bad_images(), reference_loader.bad_images());
  }
}

TEST_F(LoaderTest, a_flip_belongs_to_the_image_and_the_epoch) {
  for (int i = 0; i < 16; ++i) add_image({64, 48});
  finish();
  Plan plan(12);  // three epochs of four steps, the second and third in another arrangement
  for (int64_t i = 0; i < 16; ++i) {
    plan[static_cast<size_t>(i / 4)].push_back(i);
    plan[static_cast<size_t>(4 + i % 4)].push_back(i);
    plan[static_cast<size_t>(8 + i % 4)].push_back(i);
  }
  const auto flips = [&](uint64_t seed, const Plan& steps) {
    LoaderOptions options = options_at_own_size();
    options.seed = seed;
    Loader loader = this->loader(options, steps);
    std::array<std::array<bool, 16>, 3> result = {};
    for (const Batch& batch : all_of(loader)) {
      for (const Sample& sample : batch.samples) {
        result[static_cast<size_t>(batch.step / 4)][static_cast<size_t>(sample.image_index)] =
            sample.flipped;
      }
    }
    return result;
  };
  const auto one = flips(1, plan);
  std::swap(plan[0], plan[2]);
  std::swap(plan[5], plan[6]);
  EXPECT_EQ(flips(1, plan), one);
  EXPECT_NE(flips(2, plan), one);
  EXPECT_NE(one[0], one[1]);
  EXPECT_NE(one[1], one[2]);
}

TEST_F(LoaderTest, no_more_is_planned_than_the_window_and_what_is_named_ahead) {
  add_image({64, 48});
  finish();
  LoaderOptions options = options_at_own_size();
  options.batches_ahead = 3;
  options.images_planned_ahead = 2;
  Loader loader = this->loader(options, Plan(10, {0}));
  EXPECT_EQ(planned_, 5);
  ASSERT_TRUE(loader.next());
  EXPECT_EQ(planned_, 6);
  EXPECT_EQ(all_of(loader).size(), 9U);
  EXPECT_EQ(planned_, 11);
  // The end stays the end.
  EXPECT_FALSE(loader.next()->has_value());
  EXPECT_EQ(planned_, 11);
}

// Notes what it is told, and what is read.
class HearingStore : public storage::FakeStore {
 public:
  void will_need(std::span<const std::string> keys) override {
    named.insert(named.end(), keys.begin(), keys.end());
  }
  Result<storage::Blob> get(std::string_view key) override {
    read.emplace_back(key);
    return FakeStore::get(key);
  }
  std::vector<std::string> named;
  std::vector<std::string> read;
};

TEST_F(LoaderTest, the_store_hears_what_will_be_read_in_that_order_over_the_epoch_s_end) {
  for (int i = 0; i < 4; ++i) add_image({64, 48});
  finish();
  HearingStore store;
  for (int i = 0; i < 4; ++i) {
    const std::string key = fmt::format("train/{}.png", i);
    ASSERT_TRUE(storage::put_text(store, key, store_.get(key).value().text()));
  }
  LoaderOptions options = options_at_own_size();
  options.threads = 1;
  options.batches_ahead = 1;
  options.images_planned_ahead = 6;
  const Plan epoch = {{2, 0}, {3, 1}};
  Loader loader = this->loader(options, {epoch[0], epoch[1], epoch[0], epoch[1]}, &store);
  EXPECT_EQ(store.named.size(), 8U);  // two being loaded, six ahead of them: two epochs
  EXPECT_EQ(all_of(loader).size(), 4U);
  EXPECT_EQ(store.named, store.read);
}

TEST_F(LoaderTest, it_can_be_left_in_the_middle_of_its_work) {
  for (int i = 0; i < 4; ++i) add_image({200, 150});
  finish();
  LoaderOptions options;
  options.batches_ahead = 4;
  for (const int taken : {0, 1, 3}) {
    for (const int threads : {1, 4}) {
      options.threads = threads;
      Loader loader = this->loader(options, Plan(50, {0, 1, 2, 3}));
      for (int i = 0; i < taken; ++i) ASSERT_TRUE(loader.next());
    }
  }
}

TEST_F(LoaderTest, an_empty_batch_is_delivered_empty) {
  add_image({64, 48});
  finish();
  Loader loader = this->loader(options_at_own_size(), {{}, {0}});
  const auto batches = all_of(loader);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_THAT(batches[0].samples, IsEmpty());
  EXPECT_EQ(batches[1].samples.size(), 1U);
}

// A wide and a tall image in one batch, so that the padding of the whole shows; a batch of fewer images
// than ranks; a bad image.
TEST_F(LoaderTest, ranks_load_their_shares_padded_as_the_whole_batch) {
  for (int i = 0; i < 5; ++i) add_image(i % 2 == 0 ? ImageSize{64, 32} : ImageSize{32, 64});
  finish();
  overwrite(3, "no picture");
  const Plan plan = {{0, 1, 2, 3, 4}, {1}, {2, 0}};
  LoaderOptions options{.min_size_px = 32, .max_size_px = 64, .max_bad_images = 1};
  auto whole_loader = loader(options, plan);
  const auto whole = all_of(whole_loader);
  ASSERT_EQ(whole.size(), 3);
  options.world_size = 3;
  std::vector<std::vector<Copy>> shares;
  for (options.rank = 0; options.rank < 3; ++options.rank) {
    auto own = loader(options, plan);
    shares.push_back(all_of(own));
    ASSERT_EQ(shares.back().size(), 3);
  }
  for (size_t step = 0; step < 3; ++step) {
    std::vector<int64_t> images;
    std::vector<float> pixels;
    for (const auto& share : shares) {
      EXPECT_EQ(share[step].height, whole[step].height);
      EXPECT_EQ(share[step].width, whole[step].width);
      for (const auto& sample : share[step].samples) images.push_back(sample.image_index);
      pixels.insert(pixels.end(), share[step].pixels.begin(), share[step].pixels.end());
    }
    std::vector<int64_t> expected;
    for (const auto& sample : whole[step].samples) expected.push_back(sample.image_index);
    EXPECT_EQ(images, expected) << step;
    EXPECT_TRUE(pixels == whole[step].pixels) << step;
  }
  EXPECT_THAT(shares[0][1].samples, IsEmpty());
}

TEST_F(LoaderTest, the_trace_shows_each_stage) {
  add_image({64, 48});
  finish();
  trace::Tracer tracer;
  {
    Loader loader = this->loader(options_at_own_size(), {{0}}, nullptr, &tracer);
    all_of(loader);
  }
  const std::string json = tracer.to_json();
  for (const char* stage : {"read", "decode", "resize", "targets", "wait for data", "loader 0"}) {
    EXPECT_THAT(json, HasSubstr(fmt::format("\"{}\"", stage)));
  }
}

}  // namespace
}  // namespace atl::dataset
