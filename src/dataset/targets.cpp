#include "dataset/targets.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace atl::dataset {
namespace {

// By so much may a box that touches the picture's edge miss it after scaling.
constexpr float kRounding_px = 0.01F;

RleWindow window_of(const Placement& placement) {
  return {placement.left,
          placement.top,
          static_cast<uint32_t>(placement.window.width),
          static_cast<uint32_t>(placement.window.height)};
}

// Scales `xy` in place.
Rle rasterise(std::span<double> xy, const Placement& placement) {
  const double scale_x = static_cast<double>(placement.scaled.width) / placement.original.width;
  const double scale_y = static_cast<double>(placement.scaled.height) / placement.original.height;
  for (size_t i = 0; i < xy.size(); ++i) xy[i] *= i % 2 == 0 ? scale_x : scale_y;
  return rle_from_polygon(xy,
                          static_cast<uint32_t>(placement.scaled.height),
                          static_cast<uint32_t>(placement.scaled.width),
                          window_of(placement));
}

Rle place_unmirrored(const CocoDataset& dataset,
                     const Annotation& annotation,
                     const Placement& placement) {
  switch (annotation.kind) {
    case SegmentationKind::kRle:
      return rle_resize(dataset.mask_of(annotation),
                        static_cast<uint32_t>(placement.scaled.height),
                        static_cast<uint32_t>(placement.scaled.width),
                        window_of(placement));
    case SegmentationKind::kPolygons: {
      std::vector<Rle> parts;
      parts.reserve(annotation.part_count);
      std::vector<double> xy;
      for (uint32_t part = 0; part < annotation.part_count; ++part) {
        xy.clear();
        dataset.polygon(annotation.first_part + part).append_to(xy);
        parts.push_back(rasterise(xy, placement));
      }
      return parts.size() == 1 ? std::move(parts.front()) : rle_merge(parts);
    }
    case SegmentationKind::kNone:
      break;
  }
  const auto [x, y, w, h] = annotation.box;
  std::array<double, 8> corners = {x, y, x, y + h, x + w, y + h, x + w, y};
  return rasterise(corners, placement);
}

// The steps are torchvision's, in float32: clip to the picture, drop what is degenerate
// (references/detection/coco_utils.py), mirror, scale by scaled / original (transform.py,
// resize_boxes). Then the window is cut out of the (mirrored) picture. nullopt: degenerate.
std::optional<std::array<float, 4>> place_box(const Annotation& annotation,
                                              const Placement& placement) {
  const auto width = static_cast<float>(placement.original.width);
  const auto height = static_cast<float>(placement.original.height);
  const auto [x, y, w, h] = std::array<float, 4>{static_cast<float>(annotation.box[0]),
                                                 static_cast<float>(annotation.box[1]),
                                                 static_cast<float>(annotation.box[2]),
                                                 static_cast<float>(annotation.box[3])};
  float left = std::clamp(x, 0.0F, width);
  float right = std::clamp(x + w, 0.0F, width);
  const float top = std::clamp(y, 0.0F, height);
  const float bottom = std::clamp(y + h, 0.0F, height);
  if (!(right > left && bottom > top)) return std::nullopt;
  if (placement.flipped) {
    std::swap(left, right);
    left = width - left;
    right = width - right;
  }
  const float scale_x = static_cast<float>(placement.scaled.width) / width;
  const float scale_y = static_cast<float>(placement.scaled.height) / height;
  std::array<float, 4> box = {left * scale_x, top * scale_y, right * scale_x, bottom * scale_y};
  if (placement.is_whole()) return box;
  const int window_left = placement.flipped
                              ? placement.scaled.width - placement.left - placement.window.width
                              : placement.left;
  box[0] -= static_cast<float>(window_left);
  box[1] -= static_cast<float>(placement.top);
  box[2] -= static_cast<float>(window_left);
  box[3] -= static_cast<float>(placement.top);
  return box;
}

std::array<float, 4> box_of_mask(const Rle& mask) {
  const auto [x, y, w, h] = rle_bounding_box(mask);
  return {static_cast<float>(x),
          static_cast<float>(y),
          static_cast<float>(x + w),
          static_cast<float>(y + h)};
}

// Takes what a paste covers off the targets; what it leaves too little of is no target any more.
void cover(std::vector<Target>& targets, const Rle& paste) {
  std::erase_if(targets, [&](Target& target) {
    if (rle_intersection_area(target.mask, paste) == 0) return false;
    target.mask = rle_subtract(target.mask, paste);
    target.box = box_of_mask(target.mask);
    return rle_area(target.mask) < kMinCutArea_px;
  });
}

// The objects of a paste, and its mask.
std::vector<Target> place_paste(const CocoDataset& dataset, ImageSize window, Paste& paste) {
  const auto source = static_cast<size_t>(paste.image_index);
  const Image& image = dataset.images()[source];
  const Placement placement = {
      {image.width, image.height}, paste.scaled, paste.left, paste.top, window, paste.flipped};
  const auto annotations = dataset.annotations_of(source);
  std::vector<Target> targets;
  std::vector<Rle> masks;
  for (const int32_t object : paste.objects) {
    auto target = place_object(dataset, annotations[static_cast<size_t>(object)], placement);
    if (!target) continue;
    masks.push_back(target->mask);
    targets.push_back(*std::move(target));
  }
  paste.mask = rle_merge(masks);
  return targets;
}

}  // namespace

