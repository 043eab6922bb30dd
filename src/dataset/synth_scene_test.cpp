#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dataset/synth.h"
#include "dataset/synth_shape.h"

namespace atl::dataset {
namespace {

constexpr int kSize_px = 128;

TEST(SynthShape, distances_have_the_outline_at_zero_and_their_sign_inside) {
  KeyedRandom random(3);
  for (const ShapeKind kind : kShapeKinds) {
    const Shape shape = make_shape(kind, 50, 60, 40, random);
    for (size_t i = 0; i < shape.outline.size(); i += 2) {
      EXPECT_NEAR(signed_distance(shape, shape.outline[i], shape.outline[i + 1]), 0, 1e-9);
    }
    EXPECT_LT(signed_distance(shape, 50, 60), -5);
    EXPECT_NEAR(signed_distance(shape, 50 + 1000, 60), 1000, 30);
  }
}

TEST(SynthScene, an_image_depends_on_its_key_alone) {
  const SynthImage image = synth_image(1, Split::kTrain, 5, kSize_px);
  EXPECT_EQ(image.picture.rgb, synth_image(1, Split::kTrain, 5, kSize_px).picture.rgb);
  EXPECT_NE(image.picture.rgb, synth_image(2, Split::kTrain, 5, kSize_px).picture.rgb);
  EXPECT_NE(image.picture.rgb, synth_image(1, Split::kVal, 5, kSize_px).picture.rgb);
  EXPECT_NE(image.picture.rgb, synth_image(1, Split::kTrain, 6, kSize_px).picture.rgb);
}

TEST(SynthScene, masks_are_what_is_visible) {
  for (int64_t index = 0; index < 200; ++index) {
    const SynthImage image = synth_image(4, Split::kTrain, index, kSize_px);
    std::vector<uint32_t> seen(kSize_px * kSize_px, 0);
    for (const AnnotationRecord& object : image.objects) {
      std::vector<uint8_t> bitmap(seen.size());
      rle_to_bitmap(object.rle, bitmap);
      uint64_t area = 0;
      for (size_t i = 0; i < bitmap.size(); ++i) {
        area += bitmap[i];
        seen[i] += bitmap[i];
      }
      EXPECT_EQ(static_cast<double>(area), *object.area);
      EXPECT_EQ(*object.box, rle_bounding_box(object.rle));
      EXPECT_GE(area, 20U);
    }
    // Objects hide each other, so no two masks share pixels; only along the edges does cocoapi's
    // rasteriser round a polygon another way than the painter.
    const auto shared = std::count_if(seen.begin(), seen.end(), [](uint32_t n) { return n > 1; });
    EXPECT_LE(shared, 24) << "image " << index;
  }
}

TEST(SynthScene, the_awkward_parts_come_in_the_promised_shares) {
  constexpr int kImages = 2000;
  int empty = 0;
  int crowded = 0;
  size_t polygons = 0;
  size_t runs = 0;
  std::map<int64_t, int> by_class;
  std::set<double> smallest_and_largest;
  for (int64_t index = 0; index < kImages; ++index) {
    const SynthImage image = synth_image(9, Split::kVal, index, kSize_px);
    empty += image.objects.empty() ? 1 : 0;
    size_t single = 0;
    for (const AnnotationRecord& object : image.objects) {
      crowded += object.crowd ? 1 : 0;
      if (object.crowd) {
        EXPECT_EQ(object.kind, SegmentationKind::kRle);
        continue;
      }
      ++single;
      (object.kind == SegmentationKind::kPolygons ? polygons : runs) += 1;
      ++by_class[object.category_id];
      smallest_and_largest.insert(*object.area);
    }
    EXPECT_LE(single, 5U);
  }
  EXPECT_NEAR(empty, 0.02 * kImages, 20);
  EXPECT_NEAR(crowded, 0.03 * kImages, 25);
  EXPECT_GT(polygons, kImages);
  EXPECT_GT(runs, kImages / 2);
  ASSERT_EQ(by_class.size(), 4U);
  for (const Category& category : synth_categories()) {
    EXPECT_NEAR(by_class[category.id], static_cast<double>(polygons + runs) / 4, 0.1 * kImages)
        << category.name;
  }
  EXPECT_LT(*smallest_and_largest.begin(), 60);
  EXPECT_GT(*smallest_and_largest.rbegin(), 2000);
}

TEST(SynthScene, shapes_grow_with_the_picture) {
  const SynthImage image = synth_image(1, Split::kTrain, 3, 512);
  EXPECT_EQ(image.picture.width, 512);
  EXPECT_EQ(image.picture.rgb.size(), 512U * 512U * 3U);
  double largest = 0;
  for (const AnnotationRecord& object : image.objects) largest = std::max(largest, *object.area);
  EXPECT_GT(largest, 600);
}

}  // namespace
}  // namespace atl::dataset
