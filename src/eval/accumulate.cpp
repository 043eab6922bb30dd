// pycocotools' accumulate and the numbers of its summarize.
//
// Indices: t of T 10 thresholds, r of R 101 recalls, k of K categories, a of A 4 areas, m of M 3
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

size_t precision_index(size_t t, size_t r, size_t k, size_t a, size_t m, size_t category_count) {
  return (((t * kRecallCount + r) * category_count + k) * kAreaCount + a) * kMaximaCount + m;
}
size_t recall_index(size_t t, size_t k, size_t a, size_t m, size_t category_count) {
  return ((t * category_count + k) * kAreaCount + a) * kMaximaCount + m;
}

// One category. Each writes its own places of the result, so categories may run side by side.
class Category {
 public:
  Category(KindResult& result, size_t k, size_t category_count)
      : result_(result), k_(k), category_count_(category_count) {}

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
    result_.recall[recall_index(t, k_, a, m, category_count_)] = count > 0 ? recalls_.back() : 0;
    size_t i = 0;
    for (size_t r = 0; r < kRecallCount; ++r) {
      while (i < count && recalls_[i] < recall_threshold(r)) ++i;
      const size_t index = precision_index(t, r, k_, a, m, category_count_);
      result_.precision[index] = i < count ? precisions_[i] : 0;
      result_.scores[index] = i < count ? chosen_[i]->score : 0;
    }
  }

  KindResult& result_;
  size_t k_;
  size_t category_count_;
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

// The means of summarize().
class Summary {
 public:
  Summary(const KindResult& result,
          size_t category_count,
          const std::array<int, kMaximaCount>& max_detections)
      : result_(result), category_count_(category_count), max_detections_(max_detections) {}

  // Over thresholds [first, last), all recalls and categories, in that order, which sets the last
  // bit. As in pycocotools every m of this maximum is taken: several where it stands there twice,
  // or none.
  double precision(size_t first, size_t last, size_t a, int maximum) const {
    std::vector<double> values;
    for (size_t t = first; t < last; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) {
        for (size_t k = 0; k < category_count_; ++k) {
          for (size_t m = 0; m < kMaximaCount; ++m) {
            if (max_detections_[m] != maximum) continue;
            values.push_back(result_.precision[precision_index(t, r, k, a, m, category_count_)]);
          }
        }
      }
    }
    return mean_of_present(values);
  }

  double recall(size_t a, int maximum) const {
    std::vector<double> values;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t k = 0; k < category_count_; ++k) {
        for (size_t m = 0; m < kMaximaCount; ++m) {
          if (max_detections_[m] != maximum) continue;
          values.push_back(result_.recall[recall_index(t, k, a, m, category_count_)]);
        }
      }
    }
    return mean_of_present(values);
  }

  double category(size_t k) const {
    std::vector<double> values;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) {
        values.push_back(result_.precision[precision_index(t, r, k, 0, 2, category_count_)]);
      }
    }
    return mean_of_present(values);
  }

  std::array<double, 12> stats() const {
    // pycocotools writes this 100 into its first line, whatever the maxima are.
    constexpr int kApMaximum = 100;
    const auto [few, some, many] = max_detections_;
    const size_t t75 = 5;
    return {precision(0, kThresholdCount, 0, kApMaximum),
            precision(0, 1, 0, many),
            precision(t75, t75 + 1, 0, many),
            precision(0, kThresholdCount, 1, many),
            precision(0, kThresholdCount, 2, many),
            precision(0, kThresholdCount, 3, many),
            recall(0, few),
            recall(0, some),
            recall(0, many),
            recall(1, many),
            recall(2, many),
            recall(3, many)};
  }

 private:
  const KindResult& result_;
  size_t category_count_;
  std::array<int, kMaximaCount> max_detections_;
};

}  // namespace

double numpy_sum(std::span<const double> values) {
  constexpr size_t kLanes = 8;
  constexpr size_t kBlock = 128;
  const size_t count = values.size();
  if (count < kLanes) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum;
  }
  if (count > kBlock) {
    const size_t half = count / 2 - count / 2 % kLanes;
    return numpy_sum(values.first(half)) + numpy_sum(values.subspan(half));
  }
  std::array<double, kLanes> lanes;
  std::copy_n(values.begin(), kLanes, lanes.begin());
  size_t i = kLanes;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane];
  }
  double sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
               ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  for (; i < count; ++i) sum += values[i];
  return sum;
}

double mean_of_present(std::span<const double> values) {
  std::vector<double> present;
  present.reserve(values.size());
  std::ranges::copy_if(values, std::back_inserter(present), [](double v) { return v > -1; });
  if (present.empty()) return -1;
  return numpy_sum(present) / static_cast<double>(present.size());
}

KindResult accumulate(std::span<const ImageOutcome> images,
                      size_t category_count,
                      const std::array<int, kMaximaCount>& max_detections,
                      int threads) {
  KindResult result;
  const size_t recall_size = kThresholdCount * category_count * kAreaCount * kMaximaCount;
  result.recall.assign(recall_size, -1);
  result.precision.assign(recall_size * kRecallCount, -1);
  result.scores.assign(recall_size * kRecallCount, -1);
  const auto places = places_by_category(images, category_count);
  parallel_for(category_count, threads, 1, [&](size_t begin, size_t end) {
    for (size_t k = begin; k < end; ++k) {
      Category category(result, k, category_count);
      category.read(images, places[k]);
      for (size_t m = 0; m < kMaximaCount; ++m) category.sum_up(m, max_detections[m]);
    }
  });
  const Summary summary(result, category_count, max_detections);
  result.stats = summary.stats();
  for (size_t k = 0; k < category_count; ++k) result.category_ap.push_back(summary.category(k));
  return result;
}

}  // namespace atl::eval::internal
