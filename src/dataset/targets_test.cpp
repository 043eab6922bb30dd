// Objects in windows and under pastes, against the same done with bitmaps.
#include "dataset/targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

// bitmap[y][x]
using Bitmap = std::vector<std::vector<uint8_t>>;

Bitmap bitmap_of(const Rle& rle) {
  std::vector<uint8_t> pixels(size_t{rle.height} * rle.width);
  rle_to_bitmap(rle, pixels);
  Bitmap bitmap(rle.height, std::vector<uint8_t>(rle.width));
  for (size_t i = 0; i < pixels.size(); ++i) bitmap[i % rle.height][i / rle.height] = pixels[i];
  return bitmap;
}

// Crops and mirrors, one pixel after the other.
Bitmap naive_place(const Bitmap& scaled, const Placement& placement) {
  const auto width = static_cast<int>(scaled[0].size());
  const auto height = static_cast<int>(scaled.size());
  Bitmap result;
  for (int y = 0; y < placement.window.height; ++y) {
    result.emplace_back();
    for (int x = 0; x < placement.window.width; ++x) {
      const int from_x = placement.left + (placement.flipped ? placement.window.width - 1 - x : x);
      const int from_y = placement.top + y;
      const bool inside = from_x >= 0 && from_x < width && from_y >= 0 && from_y < height;
      result.back().push_back(
          inside ? scaled[static_cast<size_t>(from_y)][static_cast<size_t>(from_x)] : uint8_t{0});
    }
  }
  return result;
}

uint64_t area_of(const Bitmap& bitmap) {
  uint64_t area = 0;
  for (const auto& row : bitmap) {
    for (const uint8_t pixel : row) area += pixel;
  }
  return area;
}

std::array<float, 4> bounds_of(const Bitmap& bitmap) {
  std::array<float, 4> box = {1e9F, 1e9F, 0, 0};
  for (size_t y = 0; y < bitmap.size(); ++y) {
    for (size_t x = 0; x < bitmap[y].size(); ++x) {
      if (bitmap[y][x] == 0) continue;
      const auto left = static_cast<float>(x);
      const auto top = static_cast<float>(y);
      box = {std::min(box[0], left),
             std::min(box[1], top),
             std::max(box[2], left + 1),
             std::max(box[3], top + 1)};
    }
  }
  return box;
}

int between(KeyedRandom& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
}

// Two images with objects of every kind, some beyond the edge.
CocoDataset some_dataset(uint64_t seed) {
  KeyedRandom random({seed, 77});
  CocoBuilder builder;
  EXPECT_TRUE(builder.add_category({4, "thing", ""}));
  int64_t id = 0;
  for (int64_t image = 0; image < 2; ++image) {
    const int width = between(random, 8, 70);
    const int height = between(random, 8, 70);
    EXPECT_TRUE(builder.add_image({image, width, height, "x.png"}));
    for (int object = 0; object < 7; ++object) {
      AnnotationRecord record;
      record.id = id++;
      record.image_id = image;
      record.category_id = 4;
      record.area = 1;
      record.crowd = object == 6;
      if (object == 5) {
        record.box = {random.uniform(-5, width), random.uniform(-5, height), 20, 9};
      } else if (object >= 3) {
        std::vector<uint8_t> pixels(static_cast<size_t>(width * height));
        const uint64_t run = 1 + random.below(40);
        for (size_t i = 1; i < pixels.size(); ++i) {
          pixels[i] =
              random.below(run) == 0 ? static_cast<uint8_t>(random.below(2)) : pixels[i - 1];
        }
        record.kind = SegmentationKind::kRle;
        record.rle =
            rle_from_bitmap(pixels, static_cast<uint32_t>(height), static_cast<uint32_t>(width));
      } else {
        record.kind = SegmentationKind::kPolygons;
        for (int part = 0; part <= object; ++part) {
          record.polygon_lengths.push_back(8);
          for (int i = 0; i < 8; ++i) {
            record.coordinates.push_back(random.uniform(-4, (i % 2 == 0 ? width : height) + 4));
          }
        }
      }
      const auto added = builder.add_annotation(record);
      EXPECT_TRUE(added) << added.error().to_string();
    }
  }
  return builder.finish();
}

