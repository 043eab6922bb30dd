#include "dataset/coco.h"

#include <algorithm>

#include "base/check.h"
#include "dataset/coco_builder.h"

namespace atl::dataset {

Result<CocoDataset> CocoDataset::parse(std::string_view text, std::string_view name, Mode mode) {
  CocoBuilder builder(mode);
  ATOLL_TRY_CONTEXT(read_coco_json(text, builder), name);
  return builder.finish();
}

std::optional<size_t> CocoDataset::image_index(int64_t image_id) const {
  const auto found = image_index_.find(image_id);
  if (found == image_index_.end()) return std::nullopt;
  return found->second;
}

std::optional<int64_t> CocoDataset::label_of(int64_t category_id) const {
  const auto found =
      std::lower_bound(categories_.begin(),
                       categories_.end(),
                       category_id,
                       [](const Category& category, int64_t id) { return category.id < id; });
  if (found == categories_.end() || found->id != category_id) return std::nullopt;
  return found - categories_.begin() + 1;
}

Rle CocoDataset::mask_of(const Annotation& annotation) const {
  const Image& image = images_[static_cast<size_t>(annotation.image_index)];
  return mask_of(
      annotation, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width), false);
}

Rle CocoDataset::mask_of(const Annotation& annotation,
                         uint32_t height,
                         uint32_t width,
                         bool flip) const {
  ATOLL_CHECK(height > 0 && width > 0) << height << " x " << width;
  const Image& image = images_[static_cast<size_t>(annotation.image_index)];
  const double scale_x = static_cast<double>(width) / image.width;
  const double scale_y = static_cast<double>(height) / image.height;
  const auto rasterise = [&](std::span<const double> xy) {
    std::vector<double> scaled(xy.begin(), xy.end());
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= i % 2 == 0 ? scale_x : scale_y;
    return rle_from_polygon(scaled, height, width);
  };

  Rle mask;
  switch (annotation.kind) {
    case SegmentationKind::kRle:
      mask = rle(annotation.first_part);
      if (mask.height != height || mask.width != width) mask = rle_resize(mask, height, width);
      break;
    case SegmentationKind::kPolygons: {
      std::vector<Rle> parts;
      parts.reserve(annotation.part_count);
      for (uint32_t part = 0; part < annotation.part_count; ++part) {
        parts.push_back(rasterise(polygon(annotation.first_part + part)));
      }
      mask = parts.size() == 1 ? std::move(parts.front()) : rle_merge(parts);
      break;
    }
    case SegmentationKind::kNone: {
      const auto [x, y, w, h] = annotation.box;
      const std::array<double, 8> corners = {x, y, x, y + h, x + w, y + h, x + w, y};
      mask = rasterise(corners);
      break;
    }
  }
  return flip ? rle_flip_horizontal(mask) : mask;
}

}  // namespace atl::dataset
