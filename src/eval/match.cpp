// pycocotools' evaluateImg. Where it walks all ground truths for each detection, threshold and
// area, the walk here goes over the pairs whose IoU reaches the lowest threshold only: the others
// never match, and an ignored one among them ends the search only before others that are ignored,
// too.
#include "eval/match.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "eval/boundary.h"

namespace atl::eval::internal {
namespace {

using dataset::Annotation;
using dataset::Rle;
using Box = std::array<double, 4>;

// A threshold of 1 would otherwise miss on rounding; pycocotools' own bound.
constexpr double kMaxThreshold = 1 - 1e-10;

struct Ranked {
  uint32_t category;
  uint32_t index;
};

// Positions of the records whose category the dataset has, by category, in order inside each.
template <typename Record>
std::vector<Ranked> by_category(const dataset::CocoDataset& dataset,
                                std::span<const Record> records) {
  std::vector<Ranked> ranked;
  ranked.reserve(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    if (const auto label = dataset.label_of(records[i].category_id)) {
      ranked.push_back({static_cast<uint32_t>(*label - 1), static_cast<uint32_t>(i)});
    }
  }
  std::ranges::stable_sort(ranked, {}, &Ranked::category);
  return ranked;
}

// Falling scores, NaN last, as numpy sorts -score.
bool higher(double a, double b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

struct Pair {
  uint32_t truth;
  double iou;
};

// The pairs that can match, for each detection of a group in order of the ground truths.
struct Pairs {
  std::vector<Pair> pairs;
  std::vector<uint32_t> begin;  // detections + 1
};

bool can_match(double iou) { return !(iou < kIouThresholds[0]); }

// A mask with what is asked of it often.
struct Shape {
  const Rle& mask;
  Box box;
  uint64_t area;
  explicit Shape(const Rle& rle)
      : mask(rle), box(dataset::rle_bounding_box(rle)), area(dataset::rle_area(rle)) {}
};

uint64_t common_box_area(const Box& a, const Box& b) {
  const double width = std::min(a[0] + a[2], b[0] + b[2]) - std::max(a[0], b[0]);
  const double height = std::min(a[1] + a[3], b[1] + b[3]) - std::max(a[1], b[1]);
  return width > 0 && height > 0 ? static_cast<uint64_t>(width * height) : 0;
}

// The masks' IoU; any value below 0.5 where it is certain that it is below.
double mask_iou(const Shape& detection, const Shape& truth, bool crowd) {
  const uint64_t bound =
      std::min({detection.area, truth.area, common_box_area(detection.box, truth.box)});
  const auto whole = [&](uint64_t common) {
    return crowd ? detection.area : detection.area + truth.area - common;
  };
  // 2 i < u means i / u < 0.5, in float64 as well: both are below 2^33.
  if (bound == 0 || 2 * bound < whole(bound)) return 0;
  if (detection.mask.height != truth.mask.height || detection.mask.width != truth.mask.width) {
    return -1;
  }
  const uint64_t common = dataset::rle_intersection_area(detection.mask, truth.mask);
  if (common == 0) return 0;
  return static_cast<double>(common) / static_cast<double>(whole(common));
}

struct Truth {
  const Annotation* annotation;
  bool crowd;    // may be taken by any number of detections
  bool ignored;  // in every area range
};

// The group being matched.
struct Task {
  std::span<const Detection* const> detections;  // by falling score
  std::span<const Truth> truths;                 // in the file's order
  bool forgiving;  // a detection that takes nothing is ignored: not all objects are marked
};

Pairs pairs_of_boxes(const Task& task) {
  std::vector<Box> detections;
  std::vector<Box> truths;
  std::vector<uint8_t> crowd;
  for (const Detection* detection : task.detections) detections.push_back(detection->box);
  for (const Truth& truth : task.truths) {
    truths.push_back(truth.annotation->box);
    crowd.push_back(truth.crowd ? 1 : 0);
  }
  const std::vector<double> ious = dataset::box_iou(detections, truths, crowd);
  Pairs result;
  result.begin.push_back(0);
  for (size_t d = 0; d < detections.size(); ++d) {
    for (size_t g = 0; g < truths.size(); ++g) {
      const double iou = ious[d * truths.size() + g];
      if (can_match(iou)) result.pairs.push_back({static_cast<uint32_t>(g), iou});
    }
    result.begin.push_back(static_cast<uint32_t>(result.pairs.size()));
  }
  return result;
}

// What stands for the mask of a detection without one.
Rle box_as_mask(const Detection& detection, const dataset::Image& image) {
  const auto [x, y, width, height] = detection.box;
  const std::array<double, 8> corners = {x, y, x, y + height, x + width, y + height, x + width, y};
  return dataset::rle_from_polygon(
      corners, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width));
}

// A mask's boundary, made when it is first asked for: most masks come close to no other.
class Boundary {
 public:
  explicit Boundary(const Rle& mask) : mask_(mask) {}

