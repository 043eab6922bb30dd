// The choices made for samples, and one way through the loader with pixels.
#include "dataset/sample.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dataset/coco_builder.h"
#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using testing::IsEmpty;

class SamplePlannerTest : public testing::Test {
 protected:
  // Image i has id 100 + i. Every third has no object, of the others each has four; the image 4 has
  // a crowd only.
  void SetUp() override {
    CocoBuilder builder;
    ASSERT_TRUE(builder.add_category({7, "thing", ""}));
    int64_t annotation = 0;
    for (int64_t i = 0; i < kImages; ++i) {
      const ImageSize size = i % 2 == 0 ? ImageSize{640, 480} : ImageSize{300, 500};
      ASSERT_TRUE(builder.add_image({100 + i, size.width, size.height, fmt::format("{}.png", i)}));
      if (i % 3 == 0) continue;
      for (int object = 0; object < 4; ++object) {
        AnnotationRecord record;
        record.id = ++annotation;
        record.image_id = 100 + i;
        record.category_id = 7;
        record.area = 1;
        record.box = {20.0 + 50 * object, 30, 40, 40};
        if (i == 4) {
          record.crowd = true;
          record.kind = SegmentationKind::kRle;
          record.rle = Rle{480, 640, {0, 480 * 640}};
        }
        ASSERT_TRUE(builder.add_annotation(record));
        if (i == 4) break;
      }
    }
    dataset_ = builder.finish();
  }
  std::vector<Sample> plans(const LoaderOptions& options, int64_t epochs) const {
    const SamplePlanner planner(dataset_, options);
    std::vector<Sample> samples;
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      for (int64_t i = 0; i < kImages; ++i) samples.push_back(planner.plan(i, epoch));
    }
    return samples;
  }

  static constexpr int64_t kImages = 30;
  CocoDataset dataset_;
};

bool same(const Paste& a, const Paste& b) {
  return a.image_index == b.image_index && a.scaled == b.scaled && a.left == b.left &&
         a.top == b.top && a.flipped == b.flipped && a.colour == b.colour && a.objects == b.objects;
}

bool same(const Sample& a, const Sample& b) {
  return a.scaled == b.scaled && a.left == b.left && a.top == b.top && a.resized == b.resized &&
         a.flipped == b.flipped && a.colour == b.colour &&
         std::ranges::equal(
             a.pastes, b.pastes, [](const Paste& x, const Paste& y) { return same(x, y); });
}

LoaderOptions all_augmentations() {
  LoaderOptions options;
  options.augment.lsj_size_px = 512;
  options.augment.copy_paste_probability = 0.7;
  options.augment.photometric_probability = 0.5;
  return options;
}

TEST_F(SamplePlannerTest, a_plan_is_a_function_of_seed_epoch_and_image) {
  LoaderOptions options = all_augmentations();
  const auto one = plans(options, 3);
  const auto again = plans(options, 3);
  options.seed = 1;
  const auto other = plans(options, 3);
  int same_in_next_epoch = 0;
  int same_for_other_seed = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(same(one[i], again[i])) << i;
    same_for_other_seed += same(one[i], other[i]) ? 1 : 0;
    if (i >= kImages) same_in_next_epoch += same(one[i], one[i - kImages]) ? 1 : 0;
  }
  EXPECT_EQ(same_in_next_epoch, 0);
  EXPECT_EQ(same_for_other_seed, 0);
}

TEST_F(SamplePlannerTest, by_default_and_in_evaluation_pictures_are_only_resized) {
  for (const Sample& sample : plans({}, 1)) {
    EXPECT_EQ(sample.resized, resized_size(sample.original, 800, 1333));
    EXPECT_EQ(sample.scaled, sample.resized);
    EXPECT_TRUE(sample.colour.is_identity());
    EXPECT_THAT(sample.pastes, IsEmpty());
  }
  LoaderOptions options = all_augmentations();
  options.train = false;
  options.flip_probability = 1;
  for (const Sample& sample : plans(options, 1)) {
    EXPECT_EQ(sample.resized, resized_size(sample.original, 800, 1333));
    EXPECT_EQ(sample.scaled, sample.resized);
    EXPECT_FALSE(sample.flipped);
    EXPECT_TRUE(sample.colour.is_identity());
    EXPECT_THAT(sample.pastes, IsEmpty());
  }
}