// A picture scaled by anything, and a window inside it or across its edges.
Placement some_placement(const CocoDataset& dataset, size_t image, KeyedRandom& random) {
  Placement placement;
  placement.original = {dataset.images()[image].width, dataset.images()[image].height};
  placement.scaled = {between(random, 4, 130), between(random, 4, 130)};
  const bool across = random.below(3) == 0;
  placement.window = {between(random, 1, placement.scaled.width + (across ? 20 : 0)),
                      between(random, 1, placement.scaled.height + (across ? 20 : 0))};
  const auto offset = [&](int scaled, int window) {
    const int room = scaled - window;
    return between(random, std::min(room, 0), std::max(room, 0)) + (across ? -3 : 0);
  };
  placement.left = offset(placement.scaled.width, placement.window.width);
  placement.top = offset(placement.scaled.height, placement.window.height);
  placement.flipped = random.below(2) == 1;
  return placement;
}

// Of the annotation at the scaled size, as pixels.
Bitmap scaled_bitmap(const CocoDataset& dataset, const Annotation& annotation, ImageSize scaled) {
  return bitmap_of(dataset.mask_of(annotation,
                                   static_cast<uint32_t>(scaled.height),
                                   static_cast<uint32_t>(scaled.width),
                                   false));
}

TEST(Targets, a_mask_in_a_window_is_the_crop_of_the_whole_mask_to_the_pixel) {
  for (uint64_t round = 0; round < 300; ++round) {
    const CocoDataset dataset = some_dataset(round);
    KeyedRandom random({round, 1});
    const Placement placement = some_placement(dataset, 0, random);
    for (const Annotation& annotation : dataset.annotations_of(0)) {
      const Bitmap whole = scaled_bitmap(dataset, annotation, placement.scaled);
      ASSERT_EQ(bitmap_of(place_mask(dataset, annotation, placement)),
                naive_place(whole, placement))
          << "round " << round << ", annotation " << annotation.id;
    }
  }
}

TEST(Targets, an_object_that_no_window_cuts_keeps_its_box_and_one_that_is_cut_gets_its_masks) {
  int kept = 0;
  int cut_objects = 0;
  int slivers = 0;
  for (uint64_t round = 0; round < 300; ++round) {
    const CocoDataset dataset = some_dataset(round);
    KeyedRandom random({round, 2});
    const Placement placement = some_placement(dataset, 0, random);
    for (const Annotation& annotation : dataset.annotations_of(0)) {
      const auto target = place_object(dataset, annotation, placement);
      if (annotation.crowd) {
        EXPECT_FALSE(target);
        continue;
      }
      // The box clipped to the picture, scaled, moved into the window and mirrored there.
      const auto [x, y, w, h] = annotation.box;
      const double scale_x = double(placement.scaled.width) / placement.original.width;
      const double scale_y = double(placement.scaled.height) / placement.original.height;
      const auto in_width = [&](double at) {
        return std::clamp(at, 0.0, double(placement.original.width)) * scale_x - placement.left;
      };
      const auto in_height = [&](double at) {
        return std::clamp(at, 0.0, double(placement.original.height)) * scale_y - placement.top;
      };
      double left = in_width(x);
      double right = in_width(x + w);
      if (placement.flipped) {
        std::swap(left, right);
        left = placement.window.width - left;
        right = placement.window.width - right;
      }
      const double top = in_height(y);
      const double bottom = in_height(y + h);
      const double outside =
          std::max({-left, -top, right - placement.window.width, bottom - placement.window.height});
      if (std::abs(outside - 0.01) < 0.005) continue;  // as good as touching: either is right
      const bool cut = outside > 0.01;
      const Bitmap seen =
          naive_place(scaled_bitmap(dataset, annotation, placement.scaled), placement);
      // A box that ends at the window's edge, and a mask that rounds over it, see nothing of it.
      const bool beside = left >= placement.window.width || right <= 0 ||
                          top >= placement.window.height || bottom <= 0;
      const bool degenerate = !(right > left && bottom > top);
      const bool expected =
          !degenerate && !beside && area_of(seen) > 0 && !(cut && area_of(seen) < kMinCutArea_px);
      ASSERT_EQ(target.has_value(), expected) << "round " << round << ", " << annotation.id;
      slivers += cut && area_of(seen) > 0 && area_of(seen) < kMinCutArea_px ? 1 : 0;
      if (!target) continue;
      EXPECT_EQ(target->label, 1);
      ASSERT_EQ(bitmap_of(target->mask), seen);
      if (cut) {
        ++cut_objects;
        ASSERT_EQ(target->box, bounds_of(seen));
      } else {
        ++kept;
        const std::array<double, 4> box = {left, top, right, bottom};
        for (size_t i = 0; i < 4; ++i) ASSERT_NEAR(target->box[i], box[i], 1e-2);
      }
    }
  }
  EXPECT_GT(kept, 40);
  EXPECT_GT(cut_objects, 100);
  EXPECT_GT(slivers, 10);
}

