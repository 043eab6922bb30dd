#include "dataset/coco_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

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

Result<void> check_polygon(size_t index, std::span<const double> xy) {
  if (xy.size() < 6 || xy.size() % 2 != 0) {
    return bad(
        fmt::format("polygon {} has {} numbers; at least 3 points, an x and a y each, are needed",
                    index,
                    xy.size()));
  }
  for (const double value : xy) {
    if (!is_sane(value)) {
      return bad(fmt::format("polygon {} has the coordinate {}", index, value));
    }
  }
  return {};
}

}  // namespace

CocoBuilder::CocoBuilder(CocoDataset::Mode mode)
    : note_issues_(mode == CocoDataset::Mode::kLenient) {}

Result<void> CocoBuilder::report(std::string_view record, const Error& problem) {
  if (sink_) return sink_(record, problem);
  if (!note_issues_) return tl::unexpected(Error(problem).with_context(record));
  ++dataset_.issue_count_;
  if (dataset_.issues_.size() < kKeptIssues) {
    dataset_.issues_.push_back(fmt::format("{}: {}", record, problem.to_string()));
  }
  return {};
}

Result<void> CocoBuilder::add_category(Category category) {
  const std::string record = fmt::format("category {}", category.id);
  if (category.name.empty()) return report(record, bad("'name' is empty").value());
  if (!category_ids_.insert(category.id).second) {
    return report(record, bad("the id appears twice").value());
  }
  dataset_.categories_.push_back(std::move(category));
  return {};
}

Result<void> CocoBuilder::add_image(const ImageRecord& image) {
  const std::string record = fmt::format("image {}", image.id);
  const auto side_is_bad = [](int64_t side) { return side < 1 || side > kMaxImageSide_px; };
  if (side_is_bad(image.width) || side_is_bad(image.height) ||
      image.width * image.height > std::numeric_limits<uint32_t>::max()) {
    return report(
        record,
        bad(fmt::format("width x height is {} x {}; each must lie in 1..{}, and their product "
                        "below 2^32",
                        image.width,
                        image.height,
                        kMaxImageSide_px))
            .value());
  }
  if (image.file_name.empty()) return report(record, bad("'file_name' is empty").value());
  if (!dataset_.image_index_.emplace(image.id, dataset_.images_.size()).second) {
    return report(record, bad("the id appears twice").value());
  }
  dataset_.images_.push_back({.id = image.id,
                              .width = static_cast<int32_t>(image.width),
                              .height = static_cast<int32_t>(image.height),
                              .file_name = {}});
  dataset_.names_.insert(dataset_.names_.end(), image.file_name.begin(), image.file_name.end());
  name_ends_.push_back(dataset_.names_.size());
  return {};
}

Result<void> CocoBuilder::check_annotation(const AnnotationRecord& record) const {
  const auto found = dataset_.image_index_.find(record.image_id);
  if (found == dataset_.image_index_.end()) {
    return bad(fmt::format("image {}, which it names, is not among the images", record.image_id));
  }
  if (!category_ids_.contains(record.category_id)) {
    return bad(fmt::format("category {}, which it names, is not among the categories",
                           record.category_id));
  }
  if (annotation_ids_.contains(record.id)) return bad("the id appears twice");
  if (record.box) {
    const auto& box = *record.box;
    if (!std::all_of(box.begin(), box.end(), is_sane) || box[2] < 0 || box[3] < 0) {
      return bad(fmt::format(
          "'bbox' is [{}]: x, y, width, height must be finite, and the size not negative",
          fmt::join(box, ", ")));
    }
  }
  // A mask has fewer than 2^32 pixels.
  if (record.area && !(*record.area >= 0 && *record.area <= 0x1p32)) {
    return bad(fmt::format("'area' is {}", *record.area));
  }
  if (record.kind == SegmentationKind::kNone && !record.box) {
    return bad("it has neither 'bbox' nor 'segmentation'");
  }
  const Image& image = dataset_.images_[found->second];
  const Rle& rle = record.rle;
  if (record.kind == SegmentationKind::kRle && (rle.height != static_cast<uint32_t>(image.height) ||
                                                rle.width != static_cast<uint32_t>(image.width))) {
    return bad(fmt::format("the mask is {} x {} (height x width), but image {} is {} x {}",
                           rle.height,
                           rle.width,
                           image.id,
                           image.height,
                           image.width));
  }
  return {};
}