TEST_F(SamplePlannerTest, one_option_does_not_change_what_another_chooses) {
  LoaderOptions options;
  options.augment.lsj_size_px = 512;
  const auto plain = plans(options, 2);
  const auto more = plans(all_augmentations(), 2);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i].scaled, more[i].scaled);
    EXPECT_EQ(plain[i].left, more[i].left);
    EXPECT_EQ(plain[i].flipped, more[i].flipped);
  }
}

TEST_F(SamplePlannerTest, multi_scale_takes_each_size_about_as_often) {
  LoaderOptions options;
  options.augment.min_sizes_px = {400, 500, 640};
  std::map<int, int> count;
  const auto samples = plans(options, 20);
  for (const Sample& sample : samples) {
    const int shorter = std::min(sample.resized.width, sample.resized.height);
    ++count[shorter];
    EXPECT_EQ(sample.resized, resized_size(sample.original, shorter, 1333));
    EXPECT_EQ(sample.scaled, sample.resized);
  }
  ASSERT_EQ(count.size(), 3U);
  for (const int size : {400, 500, 640}) EXPECT_NEAR(count[size], 200, 50) << size;
}

TEST_F(SamplePlannerTest, large_scale_jitter_scales_evenly_and_cuts_to_the_square) {
  LoaderOptions options;
  options.augment.lsj_size_px = 512;
  std::vector<double> scales;
  std::set<int> lefts;
  for (const Sample& sample : plans(options, 40)) {
    const double fitting = 512.0 / std::max(sample.original.width, sample.original.height);
    const double scale = sample.scaled.width / (sample.original.width * fitting);
    EXPECT_NEAR(sample.scaled.height, sample.original.height * fitting * scale, 2);  // rounding
    scales.push_back(scale);
    EXPECT_EQ(sample.resized.width, std::min(512, sample.scaled.width));
    EXPECT_EQ(sample.resized.height, std::min(512, sample.scaled.height));
    EXPECT_GE(sample.left, 0);
    EXPECT_GE(sample.top, 0);
    EXPECT_LE(sample.left + sample.resized.width, sample.scaled.width);
    EXPECT_LE(sample.top + sample.resized.height, sample.scaled.height);
    lefts.insert(sample.left);
  }
  EXPECT_GT(lefts.size(), 100U);
  std::ranges::sort(scales);
  EXPECT_GT(scales.front(), 0.095);
  EXPECT_LT(scales.front(), 0.12);
  EXPECT_NEAR(scales[scales.size() / 2], 1.05, 0.1);
  EXPECT_LT(scales.back(), 2.01);
  EXPECT_GT(scales.back(), 1.97);
}

TEST_F(SamplePlannerTest, objects_of_other_images_are_pasted_as_often_as_asked_for) {
  LoaderOptions options = all_augmentations();
  const auto samples = plans(options, 40);
  int pastes = 0;
  std::map<int64_t, int> sources;
  std::array<int, 4> picked = {};
  for (const Sample& sample : samples) {
    if (sample.pastes.empty()) continue;
    ASSERT_EQ(sample.pastes.size(), 1U);
    const Paste& paste = sample.pastes[0];
    ++pastes;
    ++sources[paste.image_index];
    EXPECT_NE(paste.image_index, sample.image_index);
    EXPECT_FALSE(paste.objects.empty());
    for (const int32_t object : paste.objects) ++picked.at(static_cast<size_t>(object));
    // The picture covers the window, or lies inside it, along each axis.
    const auto along = [](int offset, int scaled, int window) {
      return std::min(scaled - window, 0) <= offset && offset <= std::max(scaled - window, 0);
    };
    EXPECT_TRUE(along(paste.left, paste.scaled.width, sample.resized.width));
    EXPECT_TRUE(along(paste.top, paste.scaled.height, sample.resized.height));
  }
  // Of 0.7, one in sixteen has no object picked.
  EXPECT_NEAR(pastes, samples.size() * 0.7 * 15 / 16, 60);
  EXPECT_EQ(sources.size(), 19U);  // of 30 images, 20 have objects, and one of these only a crowd
  for (const auto& [source, count] : sources) EXPECT_NE(source, 4);
  for (const int count : picked) EXPECT_NEAR(count, pastes * 8.0 / 15, 60);
}

TEST_F(SamplePlannerTest, without_jitter_a_pasted_picture_is_scaled_as_it_would_be_trained_on) {
  LoaderOptions options;
  options.augment.copy_paste_probability = 1;
  for (const Sample& sample : plans(options, 3)) {
    for (const Paste& paste : sample.pastes) {
      const Image& image = dataset_.images()[static_cast<size_t>(paste.image_index)];
      const ImageSize own = resized_size({image.width, image.height}, 800, 1333);
      EXPECT_GE(paste.scaled.width, static_cast<int>(own.width * 0.8));
      EXPECT_LE(paste.scaled.width, static_cast<int>(own.width * 1.25) + 1);
    }
  }
}

