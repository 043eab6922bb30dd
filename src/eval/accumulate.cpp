// pycocotools' accumulate.
//
// Indices: t of T 10 thresholds, r of R 101 recalls, k of K categories, a of A 4 areas, m of M
// maxima.
//
// Detections are put in order once for each category: a stable sort by falling score of all images'
// detections, images in order. The order for a smaller maximum is the same one with the detections
// of higher rank left out, because equal scores stay in order of image and rank either way.
#include "eval/accumulate.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

namespace atl::eval::internal {
namespace {

constexpr double kEpsilon = 0x1p-52;  // np.spacing(1)

struct Entry {
  const Outcome* outcome;
  uint32_t rank;  // by score, within image and category
};

struct Place {
  uint32_t image;
  uint32_t group;
};

// One category. Each writes its own places of the result, so categories may run side by side.
class Category {
 public:
  Category(Curves& curves, size_t k, const CurveIndex& index)
      : curves_(curves), k_(k), index_(index) {}

  void read(std::span<const ImageOutcome> images, std::span<const Place> places) {
    for (const Place& place : places) {
      const ImageOutcome& image = images[place.image];
      const Group& group = image.groups[place.group];
      for (uint32_t rank = 0; rank < group.count; ++rank) {
        entries_.push_back({&image.outcomes[group.begin + rank], rank});
      }
      for (size_t a = 0; a < kAreaCount; ++a) truths_[a] += group.truths[a];
    }
    std::ranges::stable_sort(entries_, [](const Entry& x, const Entry& y) {
      const double left = x.outcome->score;
      const double right = y.outcome->score;
      return left > right || (std::isnan(right) && !std::isnan(left));
    });
  }

  void sum_up(size_t m, int max_detections) {
    chosen_.clear();
    for (const Entry& entry : entries_) {
      if (entry.rank < static_cast<uint32_t>(max_detections)) chosen_.push_back(entry.outcome);
    }
    for (size_t a = 0; a < kAreaCount; ++a) {
      if (truths_[a] == 0) continue;  // stays -1
      for (size_t t = 0; t < kThresholdCount; ++t) curve(t, a, m);
    }
  }

  // Of what the last sum_up chose, at the lowest IoU threshold and area all. A threshold on the
  // score cannot part detections of one score, so only the last of them is a candidate.
  std::optional<OperatingPoint> best_f1() const {
    std::optional<OperatingPoint> best;
    const auto truths = static_cast<double>(truths_[0]);
    double hits = 0;
    double kept = 0;
    for (size_t i = 0; i < chosen_.size() && !std::isnan(chosen_[i]->score); ++i) {
      const Outcome& outcome = *chosen_[i];
      if ((outcome.ignored[0] & 1) == 0) {
        kept += 1;
        hits += outcome.matched[0] & 1;
      }
      if (hits == 0) continue;
      if (i + 1 < chosen_.size() && chosen_[i + 1]->score == outcome.score) continue;
      const double f1 = 2 * hits / (kept + truths);
      if (!best || f1 > best->f1) best = {outcome.score, hits / kept, hits / truths, f1};
    }
    return best;
  }

 private:
  void curve(size_t t, size_t a, size_t m) {
    const size_t count = chosen_.size();
    recalls_.resize(count);
    precisions_.resize(count);
    const auto truths = static_cast<double>(truths_[a]);
    double hits = 0;
    double misses = 0;
    for (size_t i = 0; i < count; ++i) {
      if ((chosen_[i]->ignored[a] >> t & 1) == 0) {
        ((chosen_[i]->matched[a] >> t & 1) != 0 ? hits : misses) += 1;
      }
      recalls_[i] = hits / truths;
      precisions_[i] = hits / (misses + hits + kEpsilon);
    }
    for (size_t i = count; i-- > 1;) {
      precisions_[i - 1] = std::max(precisions_[i - 1], precisions_[i]);
    }
    curves_.recall[index_.recall(t, k_, a, m)] = count > 0 ? recalls_.back() : 0;
    size_t i = 0;
    for (size_t r = 0; r < kRecallCount; ++r) {
      while (i < count && recalls_[i] < recall_threshold(r)) ++i;
      const size_t index = index_.precision(t, r, k_, a, m);
      curves_.precision[index] = i < count ? precisions_[i] : 0;
      curves_.scores[index] = i < count ? chosen_[i]->score : 0;
    }
  }

  Curves& curves_;
  size_t k_;
  CurveIndex index_;
  std::vector<Entry> entries_;
  std::array<uint64_t, kAreaCount> truths_ = {};
  std::vector<const Outcome*> chosen_;
  std::vector<double> recalls_;
  std::vector<double> precisions_;
};

// Where each category's groups are, in order of the images.
std::vector<std::vector<Place>> places_by_category(std::span<const ImageOutcome> images,
                                                   size_t category_count) {
  std::vector<std::vector<Place>> places(category_count);
  for (size_t image = 0; image < images.size(); ++image) {
    for (size_t group = 0; group < images[image].groups.size(); ++group) {
      places[images[image].groups[group].category].push_back(
          {static_cast<uint32_t>(image), static_cast<uint32_t>(group)});
    }
  }
  return places;
}

}  // namespace

Curves accumulate(std::span<const ImageOutcome> images,
                  size_t category_count,
                  std::span<const int> max_detections,
                  int threads) {
  const CurveIndex index{category_count, max_detections.size()};
  Curves curves;
  const size_t recall_size = kThresholdCount * category_count * kAreaCount * max_detections.size();
  curves.recall.assign(recall_size, -1);
  curves.precision.assign(recall_size * kRecallCount, -1);
  curves.scores.assign(recall_size * kRecallCount, -1);
  curves.best_f1.resize(category_count);
  curves.category_ap.resize(category_count);
  const auto places = places_by_category(images, category_count);
  parallel_for(category_count, threads, 1, [&](size_t begin, size_t end) {
    for (size_t k = begin; k < end; ++k) {
      Category category(curves, k, index);
      category.read(images, places[k]);
      for (size_t m = 0; m < max_detections.size(); ++m) category.sum_up(m, max_detections[m]);
      curves.best_f1[k] = category.best_f1();
      curves.category_ap[k] = category_ap(curves, k, index);
    }
  });
  return curves;
}

}  // namespace atl::eval::internal