  double iou(Boundary& other) {
    const Rle& mine = pixels();
    const Rle& others = other.pixels();
    const uint64_t common = dataset::rle_intersection_area(mine, others);
    return static_cast<double>(common) / static_cast<double>(area_ + other.area_ - common);
  }

 private:
  const Rle& pixels() {
    if (!boundary_) {
      boundary_ = boundary_of(mask_);
      area_ = dataset::rle_area(*boundary_);
    }
    return *boundary_;
  }

  const Rle& mask_;
  std::optional<Rle> boundary_;
  uint64_t area_ = 0;
};

Pairs pairs_of_masks(const dataset::CocoDataset& dataset,
                     const dataset::Image& image,
                     const Task& task,
                     bool with_boundary) {
  std::vector<Rle> truth_masks;
  truth_masks.reserve(task.truths.size());
  for (const Truth& truth : task.truths) {
    truth_masks.push_back(dataset.mask_of(*truth.annotation));
  }
  const std::vector<Shape> truths(truth_masks.begin(), truth_masks.end());
  std::vector<Boundary> truth_boundaries(truth_masks.begin(), truth_masks.end());
  Pairs result;
  result.begin.push_back(0);
  for (const Detection* detection : task.detections) {
    if (!truths.empty()) {
      Rle box_mask;
      if (detection->mask.counts.empty()) box_mask = box_as_mask(*detection, image);
      const Shape shape(detection->mask.counts.empty() ? box_mask : detection->mask);
      Boundary boundary(shape.mask);
      for (size_t g = 0; g < truths.size(); ++g) {
        const bool crowd = task.truths[g].crowd;
        double iou = mask_iou(shape, truths[g], crowd);
        if (with_boundary && can_match(iou) && !crowd) {
          iou = std::min(iou, boundary.iou(truth_boundaries[g]));
        }
        if (can_match(iou)) result.pairs.push_back({static_cast<uint32_t>(g), iou});
      }
    }
    result.begin.push_back(static_cast<uint32_t>(result.pairs.size()));
  }
  return result;
}

// One area range: who takes whom at each threshold.
class AreaMatcher {
 public:
  AreaMatcher(const Task& task, size_t area, bool strict)
      : task_(task), area_(area), strict_(strict), taken_(task.truths.size()) {
    ignored_.reserve(task.truths.size());
    for (const Truth& truth : task.truths) {
      ignored_.push_back(truth.ignored || !kAreas[area].holds(truth.annotation->area));
    }
  }

  uint32_t counted() const { return static_cast<uint32_t>(std::ranges::count(ignored_, false)); }

  void match(const Detection& detection, std::span<const Pair> pairs, Outcome& outcome) {
    const bool forgiven = task_.forgiving || !kAreas[area_].holds(detection.area);
    uint16_t matched = 0;
    uint16_t ignored = 0;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      const auto bit = static_cast<uint16_t>(1U << t);
      const int truth = pairs.empty() ? -1 : best(pairs, kIouThresholds[t], bit);
      bool counts_as_matched = truth >= 0;
      if (truth >= 0) {
        const auto index = static_cast<size_t>(truth);
        taken_[index] |= bit;
        if (ignored_[index]) ignored |= bit;
        // pycocotools notes the id of the match, and reads a 0 as "none".
        if (strict_ && task_.truths[index].annotation->id == 0) counts_as_matched = false;
      }
      if (counts_as_matched) {
        matched |= bit;
      } else if (forgiven) {
        ignored |= bit;
      }
    }
    outcome.matched[area_] = matched;
    outcome.ignored[area_] = ignored;
  }