TEST_F(SamplePlannerTest, colours_change_as_often_and_as_much_as_asked_for) {
  LoaderOptions options;
  options.augment.photometric_probability = 0.5;
  int unchanged = 0;
  const auto samples = plans(options, 40);
  for (const Sample& sample : samples) {
    unchanged += sample.colour.is_identity() ? 1 : 0;
    // A grey in the middle moves by brightness and contrast alone.
    const auto& m = sample.colour.matrix;
    const float at = (m[0] + m[1] + m[2]) * 128 + sample.colour.offset[0];
    EXPECT_GT(at, 128 * 0.875F - 20);
    EXPECT_LT(at, 128 * 1.125F + 20);
  }
  EXPECT_NEAR(unchanged, static_cast<double>(samples.size()) / 16, 30);
  options.augment = {.photometric_probability = 1, .contrast = 0, .saturation = 0, .hue = 0};
  std::set<float> factors;
  for (const Sample& sample : plans(options, 10)) factors.insert(sample.colour.matrix[0]);
  EXPECT_GT(factors.size(), 200U);
  EXPECT_GE(*factors.begin(), 0.875F);
  EXPECT_LE(*factors.rbegin(), 1.125F);
}

// Two pictures of one colour each, one with a square in the middle; what of it arrives has the
// other's colour, and only that.
TEST(SampleThroughTheLoader, pasted_pixels_lie_where_the_pasted_mask_says) {
  CocoBuilder builder;
  ASSERT_TRUE(builder.add_category({1, "square", ""}));
  storage::FakeStore store;
  for (int64_t i = 0; i < 2; ++i) {
    const std::string name = fmt::format("{}.png", i);
    ASSERT_TRUE(builder.add_image({i, 96, 64, name}));
    Picture picture{96, 64, std::vector<uint8_t>(size_t{96} * 64 * 3, i == 0 ? 50 : 200)};
    const auto file = encode_png(picture).value();
    const std::span<const std::byte> part(file);
    ASSERT_TRUE(store.put(name, {&part, 1}));
  }
  AnnotationRecord record;
  record.id = 1;
  record.image_id = 1;
  record.category_id = 1;
  record.kind = SegmentationKind::kPolygons;
  record.coordinates = {20, 10, 70, 10, 70, 50, 20, 50};
  record.polygon_lengths = {8};
  ASSERT_TRUE(builder.add_annotation(record));
  const CocoDataset dataset = builder.finish();

  LoaderOptions options;
  options.min_size_px = 64;
  options.augment.lsj_size_px = 96;
  options.augment.lsj_min_scale = 0.5;
  options.augment.copy_paste_probability = 1;
  options.mean = {0, 0, 0};
  options.standard_deviation = {1, 1, 1};
  constexpr int64_t kSteps = 40;
  Loader loader(
      dataset,
      store,
      "",
      options,
      [](int64_t step) -> std::optional<std::vector<int64_t>> {
        if (step == kSteps) return std::nullopt;
        return std::vector<int64_t>{0};
      },
      [](int64_t step) { return step; });
  int pastes = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    const auto batch = loader.next();
    ASSERT_TRUE(batch && *batch);
    const Sample& sample = (*batch)->samples.at(0);
    const auto width = static_cast<size_t>(sample.resized.width);
    const auto height = static_cast<size_t>(sample.resized.height);
    std::vector<uint8_t> mask(width * height);
    ASSERT_EQ(sample.masks.size(), sample.pastes.size());
    if (!sample.masks.empty()) {
      ++pastes;
      rle_to_bitmap(sample.masks[0], mask);
    }
    for (size_t y = 0; y < height; ++y) {
      for (size_t x = 0; x < width; ++x) {
        const size_t at = (y * static_cast<size_t>((*batch)->width) + x) * 3;
        const float expected = mask[x * height + y] != 0 ? 200.0F / 255 : 50.0F / 255;
        ASSERT_NEAR((*batch)->pixels.floats()[at], expected, 1e-5)
            << step << ": " << x << ", " << y;
      }
    }
  }
  EXPECT_GT(pastes, 10);
}

}  // namespace
}  // namespace atl::dataset