Rle place_mask(const CocoDataset& dataset,
               const Annotation& annotation,
               const Placement& placement) {
  ATOLL_CHECK(placement.window.width > 0 && placement.window.height > 0)
      << placement.window.width << "x" << placement.window.height;
  if (placement.is_whole()) {
    return dataset.mask_of(annotation,
                           static_cast<uint32_t>(placement.scaled.height),
                           static_cast<uint32_t>(placement.scaled.width),
                           placement.flipped);
  }
  Rle mask = place_unmirrored(dataset, annotation, placement);
  return placement.flipped ? rle_flip_horizontal(mask) : mask;
}

std::optional<Target> place_object(const CocoDataset& dataset,
                                   const Annotation& annotation,
                                   const Placement& placement) {
  if (annotation.crowd) return std::nullopt;
  const auto label = dataset.label_of(annotation.category_id);
  ATOLL_CHECK(label.has_value()) << "category " << annotation.category_id;
  auto box = place_box(annotation, placement);
  if (!box) return std::nullopt;
  bool cut = false;
  if (!placement.is_whole()) {
    const auto width = static_cast<float>(placement.window.width);
    const auto height = static_cast<float>(placement.window.height);
    const std::array<float, 4> inside = {std::max((*box)[0], 0.0F),
                                         std::max((*box)[1], 0.0F),
                                         std::min((*box)[2], width),
                                         std::min((*box)[3], height)};
    // Most objects, in a small window.
    if (inside[0] >= inside[2] || inside[1] >= inside[3]) return std::nullopt;
    for (size_t i = 0; i < 4; ++i) cut = cut || std::abs(inside[i] - (*box)[i]) > kRounding_px;
    box = inside;
  }
  Rle mask = place_mask(dataset, annotation, placement);
  const uint64_t area = rle_area(mask);
  if (area == 0 || (cut && area < kMinCutArea_px)) return std::nullopt;
  if (cut) box = box_of_mask(mask);
  return Target{*box, *label, std::move(mask)};
}

void add_targets(const CocoDataset& dataset, Sample& sample) {
  const Placement placement = {
      sample.original, sample.scaled, sample.left, sample.top, sample.resized, sample.flipped};
  std::vector<Target> targets;
  for (const Annotation& annotation :
       dataset.annotations_of(static_cast<size_t>(sample.image_index))) {
    if (auto target = place_object(dataset, annotation, placement)) {
      targets.push_back(*std::move(target));
    }
  }
  for (Paste& paste : sample.pastes) {
    std::vector<Target> pasted = place_paste(dataset, sample.resized, paste);
    if (pasted.empty()) continue;
    cover(targets, paste.mask);
    std::ranges::move(pasted, std::back_inserter(targets));
  }
  std::erase_if(sample.pastes, [](const Paste& paste) { return rle_area(paste.mask) == 0; });
  for (Target& target : targets) {
    sample.boxes.insert(sample.boxes.end(), target.box.begin(), target.box.end());
    sample.labels.push_back(target.label);
    sample.masks.push_back(std::move(target.mask));
  }
}

}  // namespace atl::dataset
