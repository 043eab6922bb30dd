// What must hold of an index file's arrays before anything uses them.
#include "dataset/index_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>

#include "dataset/coco_builder.h"

namespace atl::dataset::internal {
namespace {

// Everything that the functions of CocoDataset and of rle.h rely on.
class Checker {
 public:
  Checker(const CocoArrays& arrays, std::span<const Category> categories)
      : arrays_(arrays), categories_(categories) {}

  Result<void> check() {
    ATOLL_TRY(check_images());
    ATOLL_TRY(check_image_ids());
    ATOLL_TRY(check_polygons());
    ATOLL_TRY(check_masks());
    ATOLL_TRY(check_annotations());
    return {};
  }

 private:
  Result<void> check_images() const {
    if (arrays_.images.size() > std::numeric_limits<int32_t>::max()) return corrupt_index("images");
    uint64_t name_end = 0;
    for (const ImageRow& image : arrays_.images) {
      const bool size_is_good =
          image.width >= 1 && image.height >= 1 && image.width <= kMaxImageSide_px &&
          image.height <= kMaxImageSide_px &&
          rle_size_fits(static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width));
      if (!size_is_good || image.name_end <= name_end)
        return corrupt_index("an image is impossible");
      name_end = image.name_end;
    }
    if (name_end != arrays_.names.size()) return corrupt_index("the names' size");
    return {};
  }

  Result<void> check_image_ids() const {
    if (arrays_.image_ids.size() != arrays_.images.size())
      return corrupt_index("the table of ids' size");
    for (size_t i = 0; i < arrays_.image_ids.size(); ++i) {
      const auto& [id, index] = arrays_.image_ids[i];
      const bool in_order = i == 0 || arrays_.image_ids[i - 1].id < id;
      if (!in_order || static_cast<uint64_t>(index) >= arrays_.images.size() ||
          arrays_.images[static_cast<size_t>(index)].id != id) {
        return corrupt_index("the table of ids");
      }
    }
    return {};
  }

  Result<void> check_polygons() const {
    uint64_t begin = 0;
    for (const PolygonRow& polygon : arrays_.polygons) {
      const uint64_t end = polygon.unit_end();
      if (polygon.type() > CoordinateType::kFloat64 || end <= begin) {
        return corrupt_index("a polygon is impossible");
      }
      // Pairs of numbers.
      if ((end - begin) % (2 * units_of_number(polygon.type())) != 0) {
        return corrupt_index("a polygon has half a point");
      }
      begin = end;
    }
    if (begin != arrays_.coordinates.size()) return corrupt_index("the coordinates' size");
    return {};
  }

  Result<void> check_masks() const {
    uint64_t begin = 0;
    for (const MaskRow& mask : arrays_.masks) {
      if (mask.run_end < begin || mask.run_end > arrays_.runs.size()) {
        return corrupt_index("a mask is impossible");
      }
      uint64_t pixels = 0;
      for (const uint32_t run : arrays_.runs.subspan(begin, mask.run_end - begin)) pixels += run;
      if (pixels != uint64_t{mask.height} * mask.width)
        return corrupt_index("a mask's sum of runs");
      begin = mask.run_end;
    }
    if (begin != arrays_.runs.size()) return corrupt_index("the runs' size");
    return {};
  }

  Result<void> check_annotations() const {
    if (arrays_.annotation_ends.size() != arrays_.images.size()) {
      return corrupt_index("the number of groups");
    }
    uint32_t begin = 0;
    for (size_t image = 0; image < arrays_.images.size(); ++image) {
      const uint32_t end = arrays_.annotation_ends[image];
      if (end < begin || end > arrays_.annotations.size())
        return corrupt_index("a group is impossible");
      for (const Annotation& annotation : arrays_.annotations.subspan(begin, end - begin)) {
        if (!is_good(annotation, image)) return corrupt_index("an annotation is impossible");
      }
      begin = end;
    }
    if (begin != arrays_.annotations.size()) return corrupt_index("the annotations' size");
    return {};
  }

  bool is_good(const Annotation& annotation, size_t image) const {
    // Read as bytes: a bool of another value than 0 or 1 is no bool.
    std::array<uint8_t, 2> kind_and_crowd{};
    std::memcpy(kind_and_crowd.data(),
                reinterpret_cast<const std::byte*>(&annotation) + offsetof(Annotation, kind),
                sizeof kind_and_crowd);
    if (kind_and_crowd[1] > 1 || annotation.image_index != static_cast<int64_t>(image))
      return false;
    if (!has_category(annotation.category_id)) return false;
    const uint64_t end = uint64_t{annotation.first_part} + annotation.part_count;
    switch (kind_and_crowd[0]) {
      case static_cast<uint8_t>(SegmentationKind::kNone):
        return true;
      case static_cast<uint8_t>(SegmentationKind::kPolygons):
        return annotation.part_count >= 1 && end <= arrays_.polygons.size();
      case static_cast<uint8_t>(SegmentationKind::kRle): {
        if (annotation.first_part >= arrays_.masks.size()) return false;
        const MaskRow& mask = arrays_.masks[annotation.first_part];
        const ImageRow& its_image = arrays_.images[image];
        return mask.height == static_cast<uint32_t>(its_image.height) &&
               mask.width == static_cast<uint32_t>(its_image.width);
      }
      default:
        return false;
    }
  }

  bool has_category(int64_t id) const {
    // Without holes, as they mostly are, the place is known.
    const auto place = static_cast<uint64_t>(id) - static_cast<uint64_t>(first_id());
    if (place < categories_.size() && categories_[place].id == id) return true;
    return std::ranges::binary_search(categories_, id, {}, &Category::id);
  }
  int64_t first_id() const { return categories_.empty() ? 0 : categories_.front().id; }

  const CocoArrays& arrays_;
  std::span<const Category> categories_;
};

}  // namespace

tl::unexpected<Error> corrupt_index(std::string_view what) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("not a whole index: {}", what),
              "make it again: atoll data index");
}

Result<void> check_arrays(const CocoArrays& arrays, std::span<const Category> categories) {
  return Checker(arrays, categories).check();
}

Result<void> check_table(const RecordTable& table, const ImageList& images) {
  if (table.places.size() != images.size() || table.by_name.size() != images.size()) {
    return corrupt_index("the records are not as many as the images");
  }
  for (const RecordPlace& place : table.places) {
    if (place.encoded_offset > place.data_bytes ||
        place.encoded_bytes > place.data_bytes - place.encoded_offset) {
      return corrupt_index("a picture lies outside of its record");
    }
  }
  // As many as there are images, and growing: each of them once.
  std::string_view before;
  for (size_t i = 0; i < table.by_name.size(); ++i) {
    if (table.by_name[i] >= images.size()) return corrupt_index("the order of names");
    const std::string_view name = images[table.by_name[i]].file_name;
    if (i > 0 && before >= name) return corrupt_index("the order of names");
    before = name;
  }
  return {};
}

}  // namespace atl::dataset::internal