Result<void> CocoBuilder::pack_polygons(const AnnotationRecord& record, Annotation& annotation) {
  const std::string name = fmt::format("annotation {}", record.id);
  std::span<const double> rest = record.coordinates;
  for (size_t index = 0; index < record.polygon_lengths.size(); ++index) {
    const auto xy = rest.first(record.polygon_lengths[index]);
    rest = rest.subspan(record.polygon_lengths[index]);
    if (const auto checked = check_polygon(index, xy); !checked) {
      ATOLL_TRY(report(name, checked.error()));
      continue;
    }
    dataset_.coordinates_.insert(dataset_.coordinates_.end(), xy.begin(), xy.end());
    dataset_.polygon_begin_.push_back(dataset_.coordinates_.size());
    ++annotation.part_count;
  }
  return {};
}

Result<void> CocoBuilder::pack_segmentation(const AnnotationRecord& record,
                                            Annotation& annotation) {
  switch (record.kind) {
    case SegmentationKind::kNone:
      break;
    case SegmentationKind::kPolygons:
      annotation.first_part = static_cast<uint32_t>(dataset_.polygon_begin_.size() - 1);
      ATOLL_TRY(pack_polygons(record, annotation));
      break;
    case SegmentationKind::kRle:
      annotation.first_part = static_cast<uint32_t>(dataset_.rles_.size());
      annotation.part_count = 1;
      dataset_.rles_.push_back(record.rle);
      break;
  }
  return {};
}

void CocoBuilder::unpack(const Annotation& annotation) {
  if (annotation.kind == SegmentationKind::kPolygons) {
    dataset_.polygon_begin_.resize(annotation.first_part + size_t{1});
    dataset_.coordinates_.resize(dataset_.polygon_begin_.back());
  } else if (annotation.kind == SegmentationKind::kRle) {
    dataset_.rles_.pop_back();
  }
}

Result<void> CocoBuilder::add_annotation(const AnnotationRecord& record) {
  const std::string name = fmt::format("annotation {}", record.id);
  if (const auto checked = check_annotation(record); !checked) {
    return report(name, checked.error());
  }
  Annotation annotation{
      .id = record.id,
      .category_id = record.category_id,
      .image_index = static_cast<int32_t>(dataset_.image_index_.at(record.image_id)),
      .kind = record.kind,
      .crowd = record.crowd};
  ATOLL_TRY(pack_segmentation(record, annotation));
  if (record.kind == SegmentationKind::kPolygons && annotation.part_count == 0) {
    unpack(annotation);
    return report(name, bad("none of its polygons can be used").value());
  }
  // A mask is drawn only where a number has to be made up for.
  const bool has_mask = record.kind != SegmentationKind::kNone;
  if (record.box) {
    annotation.box = *record.box;
  } else {
    annotation.box = rle_bounding_box(dataset_.mask_of(annotation));
  }
  if (record.area) {
    annotation.area = *record.area;
  } else {
    annotation.area = has_mask ? static_cast<double>(rle_area(dataset_.mask_of(annotation)))
                               : annotation.box[2] * annotation.box[3];
  }
  annotation_ids_.insert(record.id);
  dataset_.annotations_.push_back(annotation);
  return {};
}

CocoDataset CocoBuilder::finish() {
  CocoDataset& data = dataset_;
  std::sort(data.categories_.begin(), data.categories_.end(), [](const auto& a, const auto& b) {
    return a.id < b.id;
  });
  size_t name_begin = 0;
  for (size_t i = 0; i < data.images_.size(); ++i) {
    data.images_[i].file_name =
        std::string_view(data.names_.data() + name_begin, name_ends_[i] - name_begin);
    name_begin = name_ends_[i];
  }
  // A counting sort keeps the file's order inside each image's group.
  data.annotation_begin_.assign(data.images_.size() + 1, 0);
  for (const Annotation& annotation : data.annotations_) {
    ++data.annotation_begin_[static_cast<size_t>(annotation.image_index) + 1];
  }
  std::partial_sum(
      data.annotation_begin_.begin(), data.annotation_begin_.end(), data.annotation_begin_.begin());
  std::vector<uint32_t> next(data.annotation_begin_);
  std::vector<Annotation> grouped(data.annotations_.size());
  for (const Annotation& annotation : data.annotations_) {
    grouped[next[static_cast<size_t>(annotation.image_index)]++] = annotation;
  }
  data.annotations_ = std::move(grouped);
  CocoDataset finished = std::move(dataset_);
  dataset_ = CocoDataset();
  category_ids_.clear();
  annotation_ids_.clear();
  name_ends_.clear();
  return finished;
}

}  // namespace atl::dataset
