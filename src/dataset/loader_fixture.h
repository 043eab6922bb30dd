// For the loader's tests: pictures of noise in a store in memory, and their annotations.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"
#include "dataset/loader.h"
#include "storage/fake_store.h"

namespace atl::dataset {

using Plan = std::vector<std::vector<int64_t>>;

inline Picture noise(ImageSize size, uint64_t seed) {
  Picture picture{size.width,
                  size.height,
                  std::vector<uint8_t>(static_cast<size_t>(size.width * size.height * 3))};
  KeyedRandom random(seed);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random.below(256));
  return picture;
}

// A batch whose pixels are copied, so that their memory can be used again.
struct Copy : Batch {
  std::vector<float> pixels;
};

class LoaderTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(builder_.add_category({7, "thing", ""})); }

  // Image i has id 100 + i and file "i.png"; the store holds it unless `bytes` are given.
  Picture add_image(ImageSize size) {
    const int64_t index = images_++;
    const std::string name = fmt::format("{}.png", index);
    EXPECT_TRUE(builder_.add_image({100 + index, size.width, size.height, name}));
    Picture picture = noise(size, static_cast<uint64_t>(index));
    const auto file = encode_png(picture).value();
    const std::span<const std::byte> part(file);
    EXPECT_TRUE(store_.put("train/" + name, {&part, 1}));
    return picture;
  }
  void add_annotation(int64_t image,
                      std::array<double, 4> box,
                      std::vector<double> polygon,
                      bool crowd = false) {
    AnnotationRecord record;
    record.id = ++annotations_;
    record.image_id = 100 + image;
    record.category_id = 7;
    record.crowd = crowd;
    record.box = box;
    record.area = 1;
    if (crowd) {
      record.kind = SegmentationKind::kRle;
      record.rle = Rle{48, 64, {0, 48 * 64}};
    } else {
      record.kind = SegmentationKind::kPolygons;
      record.polygon_lengths = {polygon.size()};
      record.coordinates = std::move(polygon);
    }
    const auto added = builder_.add_annotation(record);
    EXPECT_TRUE(added) << added.error().to_string();
  }
  void overwrite(int64_t image, std::string_view content) {
    ASSERT_TRUE(storage::put_text(store_, fmt::format("train/{}.png", image), content));
  }

  // To be called once, when all is added.
  void finish() { dataset_ = builder_.finish(); }
  Loader loader(LoaderOptions options,
                Plan plan,
                storage::ObjectStore* store = nullptr,
                trace::Tracer* tracer = nullptr) {
    return {dataset_,
            store != nullptr ? *store : store_,
            "train/",
            options,
            [this, plan = std::move(plan)](int64_t step) -> std::optional<std::vector<int64_t>> {
              ++planned_;
              if (step >= static_cast<int64_t>(plan.size())) return std::nullopt;
              return plan[static_cast<size_t>(step)];
            },
            [](int64_t step) { return step / 4; },
            0,
            tracer};
  }
  static std::vector<Copy> all_of(Loader& loader) {
    std::vector<Copy> batches;
    while (true) {
      auto batch = loader.next();
      EXPECT_TRUE(batch) << batch.error().to_string();
      if (!batch || !*batch) return batches;
      Copy& copy = batches.emplace_back();
      copy.pixels.assign((*batch)->pixels.floats().begin(), (*batch)->pixels.floats().end());
      (*batch)->pixels = {};
      static_cast<Batch&>(copy) = std::move(**batch);
    }
  }

  CocoBuilder builder_;
  CocoDataset dataset_;
  storage::FakeStore store_;
  int64_t images_ = 0;
  int64_t annotations_ = 0;
  int planned_ = 0;
};

// At its own size, so that every pixel is known exactly.
inline LoaderOptions options_at_own_size() {
  LoaderOptions options;
  options.min_size_px = 48;
  options.max_size_px = 1000;
  return options;
}

}  // namespace atl::dataset
