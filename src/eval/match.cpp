// pycocotools' evaluateImg. Where it walks all ground truths for each detection, threshold and
// area, the walk here goes over the pairs whose IoU reaches the lowest threshold only: the others
// never match, and an ignored one among them ends the search only before others that are ignored,
// too.
#include "eval/match.h"

#include <algorithm>
#include <cmath>

namespace atl::eval::internal {
namespace {

using dataset::Annotation;

constexpr uint16_t kAllThresholds = (1U << kThresholdCount) - 1;

// Falling scores, NaN last, as numpy sorts -score.
bool higher(double a, double b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// One area range: who takes whom at each threshold.
class AreaMatcher {
 public:
  AreaMatcher(const Task& task, size_t area, bool strict)
      : task_(task), area_(area), strict_(strict), taken_(task.truths.size()) {
    ignored_.reserve(task.truths.size());
    for (const Truth& truth : task.truths) {
      ignored_.push_back(truth.ignored || !kAreas[area].holds(truth.annotation->area) ? 1 : 0);
    }
  }

  uint32_t counted() const { return static_cast<uint32_t>(std::ranges::count(ignored_, 0)); }

  // `pairs`: the detection's own, at least one.
  void match(const Candidate& detection, std::span<const Pair> pairs, Outcome& outcome) {
    const bool forgiven = task_.forgiving || !kAreas[area_].holds(detection.area);
    unsigned matched = 0;
    unsigned ignored = 0;
    const auto take = [&](uint32_t truth, unsigned thresholds) {
      taken_[truth] |= static_cast<uint16_t>(thresholds);
      if (ignored_[truth] != 0) ignored |= thresholds;
      // pycocotools notes the id of the match, and reads a 0 as "none".
      if (!strict_ || task_.truths[truth].annotation->id != 0) matched |= thresholds;
    };
    if (pairs.size() == 1) {
      take(pairs[0].truth, free_thresholds(pairs[0]));
    } else {
      for (size_t t = 0; t < kThresholdCount; ++t) {
        if (const Pair* pair = best(pairs, 1U << t)) take(pair->truth, 1U << t);
      }
    }
    if (forgiven) ignored |= kAllThresholds & ~matched;
    outcome.matched[area_] = static_cast<uint16_t>(matched);
    outcome.ignored[area_] = static_cast<uint16_t>(ignored);
  }

 private:
  // At which thresholds the ground truth can still be taken.
  unsigned free_thresholds(const Pair& pair) const {
    return task_.truths[pair.truth].crowd ? pair.reach : pair.reach & ~unsigned{taken_[pair.truth]};
  }

  // The ground truth of the highest IoU, the last one of equals; those that count go before those
  // that are ignored. Null: none.
  const Pair* best(std::span<const Pair> pairs, unsigned threshold) const {
    const Pair* found = nullptr;
    for (const Pair& pair : pairs) {
      if ((free_thresholds(pair) & threshold) == 0) continue;
      const bool better =
          found == nullptr || ignored_[pair.truth] < ignored_[found->truth] ||
          (ignored_[pair.truth] == ignored_[found->truth] && !(pair.iou < found->iou));
      if (better) found = &pair;
    }
    return found;
  }

  const Task& task_;
  size_t area_;
  bool strict_;
  std::vector<uint8_t> ignored_;
  std::vector<uint16_t> taken_;  // bit t: by a detection at threshold t
};

// A detection that overlaps nothing.
void leave_unmatched(const Task& task, const Candidate& detection, Outcome& outcome) {
  for (size_t area = 0; area < kAreaCount; ++area) {
    outcome.matched[area] = 0;
    outcome.ignored[area] =
        task.forgiving || !kAreas[area].holds(detection.area) ? kAllThresholds : 0;
  }
}

void match_group(
    const Task& task, const Pairs& pairs, bool strict, Group& group, std::span<Outcome> outcomes) {
  for (size_t d = 0; d < task.detections.size(); ++d) {
    if (pairs.of(d).empty()) leave_unmatched(task, *task.detections[d], outcomes[d]);
  }
  for (size_t area = 0; area < kAreaCount && !task.truths.empty(); ++area) {
    AreaMatcher matcher(task, area, strict);
    group.truths[area] = matcher.counted();
    for (size_t d = 0; d < task.detections.size(); ++d) {
      if (!pairs.of(d).empty()) matcher.match(*task.detections[d], pairs.of(d), outcomes[d]);
    }
  }
}

// What the lvis package never looks at: records without area. NaN fails the comparison, too.
bool has_area(double area) { return area > 0 && std::isfinite(area); }

bool contains(const std::vector<int64_t>& sorted, int64_t id) {
  return std::ranges::binary_search(sorted, id);
}

}  // namespace

ImageMatcher::ImageMatcher(const dataset::CocoDataset& ground_truth, const MatchOptions& options)
    : ground_truth_(ground_truth), options_(options), finder_(ground_truth) {}

void ImageMatcher::set_image(size_t image_index,
                             std::span<const Candidate> candidates,
                             const LvisImage* lvis) {
  image_index_ = image_index;
  lvis_ = lvis;
  order_detections(candidates);
  order_truths();
}

void ImageMatcher::order_detections(std::span<const Candidate> candidates) {
  detections_.clear();
  for (const Candidate& each : candidates) {
    if (lvis_ == nullptr || has_area(each.area)) detections_.push_back(&each);
  }
  // Of equal scores the one of the lower category goes first, then the one that came first.
  std::ranges::sort(detections_, [&](const Candidate* a, const Candidate* b) {
    if (options_.use_categories && a->category != b->category) return a->category < b->category;
    if (higher(a->score, b->score)) return true;
    if (higher(b->score, a->score)) return false;
    return a->category != b->category ? a->category < b->category : a < b;
  });
}

void ImageMatcher::order_truths() {
  truths_.clear();
  const std::span<const Annotation> annotations = ground_truth_.annotations_of(image_index_);
  for (size_t i = 0; i < annotations.size(); ++i) {
    const Annotation& each = annotations[i];
    const auto label = ground_truth_.label_of(each.category_id);
    if (!label) continue;
    const auto category = static_cast<uint32_t>(*label - 1);
    if (lvis_ == nullptr) {
      truths_.push_back({category, {&each, each.crowd, each.crowd}});
    } else if (has_area(each.area)) {
      truths_.push_back({category, {&each, false, lvis_->ignores(i)}});
    }
  }
  std::ranges::sort(truths_, [](const RankedTruth& a, const RankedTruth& b) {
    return a.category != b.category ? a.category < b.category
                                    : a.truth.annotation < b.truth.annotation;
  });
}

ImageOutcome ImageMatcher::match(IouKind kind) {
  ImageOutcome result;
  result.outcomes.reserve(detections_.size());
  auto detection = detections_.begin();
  auto truth = truths_.begin();
  while (detection != detections_.end() || truth != truths_.end()) {
    uint32_t category = 0;
    if (options_.use_categories) {
      category = detection == detections_.end() ? truth->category : (*detection)->category;
      if (truth != truths_.end()) category = std::min(category, truth->category);
    }
    const auto joins = [&](uint32_t other) {
      return !options_.use_categories || other == category;
    };
    const auto first = detection;
    while (detection != detections_.end() && joins((*detection)->category)) ++detection;
    group_truths_.clear();
    for (; truth != truths_.end() && joins(truth->category); ++truth) {
      group_truths_.push_back(truth->truth);
    }
    bool forgiving = false;
    if (lvis_ != nullptr) {
      const int64_t id = ground_truth_.categories()[category].id;
      if (group_truths_.empty() && !contains(lvis_->negative_categories, id)) continue;
      forgiving = contains(lvis_->not_exhaustive_categories, id);
    }
    const auto count = std::min(static_cast<size_t>(detection - first), options_.max_detections);
    const Task task{std::span<const Candidate* const>(first, count), group_truths_, forgiving};
    match_task(kind, category, task, result);
  }
  return result;
}

void ImageMatcher::match_task(IouKind kind,
                              uint32_t category,
                              const Task& task,
                              ImageOutcome& result) {
  const size_t begin = result.outcomes.size();
  for (const Candidate* each : task.detections) result.outcomes.push_back({each->score, {}, {}});
  Group group{
      category, static_cast<uint32_t>(begin), static_cast<uint32_t>(task.detections.size()), {}};
  match_group(task,
              finder_.find(kind, ground_truth_.images()[image_index_], task),
              options_.strict_pycocotools,
              group,
              std::span(result.outcomes).subspan(begin));
  result.groups.push_back(group);
}

void add_candidate(const dataset::CocoDataset& ground_truth,
                   const Detection& detection,
                   std::vector<Candidate>& candidates) {
  const auto label = ground_truth.label_of(detection.category_id);
  if (!label) return;
  candidates.push_back({.category = static_cast<uint32_t>(*label - 1),
                        .score = detection.score,
                        .box = detection.box,
                        .area = detection.area,
                        .mask = detection.mask.counts.empty() ? nullptr : &detection.mask});
}

void add_candidate(const ResultRecord& record, std::vector<Candidate>& candidates) {
  if (record.category == ResultRecord::kNoCategory) return;
  candidates.push_back({.category = record.category,
                        .score = record.score,
                        .box = record.box,
                        .area = record.area,
                        .record = record.has_mask ? &record : nullptr});
}

std::vector<Candidate> to_candidates(const dataset::CocoDataset& ground_truth,
                                     std::span<const Detection> detections) {
  std::vector<Candidate> candidates;
  candidates.reserve(detections.size());
  for (const Detection& each : detections) add_candidate(ground_truth, each, candidates);
  return candidates;
}

ImageOutcome match_image(const dataset::CocoDataset& ground_truth,
                         size_t image_index,
                         std::span<const Detection> detections,
                         const MatchOptions& options,
                         const LvisImage* lvis) {
  const std::vector<Candidate> candidates = to_candidates(ground_truth, detections);
  ImageMatcher matcher(ground_truth, options);
  matcher.set_image(image_index, candidates, lvis);
  return matcher.match(options.kind);
}

}  // namespace atl::eval::internal
