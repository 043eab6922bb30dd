#include "dataset/coco_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "dataset/coco_json_batch.h"

namespace atl::dataset {
namespace {

// Labels that leave the picture are common; a coordinate this far off is garbage, and would
// overflow cocoapi's five-fold upsampled integers.
constexpr double kMaxCoordinate_px = 2.0 * static_cast<double>(kMaxImageSide_px);
constexpr size_t kKeptIssues = 100;

tl::unexpected<Error> bad(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

// NaN fails the comparison, too.
bool is_sane(double value) { return std::abs(value) <= kMaxCoordinate_px; }

Result<void> check_polygon(size_t index, const Polygon& xy, CoordinateType type) {
  if (xy.size() < 6 || xy.size() % 2 != 0) {
    return bad(
        fmt::format("polygon {} has {} numbers; at least 3 points, an x and a y each, are needed",
                    index,
                    xy.size()));
  }
  if (type != CoordinateType::kFloat64) return {};  // hundredths do not reach the limit
  for (const double value : xy) {
    if (!is_sane(value)) {
      return bad(fmt::format("polygon {} has the coordinate {}", index, value));
    }
  }
  return {};
}

// Limits of the arrays' types: no file comes near.
Result<void> check_count(size_t count, std::string_view what) {
  if (count < std::numeric_limits<int32_t>::max()) return {};
  return fail(ErrorCode::kUnsupported, fmt::format("more than 2^31 {}", what));
}

std::string name_of(const PackedAnnotation& record) {
  return fmt::format("annotation {}", record.id);
}

}  // namespace

CocoArrays CocoStorage::arrays() const {
  return {.images = images,
          .names = names,
          .image_ids = image_ids,
          .annotations = annotations,
          .annotation_ends = annotation_ends,
          .polygons = shapes.polygons,
          .coordinates = shapes.coordinates,
          .masks = shapes.masks,
          .runs = shapes.runs};
}

CocoBuilder::CocoBuilder(CocoDataset::Mode mode)
    : note_issues_(mode == CocoDataset::Mode::kLenient) {}

Result<void> CocoBuilder::report(std::string_view record, const Error& problem) {
  if (sink_) return sink_(record, problem);
  if (!note_issues_) return tl::unexpected(Error(problem).with_context(record));
  ++issue_count_;
  if (issues_.size() < kKeptIssues) {
    issues_.push_back(fmt::format("{}: {}", record, problem.to_string()));
  }
  return {};
}

void CocoBuilder::reserve(size_t annotations,
                          size_t polygons,
                          size_t coordinate_units,
                          size_t runs) {
  storage_->annotations.reserve(annotations);
  storage_->shapes.polygons.reserve(polygons);
  storage_->shapes.coordinates.reserve(coordinate_units);
  storage_->shapes.runs.reserve(runs);
}

Result<void> CocoBuilder::add_category(Category category) {
  const std::string record = fmt::format("category {}", category.id);
  if (category.name.empty()) return report(record, bad("'name' is empty").value());
  if (!category_ids_.insert(category.id)) {
    return report(record, bad("the id appears twice").value());
  }
  categories_.push_back(std::move(category));
  return {};
}

Result<void> CocoBuilder::add_image(int64_t id,
                                    int64_t width,
                                    int64_t height,
                                    std::string_view file_name) {
  const auto problem = [&](const tl::unexpected<Error>& error) {
    return report(fmt::format("image {}", id), error.value());
  };
  const auto side_is_bad = [](int64_t side) { return side < 1 || side > kMaxImageSide_px; };
  if (side_is_bad(width) || side_is_bad(height) ||
      width * height > std::numeric_limits<uint32_t>::max()) {
    return problem(
        bad(fmt::format("width x height is {} x {}; each must lie in 1..{}, and their product "
                        "below 2^32",
                        width,
                        height,
                        kMaxImageSide_px)));
  }
  if (file_name.empty()) return problem(bad("'file_name' is empty"));
  CocoStorage& to = *storage_;
  ATOLL_TRY(check_count(to.images.size(), "images"));
  if (!image_index_.insert(id, static_cast<uint32_t>(to.images.size()))) {
    return problem(bad("the id appears twice"));
  }
  to.names.insert(to.names.end(), file_name.begin(), file_name.end());
  to.images.push_back(
      {id, static_cast<int32_t>(width), static_cast<int32_t>(height), to.names.size()});
  return {};
}

Result<uint32_t> CocoBuilder::check_annotation(const PackedAnnotation& record,
                                               const PackedShapes& shapes) const {
  const auto image_index = image_index_.find(record.image_id);
  if (!image_index) {
    return bad(fmt::format("image {}, which it names, is not among the images", record.image_id));
  }
  if (!category_ids_.contains(record.category_id)) {
    return bad(fmt::format("category {}, which it names, is not among the categories",
                           record.category_id));
  }
  if (annotation_ids_.contains(record.id)) return bad("the id appears twice");
  if (record.has_box) {
    const auto& box = record.box;
    if (!std::all_of(box.begin(), box.end(), is_sane) || box[2] < 0 || box[3] < 0) {
      return bad(fmt::format(
          "'bbox' is [{}]: x, y, width, height must be finite, and the size not negative",
          fmt::join(box, ", ")));
    }
  }
  // A mask has fewer than 2^32 pixels.
  if (record.has_area && !(record.area >= 0 && record.area <= 0x1p32)) {
    return bad(fmt::format("'area' is {}", record.area));
  }
  if (record.kind == SegmentationKind::kNone && !record.has_box) {
    return bad("it has neither 'bbox' nor 'segmentation'");
  }
  if (record.kind == SegmentationKind::kRle) {
    const ImageRow& image = storage_->images[*image_index];
    const MaskRow& mask = shapes.masks[record.first_part];
    if (mask.height != static_cast<uint32_t>(image.height) ||
        mask.width != static_cast<uint32_t>(image.width)) {
      return bad(fmt::format("the mask is {} x {} (height x width), but image {} is {} x {}",
                             mask.height,
                             mask.width,
                             image.id,
                             image.height,
                             image.width));
    }
  }
  return *image_index;
}

Result<void> CocoBuilder::copy_polygons(const PackedAnnotation& record,
                                        const PackedShapes& shapes,
                                        Annotation& annotation) {
  PackedShapes& to = storage_->shapes;
  for (uint32_t part = 0; part < record.part_count; ++part) {
    const size_t index = size_t{record.first_part} + part;
    const auto type = shapes.polygons[index].type();
    const auto begin = static_cast<ptrdiff_t>(shapes.unit_begin(index));
    const auto end = static_cast<ptrdiff_t>(shapes.polygons[index].unit_end());
    const std::span units(shapes.coordinates.begin() + begin, shapes.coordinates.begin() + end);
    if (const auto checked = check_polygon(part, Polygon(units, type), type); !checked) {
      ATOLL_TRY(report(name_of(record), checked.error()));
      continue;
    }
    ATOLL_TRY(check_count(to.polygons.size(), "polygons"));
    to.coordinates.insert(to.coordinates.end(), units.begin(), units.end());
    to.polygons.emplace_back(to.coordinates.size(), type);
    ++annotation.part_count;
  }
  return {};
}

Result<void> CocoBuilder::copy_segmentation(const PackedAnnotation& record,
                                            const PackedShapes& shapes,
                                            Annotation& annotation) {
  PackedShapes& to = storage_->shapes;
  switch (record.kind) {
    case SegmentationKind::kNone:
      break;
    case SegmentationKind::kPolygons:
      annotation.first_part = static_cast<uint32_t>(to.polygons.size());
      ATOLL_TRY(copy_polygons(record, shapes, annotation));
      break;
    case SegmentationKind::kRle: {
      annotation.first_part = static_cast<uint32_t>(to.masks.size());
      annotation.part_count = 1;
      MaskRow mask = shapes.masks[record.first_part];
      const auto begin = static_cast<ptrdiff_t>(shapes.run_begin(record.first_part));
      const auto end = static_cast<ptrdiff_t>(mask.run_end);
      to.runs.insert(to.runs.end(), shapes.runs.begin() + begin, shapes.runs.begin() + end);
      mask.run_end = to.runs.size();
      to.masks.push_back(mask);
      break;
    }
  }
  return {};
}

void CocoBuilder::complete(const PackedAnnotation& record, Annotation& annotation) const {
  annotation.box = record.box;
  annotation.area = record.area;
  if (record.has_box && record.has_area) return;
  // A mask is drawn only where a number has to be made up for.
  Rle mask;
  if (record.kind != SegmentationKind::kNone) {
    mask = CocoDataset(storage_->arrays(), {}, nullptr).mask_of(annotation);
  }
  if (!record.has_box) annotation.box = rle_bounding_box(mask);
  if (!record.has_area) {
    annotation.area = record.kind != SegmentationKind::kNone
                          ? static_cast<double>(rle_area(mask))
                          : annotation.box[2] * annotation.box[3];
  }
}

Result<void> CocoBuilder::add_annotation(const PackedAnnotation& record,
                                         const PackedShapes& shapes) {
  const auto image_index = check_annotation(record, shapes);
  if (!image_index) return report(name_of(record), image_index.error());
  ATOLL_TRY(check_count(storage_->annotations.size(), "annotations"));
  Annotation annotation{.id = record.id,
                        .category_id = record.category_id,
                        .image_index = static_cast<int32_t>(*image_index),
                        .kind = record.kind,
                        .crowd = record.crowd};
  ATOLL_TRY(copy_segmentation(record, shapes, annotation));
  if (record.kind == SegmentationKind::kPolygons && annotation.part_count == 0) {
    return report(name_of(record), bad("none of its polygons can be used").value());
  }
  complete(record, annotation);
  annotation_ids_.insert(record.id);
  storage_->annotations.push_back(annotation);
  return {};
}

Result<void> CocoBuilder::add_annotation(const AnnotationRecord& record) {
  scratch_.clear();
  const PackedAnnotation packed = pack(record, scratch_);
  return add_annotation(packed, scratch_);
}

// A counting sort keeps the file's order inside each image's group.
void CocoBuilder::group_by_image() {
  CocoStorage& data = *storage_;
  data.annotation_ends.assign(data.images.size(), 0);
  for (const Annotation& annotation : data.annotations) {
    ++data.annotation_ends[static_cast<size_t>(annotation.image_index)];
  }
  std::partial_sum(
      data.annotation_ends.begin(), data.annotation_ends.end(), data.annotation_ends.begin());
  if (std::ranges::is_sorted(data.annotations, {}, &Annotation::image_index)) return;
  std::vector<uint32_t> next(data.annotation_ends);
  std::vector<Annotation> grouped(data.annotations.size());
  for (size_t i = data.annotations.size(); i-- > 0;) {
    const Annotation& annotation = data.annotations[i];
    grouped[--next[static_cast<size_t>(annotation.image_index)]] = annotation;
  }
  data.annotations = std::move(grouped);
}

void CocoBuilder::sort_image_ids() {
  CocoStorage& data = *storage_;
  data.image_ids.reserve(data.images.size());
  for (size_t i = 0; i < data.images.size(); ++i) {
    data.image_ids.push_back({data.images[i].id, static_cast<int64_t>(i)});
  }
  std::ranges::sort(data.image_ids, {}, &ImageIdRow::id);
}

CocoDataset CocoBuilder::finish() {
  std::ranges::sort(categories_, {}, &Category::id);
  group_by_image();
  sort_image_ids();
  const CocoArrays arrays = storage_->arrays();
  CocoDataset finished(arrays, std::move(categories_), std::move(storage_));
  finished.issues_ = std::move(issues_);
  finished.issue_count_ = issue_count_;
  CocoBuilder empty(std::move(sink_));
  empty.note_issues_ = note_issues_;
  *this = std::move(empty);
  return finished;
}

}  // namespace atl::dataset
