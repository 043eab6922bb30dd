// What the targets do with annotations that were accepted: all that a program would, checked.
#pragma once

#include "base/check.h"
#include "dataset/coco.h"

inline void use(const atl::dataset::CocoDataset& data) {
  // A picture larger than this takes long to draw masks in, and teaches nothing new.
  constexpr int64_t kMaxPixels = int64_t{1} << 20;
  for (size_t i = 0; i < data.images().size(); ++i) {
    const auto image = data.images()[i];
    ATOLL_CHECK(data.image_index(image.id) == i) << image.id;
    for (const auto& annotation : data.annotations_of(i)) {
      ATOLL_CHECK(data.label_of(annotation.category_id).has_value()) << annotation.category_id;
      if (int64_t{image.width} * image.height > kMaxPixels) continue;
      const auto mask = data.mask_of(annotation);
      uint64_t pixels = 0;
      for (const uint32_t run : mask.counts) pixels += run;
      ATOLL_CHECK(pixels == uint64_t{mask.height} * mask.width) << annotation.id;
      data.mask_of(annotation, 37, 23, true);
    }
  }
}