TEST(Targets, a_paste_covers_what_lies_under_it_and_brings_its_objects) {
  int covered = 0;
  int gone = 0;
  int pasted = 0;
  for (uint64_t round = 0; round < 300; ++round) {
    const CocoDataset dataset = some_dataset(round);
    KeyedRandom random({round, 3});
    const Placement own = some_placement(dataset, 0, random);
    Sample sample;
    sample.image_index = 0;
    sample.original = own.original;
    sample.scaled = own.scaled;
    sample.left = own.left;
    sample.top = own.top;
    sample.resized = own.window;
    sample.flipped = own.flipped;
    Sample without = sample;
    add_targets(dataset, without);

    Placement other = some_placement(dataset, 1, random);
    other.window = own.window;
    Paste paste;
    paste.image_index = 1;
    paste.scaled = other.scaled;
    paste.left = other.left;
    paste.top = other.top;
    paste.flipped = other.flipped;
    paste.objects = {0, 2, 5};
    sample.pastes.push_back(paste);
    add_targets(dataset, sample);

    // What should come out, by bitmaps.
    Bitmap over(static_cast<size_t>(own.window.height),
                std::vector<uint8_t>(static_cast<size_t>(own.window.width)));
    std::vector<Target> objects;
    for (const size_t object : {0U, 2U, 5U}) {
      if (auto target = place_object(dataset, dataset.annotations_of(1)[object], other)) {
        const Bitmap bitmap = bitmap_of(target->mask);
        for (size_t y = 0; y < bitmap.size(); ++y) {
          for (size_t x = 0; x < bitmap[y].size(); ++x) over[y][x] |= bitmap[y][x];
        }
        objects.push_back(*std::move(target));
      }
    }
    std::vector<Bitmap> masks;
    std::vector<float> boxes;
    for (size_t i = 0; i < without.masks.size(); ++i) {
      Bitmap mask = bitmap_of(without.masks[i]);
      bool touched = false;
      for (size_t y = 0; y < mask.size(); ++y) {
        for (size_t x = 0; x < mask[y].size(); ++x) {
          touched = touched || (mask[y][x] != 0 && over[y][x] != 0);
          if (over[y][x] != 0) mask[y][x] = 0;
        }
      }
      covered += touched ? 1 : 0;
      if (touched && area_of(mask) < kMinCutArea_px) {
        ++gone;
        continue;
      }
      const auto bounds = bounds_of(mask);
      for (size_t k = 0; k < 4; ++k)
        boxes.push_back(touched ? bounds[k] : without.boxes[4 * i + k]);
      masks.push_back(std::move(mask));
    }
    for (const Target& target : objects) {
      ++pasted;
      masks.push_back(bitmap_of(target.mask));
      boxes.insert(boxes.end(), target.box.begin(), target.box.end());
    }
    ASSERT_EQ(sample.masks.size(), masks.size()) << "round " << round;
    for (size_t i = 0; i < masks.size(); ++i) ASSERT_EQ(bitmap_of(sample.masks[i]), masks[i]);
    ASSERT_EQ(sample.boxes, boxes);
    ASSERT_EQ(sample.labels, std::vector<int64_t>(masks.size(), 1));
    ASSERT_EQ(sample.pastes.size(), objects.empty() ? 0U : 1U);
    if (!objects.empty()) {
      ASSERT_EQ(bitmap_of(sample.pastes[0].mask), over);
    }
  }
  EXPECT_GT(covered, 100);
  EXPECT_GT(gone, 20);
  EXPECT_GT(pasted, 200);
}

}  // namespace
}  // namespace atl::dataset