 private:
  // The ground truth of the highest IoU, the last one of equals; those that count go before those
  // that are ignored. -1: none.
  int best(std::span<const Pair> pairs, double threshold, uint16_t bit) const {
    double best_iou = std::min(threshold, kMaxThreshold);
    int found = -1;
    for (const bool ignored : {false, true}) {
      for (const Pair& pair : pairs) {
        if (ignored_[pair.truth] != ignored) continue;
        if ((taken_[pair.truth] & bit) != 0 && !task_.truths[pair.truth].crowd) continue;
        if (pair.iou < best_iou) continue;
        best_iou = pair.iou;
        found = static_cast<int>(pair.truth);
      }
      if (found >= 0) break;
    }
    return found;
  }

  const Task& task_;
  size_t area_;
  bool strict_;
  std::vector<bool> ignored_;
  std::vector<uint16_t> taken_;  // bit t: by a detection at threshold t
};

void match_group(
    const Task& task, const Pairs& pairs, bool strict, Group& group, std::span<Outcome> outcomes) {
  for (size_t area = 0; area < kAreaCount; ++area) {
    AreaMatcher matcher(task, area, strict);
    group.truths[area] = matcher.counted();
    for (size_t d = 0; d < task.detections.size(); ++d) {
      const auto own =
          std::span(pairs.pairs).subspan(pairs.begin[d], pairs.begin[d + 1] - pairs.begin[d]);
      matcher.match(*task.detections[d], own, outcomes[d]);
    }
  }
}

// What the lvis package never looks at: records without area. NaN fails the comparison, too.
bool has_area(double area) { return area > 0 && std::isfinite(area); }

bool contains(const std::vector<int64_t>& sorted, int64_t id) {
  return std::ranges::binary_search(sorted, id);
}

}  // namespace

ImageOutcome match_image(const dataset::CocoDataset& ground_truth,
                         size_t image_index,
                         std::span<const Detection> detections,
                         const MatchOptions& options,
                         const LvisImage* lvis) {
  const std::span<const Annotation> annotations = ground_truth.annotations_of(image_index);
  const auto ranked_detections = by_category(ground_truth, detections);
  const auto ranked_truths = by_category(ground_truth, annotations);

  ImageOutcome result;
  std::vector<const Detection*> group_detections;
  std::vector<Truth> group_truths;
  auto detection = ranked_detections.begin();
  auto truth = ranked_truths.begin();
  while (detection != ranked_detections.end() || truth != ranked_truths.end()) {
    uint32_t category = 0;
    if (options.use_categories) {
      category = detection == ranked_detections.end() ? truth->category : detection->category;
      if (truth != ranked_truths.end()) category = std::min(category, truth->category);
    }
    const auto joins = [&](const Ranked& ranked) {
      return !options.use_categories || ranked.category == category;
    };
    group_detections.clear();
    group_truths.clear();
    for (; detection != ranked_detections.end() && joins(*detection); ++detection) {
      const Detection& each = detections[detection->index];
      if (lvis == nullptr || has_area(each.area)) group_detections.push_back(&each);
    }
    for (; truth != ranked_truths.end() && joins(*truth); ++truth) {
      const Annotation& each = annotations[truth->index];
      if (lvis == nullptr) {
        group_truths.push_back({&each, each.crowd, each.crowd});
      } else if (has_area(each.area)) {
        group_truths.push_back({&each, false, lvis->ignores(truth->index)});
      }
    }
    bool forgiving = false;
    if (lvis != nullptr) {
      const int64_t id = ground_truth.categories()[category].id;
      if (group_truths.empty() && !contains(lvis->negative_categories, id)) continue;
      forgiving = contains(lvis->not_exhaustive_categories, id);
    }
    std::ranges::stable_sort(group_detections, higher, &Detection::score);
    if (group_detections.size() > options.max_detections) {
      group_detections.resize(options.max_detections);
    }

    const Task task{group_detections, group_truths, forgiving};
    const Pairs pairs = options.kind == IouKind::kBox
                            ? pairs_of_boxes(task)
                            : pairs_of_masks(ground_truth,
                                             ground_truth.images()[image_index],
                                             task,
                                             options.kind == IouKind::kBoundary);
    const size_t begin = result.outcomes.size();
    for (const Detection* each : group_detections) result.outcomes.push_back({each->score, {}, {}});
    Group group{
        category, static_cast<uint32_t>(begin), static_cast<uint32_t>(group_detections.size()), {}};
    match_group(
        task, pairs, options.strict_pycocotools, group, std::span(result.outcomes).subspan(begin));
    result.groups.push_back(group);
  }
  return result;
}

}  // namespace atl::eval::internal
