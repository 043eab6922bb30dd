#include "eval/pairs.h"

#include <algorithm>

#include "base/check.h"
#include "eval/boundary.h"
#include "eval/match.h"

namespace atl::eval::internal {
namespace {

using dataset::Rle;
using Box = std::array<double, 4>;

bool can_match(double iou) { return !(iou < kIouThresholds[0]); }

Pair pair_of(uint32_t truth, double iou) {
  unsigned reach = 0;
  for (size_t t = 0; t < kThresholdCount; ++t) {
    reach |= iou < std::min(kIouThresholds[t], kMaxThreshold) ? 0U : 1U << t;
  }
  return {truth, static_cast<uint16_t>(reach), iou};
}

// As dataset::box_iou, term by term: the last bit depends on it.
double box_iou(const Box& d, const Box& g, bool crowd) {
  const double width = std::min(d[2] + d[0], g[2] + g[0]) - std::max(d[0], g[0]);
  const double height = std::min(d[3] + d[1], g[3] + g[1]) - std::max(d[1], g[1]);
  if (width <= 0 || height <= 0) return 0;
  const double common = width * height;
  const double area = d[2] * d[3];
  return common / (crowd ? area : area + g[2] * g[3] - common);
}

uint64_t common_box_area(const MaskExtent& a, const MaskExtent& b) {
  const uint32_t left = std::max(a.left, b.left);
  const uint32_t right = std::min(a.right, b.right);
  const uint32_t top = std::max(a.top, b.top);
  const uint32_t bottom = std::min(a.bottom, b.bottom);
  return left < right && top < bottom ? uint64_t{right - left} * (bottom - top) : 0;
}

}  // namespace

dataset::Rle box_as_mask(const std::array<double, 4>& box, const dataset::Image& image) {
  const auto [x, y, width, height] = box;
  const std::array<double, 8> corners = {x, y, x, y + height, x + width, y + height, x + width, y};
  return dataset::rle_from_polygon(
      corners, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width));
}

const Pairs& PairFinder::find(IouKind kind, const dataset::Image& image, const Task& task) {
  result_.pairs.clear();
  result_.begin.assign(1, 0);
  if (kind == IouKind::kBox) {
    find_boxes(task);
  } else {
    find_masks(image, task, kind == IouKind::kBoundary);
  }
  return result_;
}

void PairFinder::find_boxes(const Task& task) {
  for (const Candidate* detection : task.detections) {
    for (uint32_t g = 0; g < task.truths.size(); ++g) {
      const Truth& truth = task.truths[g];
      const double iou = box_iou(detection->box, truth.annotation->box, truth.crowd);
      if (can_match(iou)) result_.pairs.push_back(pair_of(g, iou));
    }
    result_.begin.push_back(static_cast<uint32_t>(result_.pairs.size()));
  }
}

void PairFinder::find_masks(const dataset::Image& image, const Task& task, bool with_boundary) {
  if (truths_.size() < task.truths.size()) truths_.resize(task.truths.size());
  for (size_t g = 0; g < task.truths.size() && !task.detections.empty(); ++g) {
    set_shape(ground_truth_.mask_of(*task.truths[g].annotation), truths_[g]);
  }
  for (const Candidate* detection : task.detections) {
    if (!task.truths.empty()) shape_of(*detection, image, detection_);
    for (uint32_t g = 0; g < task.truths.size(); ++g) {
      const bool crowd = task.truths[g].crowd;
      double iou = mask_iou(*detection, detection_, truths_[g], crowd);
      if (with_boundary && can_match(iou) && !crowd) {
        iou = std::min(iou, boundary_iou(detection_, truths_[g]));
      }
      if (can_match(iou)) result_.pairs.push_back(pair_of(g, iou));
    }
    result_.begin.push_back(static_cast<uint32_t>(result_.pairs.size()));
  }
}

void PairFinder::set_shape(const Rle& mask, Shape& shape) {
  shape.height = mask.height;
  shape.width = mask.width;
  shape.extent = mask_extent(mask.counts, mask.height, mask.width);
  mask_runs(mask.counts, shape.runs);
  shape.has_runs = true;
  shape.has_boundary = false;
}

void PairFinder::shape_of(const Candidate& candidate, const dataset::Image& image, Shape& shape) {
  shape.has_runs = false;
  shape.has_boundary = false;
  if (candidate.record != nullptr) {
    shape.height = candidate.record->height;
    shape.width = candidate.record->width;
    shape.extent = candidate.record->extent;
  } else if (candidate.mask != nullptr) {
    shape.height = candidate.mask->height;
    shape.width = candidate.mask->width;
    shape.extent = mask_extent(candidate.mask->counts, shape.height, shape.width);
  } else {
    set_shape(box_as_mask(candidate.box, image), shape);
  }
}

void PairFinder::make_runs(const Candidate& candidate, Shape& shape) {
  if (candidate.record != nullptr) {
    const ResultRecord& record = *candidate.record;
    const auto counts =
        masks_.read(record.counts_text(), record.escaped, record.height, record.width);
    ATOLL_CHECK(counts.has_value()) << record.image_id;  // it was read before
    mask_runs(*counts, shape.runs);
  } else {
    mask_runs(candidate.mask->counts, shape.runs);
  }
  shape.has_runs = true;
}

// The masks' IoU; any value below 0.5 where it is certain that it is below.
double PairFinder::mask_iou(const Candidate& candidate,
                            Shape& detection,
                            const Shape& truth,
                            bool crowd) {
  const uint64_t area = detection.extent.area;
  const uint64_t truth_area = truth.extent.area;
  const uint64_t bound =
      std::min({area, truth_area, common_box_area(detection.extent, truth.extent)});
  const auto whole = [&](uint64_t common) { return crowd ? area : area + truth_area - common; };
  // 2 i < u means i / u < 0.5, in float64 as well: both are below 2^33.
  if (bound == 0 || 2 * bound < whole(bound)) return 0;
  if (detection.height != truth.height || detection.width != truth.width) return -1;
  if (!detection.has_runs) make_runs(candidate, detection);
  const uint64_t common = common_pixels(detection.runs, truth.runs);
  if (common == 0) return 0;
  return static_cast<double>(common) / static_cast<double>(whole(common));
}

// Of a mask whose IoU was asked for. Most come close to no other, so it is made late.
void PairFinder::make_boundary(Shape& shape) {
  if (shape.has_boundary) return;
  Rle mask{shape.height, shape.width, {}};
  uint32_t end = 0;
  for (const MaskRun& run : shape.runs) {
    mask.counts.push_back(run.begin - end);
    mask.counts.push_back(run.end - run.begin);
    end = run.end;
  }
  mask.counts.push_back(mask.height * mask.width - end);
  const Rle boundary = boundary_of(mask);
  mask_runs(boundary.counts, shape.boundary);
  shape.boundary_area = dataset::rle_area(boundary);
  shape.has_boundary = true;
}

double PairFinder::boundary_iou(Shape& a, Shape& b) {
  make_boundary(a);
  make_boundary(b);
  const uint64_t common = common_pixels(a.boundary, b.boundary);
  return static_cast<double>(common) /
         static_cast<double>(a.boundary_area + b.boundary_area - common);
}

}  // namespace atl::eval::internal
