#include "dataset/coco.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

// A number of a polygon: polygons begin at any multiple of 2 bytes.
template <typename T>
T number_at(const uint16_t* units, size_t index) {
  T number;
  std::memcpy(
      &number, reinterpret_cast<const std::byte*>(units) + index * sizeof(T), sizeof number);
  return number;
}

}  // namespace

Result<CocoDataset> CocoDataset::parse(std::string_view text, std::string_view name, Mode mode) {
  CocoBuilder builder(mode);
  ATOLL_TRY_CONTEXT(read_coco_json(text, builder), name);
  return builder.finish();
}

double Polygon::operator[](size_t index) const {
  switch (type_) {
    case CoordinateType::kHundredths16:
      return number_at<uint16_t>(units_, index) / 100.0;
    case CoordinateType::kHundredths32:
      return number_at<int32_t>(units_, index) / 100.0;
    default:
      return number_at<double>(units_, index);
  }
}

void Polygon::append_to(std::vector<double>& numbers) const {
  const size_t begin = numbers.size();
  numbers.resize(begin + size_);
  double* out = numbers.data() + begin;
  switch (type_) {
    case CoordinateType::kHundredths16:
      for (size_t i = 0; i < size_; ++i) out[i] = number_at<uint16_t>(units_, i) / 100.0;
      break;
    case CoordinateType::kHundredths32:
      for (size_t i = 0; i < size_; ++i) out[i] = number_at<int32_t>(units_, i) / 100.0;
      break;
    default:
      for (size_t i = 0; i < size_; ++i) out[i] = number_at<double>(units_, i);
  }
}

Rle CocoDataset::rle(uint32_t index) const {
  const uint64_t begin = index == 0 ? 0 : arrays_.masks[index - 1].run_end;
  const MaskRow& row = arrays_.masks[index];
  const auto runs = arrays_.runs.subspan(begin, row.run_end - begin);
  return {row.height, row.width, {runs.begin(), runs.end()}};
}

std::optional<size_t> CocoDataset::image_index(int64_t image_id) const {
  const auto found = std::ranges::lower_bound(arrays_.image_ids, image_id, {}, &ImageIdRow::id);
  if (found == arrays_.image_ids.end() || found->id != image_id) return std::nullopt;
  return static_cast<size_t>(found->index);
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
  const ImageRow& image = arrays_.images[static_cast<size_t>(annotation.image_index)];
  return mask_of(
      annotation, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width), false);
}

Rle CocoDataset::mask_of(const Annotation& annotation,
                         uint32_t height,
                         uint32_t width,
                         bool flip) const {
  ATOLL_CHECK(height > 0 && width > 0) << height << " x " << width;
  const ImageRow& image = arrays_.images[static_cast<size_t>(annotation.image_index)];
  const double scale_x = static_cast<double>(width) / image.width;
  const double scale_y = static_cast<double>(height) / image.height;
  std::vector<double> xy;
  const auto rasterise = [&] {
    for (size_t i = 0; i < xy.size(); ++i) xy[i] *= i % 2 == 0 ? scale_x : scale_y;
    return rle_from_polygon(xy, height, width);
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
        xy.clear();
        polygon(annotation.first_part + part).append_to(xy);
        parts.push_back(rasterise());
      }
      mask = parts.size() == 1 ? std::move(parts.front()) : rle_merge(parts);
      break;
    }
    case SegmentationKind::kNone: {
      const auto [x, y, w, h] = annotation.box;
      xy = {x, y, x, y + h, x + w, y + h, x + w, y};
      mask = rasterise();
      break;
    }
  }
  return flip ? rle_flip_horizontal(mask) : mask;
}

}  // namespace atl::dataset
