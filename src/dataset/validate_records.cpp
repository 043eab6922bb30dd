#include "dataset/validate_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace atl::dataset {
namespace {

// Coordinates are often rounded to whole pixels, outwards.
constexpr double kTolerance_px = 1.0 + 1e-6;
// Between an area by the polygon's formula and one by counting pixels; small objects differ more.
constexpr double kAreaTolerance = 0.2;
constexpr double kAreaTolerance_px = 20;

struct Extent {
  double left = std::numeric_limits<double>::infinity();
  double top = std::numeric_limits<double>::infinity();
  double right = -std::numeric_limits<double>::infinity();
  double bottom = -std::numeric_limits<double>::infinity();

  void add(double x, double y) {
    left = std::min(left, x);
    right = std::max(right, x);
    top = std::min(top, y);
    bottom = std::max(bottom, y);
  }
  static Extent of_box(const std::array<double, 4>& box) {
    return {box[0], box[1], box[0] + box[2], box[1] + box[3]};
  }
  Extent clipped(const Image& image) const {
    const auto x = [&](double v) { return std::clamp(v, 0.0, static_cast<double>(image.width)); };
    const auto y = [&](double v) { return std::clamp(v, 0.0, static_cast<double>(image.height)); };
    return {x(left), y(top), x(right), y(bottom)};
  }
  // How far the furthest side is from the other's.
  double distance(const Extent& other) const {
    return std::max({std::abs(left - other.left),
                     std::abs(top - other.top),
                     std::abs(right - other.right),
                     std::abs(bottom - other.bottom)});
  }
};

std::string shown(const Extent& extent) {
  return fmt::format(
      "x {:.1f}..{:.1f}, y {:.1f}..{:.1f}", extent.left, extent.right, extent.top, extent.bottom);
}

class ObjectChecker {
 public:
  ObjectChecker(const CocoDataset& dataset, size_t image_index, const std::string& file)
      : dataset_(dataset), image_(dataset.images()[image_index]), file_(file) {
    for (const Annotation& annotation : dataset.annotations_of(image_index)) check(annotation);
  }

  std::vector<Problem> take() { return std::move(found_); }

 private:
  using Kind = Problem::Kind;

  void check(const Annotation& annotation) {
    const Extent box = Extent::of_box(annotation.box);
    check_inside(annotation, "the box", box);
    Extent polygons;
    if (annotation.kind == SegmentationKind::kPolygons) {
      polygons = extent_of_polygons(annotation);
      check_inside(annotation, "a polygon", polygons);
    }
    const Rle mask = dataset_.mask_of(annotation);
    const auto pixels = static_cast<double>(rle_area(mask));
    if (pixels == 0) {
      add(annotation, Kind::kZeroArea, "not one pixel of the picture belongs to it");
      return;
    }
    if (annotation.box[2] <= 0 || annotation.box[3] <= 0) {
      add(annotation,
          Kind::kZeroArea,
          fmt::format("its box is {} x {}", annotation.box[2], annotation.box[3]));
      return;
    }
    if (annotation.area <= 0) add(annotation, Kind::kZeroArea, "its 'area' is 0");
    if (annotation.kind == SegmentationKind::kNone) return;
    check_box(annotation, box.clipped(image_), polygons, mask);
    const double difference = std::abs(annotation.area - pixels);
    if (annotation.area > 0 && difference > kAreaTolerance_px &&
        difference > kAreaTolerance * pixels) {
      add(annotation,
          Kind::kAreaMismatch,
          fmt::format("'area' is {}, its mask has {} pixels", annotation.area, pixels),
          Problem::Severity::kInfo);
    }
  }

  Extent extent_of_polygons(const Annotation& annotation) const {
    Extent extent;
    for (uint32_t part = 0; part < annotation.part_count; ++part) {
      const auto xy = dataset_.polygon(annotation.first_part + part);
      for (size_t i = 0; i < xy.size(); i += 2) extent.add(xy[i], xy[i + 1]);
    }
    return extent;
  }

  void check_inside(const Annotation& annotation, std::string_view what, const Extent& extent) {
    if (extent.distance(extent.clipped(image_)) <= kTolerance_px) return;
    add(annotation,
        Kind::kOutside,
        fmt::format("{} ({}) leaves the picture of {} x {}",
                    what,
                    shown(extent),
                    image_.width,
                    image_.height));
  }

  // The box may be that of the polygons' corners or that of the mask's pixels.
  void check_box(const Annotation& annotation,
                 const Extent& box,
                 const Extent& polygons,
                 const Rle& mask) {
    const Extent pixels = Extent::of_box(rle_bounding_box(mask));
    if (box.distance(pixels) <= kTolerance_px) return;
    if (annotation.kind == SegmentationKind::kPolygons &&
        box.distance(polygons.clipped(image_)) <= kTolerance_px) {
      return;
    }
    add(annotation,
        Kind::kBoxMismatch,
        fmt::format("its box is {}, but its mask is {}", shown(box), shown(pixels)));
  }

  void add(const Annotation& annotation,
           Kind kind,
           std::string message,
           Problem::Severity severity = Problem::Severity::kProblem) {
    found_.push_back(
        {severity, kind, file_, fmt::format("annotation {}", annotation.id), std::move(message)});
  }

  const CocoDataset& dataset_;
  const Image image_;
  const std::string& file_;
  std::vector<Problem> found_;
};

}  // namespace

bool is_safe_name(std::string_view file_name) {
  for (;;) {
    const size_t slash = file_name.find('/');
    const std::string_view part = file_name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    file_name.remove_prefix(slash + 1);
  }
}

std::vector<Problem> check_objects(const CocoDataset& dataset,
                                   size_t image_index,
                                   const std::string& file) {
  return ObjectChecker(dataset, image_index, file).take();
}

}  // namespace atl::dataset
