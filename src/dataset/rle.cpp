#include "dataset/rle.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "dataset/rle_runs.h"

namespace atl::dataset {
namespace {

using internal::ColumnRun;
using internal::ForegroundRuns;
using internal::RunWriter;
using internal::split_by_column;

uint64_t pixel_count(const Rle& rle) { return uint64_t{rle.height} * rle.width; }

bool same_size(const Rle& a, const Rle& b) { return a.height == b.height && a.width == b.width; }

Rle unite(const Rle& a, const Rle& b) {
  Rle result{a.height, a.width, {}};
  result.counts.reserve(a.counts.size() + b.counts.size());
  RunWriter writer(result.counts);
  ForegroundRuns left(a);
  ForegroundRuns right(b);
  while (!left.done() || !right.done()) {
    // The earlier run opens an interval; whatever begins inside or at its end extends it.
    const bool left_first = right.done() || (!left.done() && left.begin() <= right.begin());
    ForegroundRuns& first = left_first ? left : right;
    const uint64_t begin = first.begin();
    uint64_t end = first.end();
    first.next();
    for (bool grew = true; std::exchange(grew, false);) {
      for (ForegroundRuns* runs : {&left, &right}) {
        for (; !runs->done() && runs->begin() <= end; runs->next(), grew = true) {
          end = std::max(end, runs->end());
        }
      }
    }
    writer.foreground(begin, end);
  }
  writer.finish(pixel_count(result));
  return result;
}

// Calls visit(begin, end) for each stretch of pixels that is foreground in both.
template <typename Visit>
void for_each_common_run(const Rle& a, const Rle& b, Visit visit) {
  ForegroundRuns left(a);
  ForegroundRuns right(b);
  while (!left.done() && !right.done()) {
    const uint64_t begin = std::max(left.begin(), right.begin());
    const uint64_t end = std::min(left.end(), right.end());
    if (begin < end) visit(begin, end);
    (left.end() < right.end() ? left : right).next();
  }
}

Rle intersect_pair(const Rle& a, const Rle& b) {
  Rle result{a.height, a.width, {}};
  RunWriter writer(result.counts);
  for_each_common_run(a, b, [&](uint64_t begin, uint64_t end) { writer.foreground(begin, end); });
  writer.finish(pixel_count(result));
  return result;
}

}  // namespace

std::vector<ColumnRun> internal::split_by_column(const Rle& rle) {
  std::vector<ColumnRun> runs;
  runs.reserve(rle.counts.size() / 2 + rle.width);
  const uint32_t height = rle.height;
  for (ForegroundRuns run(rle); !run.done(); run.next()) {
    auto column = static_cast<uint32_t>(run.begin() / height);
    auto row = static_cast<uint32_t>(run.begin() % height);
    for (uint64_t left = run.end() - run.begin(); left > 0; ++column, row = 0) {
      const auto length = static_cast<uint32_t>(std::min<uint64_t>(left, height - row));
      runs.push_back({column, row, row + length});
      left -= length;
    }
  }
  return runs;
}

Rle rle_merge(std::span<const Rle> masks, bool intersect) {
  if (masks.empty()) return {};
  Rle result = masks[0];
  for (const Rle& mask : masks.subspan(1)) {
    if (!same_size(mask, result)) return {};
    result = intersect ? intersect_pair(result, mask) : unite(result, mask);
  }
  return result;
}

Rle rle_from_bitmap(std::span<const uint8_t> column_major, uint32_t height, uint32_t width) {
  ATOLL_CHECK(rle_size_fits(height, width) && column_major.size() == uint64_t{height} * width)
      << height << " x " << width << " from " << column_major.size() << " bytes";
  Rle result{height, width, {}};
  const auto foreground = [](uint8_t pixel) { return pixel != 0; };
  RunWriter writer(result.counts);
  for (auto at = column_major.begin();;) {
    const auto begin = std::find_if(at, column_major.end(), foreground);
    if (begin == column_major.end()) break;
    at = std::find(begin, column_major.end(), uint8_t{0});
    writer.foreground(static_cast<uint64_t>(begin - column_major.begin()),
                      static_cast<uint64_t>(at - column_major.begin()));
  }
  writer.finish(column_major.size());
  return result;
}

void rle_to_bitmap(const Rle& rle, std::span<uint8_t> column_major) {
  ATOLL_CHECK(column_major.size() == pixel_count(rle))
      << rle.height << " x " << rle.width << " into " << column_major.size() << " bytes";
  std::ranges::fill(column_major, uint8_t{0});
  for (ForegroundRuns run(rle); !run.done(); run.next()) {
    std::ranges::fill(column_major.subspan(run.begin(), run.end() - run.begin()), uint8_t{1});
  }
}

uint64_t rle_area(const Rle& rle) {
  uint64_t area = 0;
  for (size_t i = 1; i < rle.counts.size(); i += 2) area += rle.counts[i];
  return area;
}

std::array<double, 4> rle_bounding_box(const Rle& rle) {
  ForegroundRuns run(rle);
  if (run.done()) return {0, 0, 0, 0};
  const uint32_t height = rle.height;
  const uint64_t left = run.begin() / height;
  uint64_t right = left;
  uint64_t top = height;
  uint64_t bottom = 0;
  for (; !run.done(); run.next()) {
    const uint64_t first_column = run.begin() / height;
    right = (run.end() - 1) / height;
    if (first_column == right) {
      top = std::min(top, run.begin() - first_column * height);
      bottom = std::max(bottom, run.end() - 1 - right * height);
    } else {  // it goes through the bottom of one column and the top of the next
      top = 0;
      bottom = height - 1;
    }
  }
  return {static_cast<double>(left),
          static_cast<double>(top),
          static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

uint64_t rle_intersection_area(const Rle& a, const Rle& b) {
  uint64_t area = 0;
  for_each_common_run(a, b, [&](uint64_t begin, uint64_t end) { area += end - begin; });
  return area;
}

std::vector<double> box_iou(std::span<const std::array<double, 4>> detections,
                            std::span<const std::array<double, 4>> ground_truths,
                            std::span<const uint8_t> crowd) {
  ATOLL_CHECK(crowd.empty() || crowd.size() == ground_truths.size()) << crowd.size();
  std::vector<double> ious;
  ious.reserve(detections.size() * ground_truths.size());
  for (const auto& d : detections) {
    const double detection_area = d[2] * d[3];
    for (size_t i = 0; i < ground_truths.size(); ++i) {
      const auto& g = ground_truths[i];
      const double width = std::min(d[2] + d[0], g[2] + g[0]) - std::max(d[0], g[0]);
      const double height = std::min(d[3] + d[1], g[3] + g[1]) - std::max(d[1], g[1]);
      if (width <= 0 || height <= 0) {
        ious.push_back(0);
        continue;
      }
      const double common = width * height;
      const bool is_crowd = !crowd.empty() && crowd[i] != 0;
      // In this order: the last bit depends on it.
      const double whole = is_crowd ? detection_area : detection_area + g[2] * g[3] - common;
      ious.push_back(common / whole);
    }
  }
  return ious;
}

std::vector<double> rle_iou(std::span<const Rle> detections,
                            std::span<const Rle> ground_truths,
                            std::span<const uint8_t> crowd) {
  const auto boxes = [](std::span<const Rle> masks) {
    std::vector<std::array<double, 4>> result;
    result.reserve(masks.size());
    for (const Rle& mask : masks) result.push_back(rle_bounding_box(mask));
    return result;
  };
  std::vector<double> ious = box_iou(boxes(detections), boxes(ground_truths), crowd);
  std::vector<uint64_t> ground_truth_areas;
  ground_truth_areas.reserve(ground_truths.size());
  for (const Rle& mask : ground_truths) ground_truth_areas.push_back(rle_area(mask));

  double* iou = ious.data();
  for (const Rle& detection : detections) {
    const uint64_t area = rle_area(detection);
    for (size_t g = 0; g < ground_truths.size(); ++g, ++iou) {
      if (*iou <= 0) continue;
      if (!same_size(detection, ground_truths[g])) {
        *iou = -1;
        continue;
      }
      const uint64_t common = rle_intersection_area(detection, ground_truths[g]);
      const bool is_crowd = !crowd.empty() && crowd[g] != 0;
      const uint64_t whole = is_crowd ? area : area + ground_truth_areas[g] - common;
      *iou = common == 0 ? 0 : static_cast<double>(common) / static_cast<double>(whole);
    }
  }
  return ious;
}

Rle rle_flip_horizontal(const Rle& rle) {
  Rle result{rle.height, rle.width, {}};
  result.counts.reserve(rle.counts.size());
  const std::vector<ColumnRun> runs = split_by_column(rle);
  RunWriter writer(result.counts);
  for (size_t end = runs.size(); end > 0;) {
    size_t begin = end - 1;
    while (begin > 0 && runs[begin - 1].column == runs[end - 1].column) --begin;
    const uint64_t offset = uint64_t{rle.width - 1 - runs[begin].column} * rle.height;
    for (size_t i = begin; i < end; ++i) {
      writer.foreground(offset + runs[i].begin, offset + runs[i].end);
    }
    end = begin;
  }
  writer.finish(pixel_count(result));
  return result;
}

}  // namespace atl::dataset
