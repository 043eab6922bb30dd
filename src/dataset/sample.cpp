#include "dataset/sample.h"

#include <algorithm>

#include "base/check.h"
#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

constexpr uint64_t kFlip = 0x666c6970;  // "flip": what the random number is for

}  // namespace

Sample plan_sample(const CocoDataset& dataset,
                   int64_t image_index,
                   int64_t epoch,
                   const LoaderOptions& options) {
  ATOLL_CHECK(image_index >= 0 && image_index < static_cast<int64_t>(dataset.images().size()))
      << image_index << " of " << dataset.images().size();
  const Image& image = dataset.images()[static_cast<size_t>(image_index)];
  Sample sample;
  sample.image_id = image.id;
  sample.image_index = image_index;
  sample.original = {image.width, image.height};
  sample.resized = resized_size(sample.original, options.min_size_px, options.max_size_px);
  sample.scaled = sample.resized;
  if (options.train) {
    KeyedRandom random(
        {options.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(image.id), kFlip});
    sample.flipped = random.uniform() < options.flip_probability;
  }
  return sample;
}

// The steps are torchvision's, in float32: clip to the image, drop what is degenerate
// (references/detection/coco_utils.py), mirror, scale by resized / original (transform.py,
// resize_boxes).
void add_targets(const CocoDataset& dataset, Sample& sample) {
  const auto width = static_cast<float>(sample.original.width);
  const auto height = static_cast<float>(sample.original.height);
  const float scale_x = static_cast<float>(sample.resized.width) / width;
  const float scale_y = static_cast<float>(sample.resized.height) / height;
  for (const Annotation& annotation :
       dataset.annotations_of(static_cast<size_t>(sample.image_index))) {
    if (annotation.crowd) continue;
    const auto label = dataset.label_of(annotation.category_id);
    ATOLL_CHECK(label.has_value()) << "category " << annotation.category_id;
    const auto [x, y, w, h] = std::array<float, 4>{static_cast<float>(annotation.box[0]),
                                                   static_cast<float>(annotation.box[1]),
                                                   static_cast<float>(annotation.box[2]),
                                                   static_cast<float>(annotation.box[3])};
    float left = std::clamp(x, 0.0F, width);
    float right = std::clamp(x + w, 0.0F, width);
    const float top = std::clamp(y, 0.0F, height);
    const float bottom = std::clamp(y + h, 0.0F, height);
    if (!(right > left && bottom > top)) continue;
    Rle mask = dataset.mask_of(annotation,
                               static_cast<uint32_t>(sample.resized.height),
                               static_cast<uint32_t>(sample.resized.width),
                               sample.flipped);
    if (rle_area(mask) == 0) continue;
    if (sample.flipped) {
      std::swap(left, right);
      left = width - left;
      right = width - right;
    }
    sample.boxes.insert(sample.boxes.end(),
                        {left * scale_x, top * scale_y, right * scale_x, bottom * scale_y});
    sample.labels.push_back(*label);
    sample.masks.push_back(std::move(mask));
  }
}

}  // namespace atl::dataset
