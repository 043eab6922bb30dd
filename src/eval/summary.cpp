// The single numbers: means over the arrays, as summarize() of pycocotools and of the lvis package
// takes them. The order of the values in a mean sets its last bit.
#include <algorithm>

#include "eval/accumulate.h"

namespace atl::eval::internal {
namespace {

constexpr size_t kIou75 = 5;
static_assert(kIouThresholds[kIou75] == 0.75);

// pycocotools' means.
class Summary {
 public:
  Summary(const Curves& curves, size_t category_count, const std::array<int, 3>& max_detections)
      : curves_(curves),
        index_{category_count, max_detections.size()},
        max_detections_(max_detections) {}

  // Over thresholds [first, last), all recalls and categories. As in pycocotools every m of this
  // maximum is taken: several where it stands there twice, or none.
  double precision(size_t first, size_t last, size_t a, int maximum) const {
    std::vector<double> values;
    for (size_t t = first; t < last; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) {
        for (size_t k = 0; k < index_.category_count; ++k) {
          for (size_t m = 0; m < index_.maxima_count; ++m) {
            if (max_detections_[m] != maximum) continue;
            values.push_back(curves_.precision[index_.precision(t, r, k, a, m)]);
          }
        }
      }
    }
    return mean_of_present(values);
  }

  double recall(size_t a, int maximum) const {
    std::vector<double> values;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t k = 0; k < index_.category_count; ++k) {
        for (size_t m = 0; m < index_.maxima_count; ++m) {
          if (max_detections_[m] != maximum) continue;
          values.push_back(curves_.recall[index_.recall(t, k, a, m)]);
        }
      }
    }
    return mean_of_present(values);
  }

 private:
  const Curves& curves_;
  CurveIndex index_;
  std::array<int, 3> max_detections_;
};

// The lvis package's means.
class LvisSummary {
 public:
  LvisSummary(const Curves& curves, std::span<const Frequency> frequency)
      : curves_(curves), index_{frequency.size(), 1}, frequency_(frequency) {}

  double precision(size_t first,
                   size_t last,
                   size_t a,
                   std::optional<Frequency> frequency = std::nullopt) const {
    std::vector<double> values;
    for (size_t t = first; t < last; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) {
        for (size_t k = 0; k < index_.category_count; ++k) {
          if (frequency && frequency_[k] != *frequency) continue;
          values.push_back(curves_.precision[index_.precision(t, r, k, a, 0)]);
        }
      }
    }
    return mean_of_present(values);
  }

  double recall(size_t a) const {
    std::vector<double> values;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t k = 0; k < index_.category_count; ++k) {
        values.push_back(curves_.recall[index_.recall(t, k, a, 0)]);
      }
    }
    return mean_of_present(values);
  }

 private:
  const Curves& curves_;
  CurveIndex index_;
  std::span<const Frequency> frequency_;
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

double category_ap(const Curves& curves, size_t k, const CurveIndex& index) {
  std::vector<double> values;
  for (size_t t = 0; t < kThresholdCount; ++t) {
    for (size_t r = 0; r < kRecallCount; ++r) {
      values.push_back(curves.precision[index.precision(t, r, k, 0, index.maxima_count - 1)]);
    }
  }
  return mean_of_present(values);
}

std::array<double, 12> coco_stats(const Curves& curves,
                                  size_t category_count,
                                  const std::array<int, 3>& max_detections) {
  const Summary summary(curves, category_count, max_detections);
  // pycocotools writes this 100 into its first line, whatever the maxima are.
  constexpr int kApMaximum = 100;
  const auto [few, some, many] = max_detections;
  return {summary.precision(0, kThresholdCount, 0, kApMaximum),
          summary.precision(0, 1, 0, many),
          summary.precision(kIou75, kIou75 + 1, 0, many),
          summary.precision(0, kThresholdCount, 1, many),
          summary.precision(0, kThresholdCount, 2, many),
          summary.precision(0, kThresholdCount, 3, many),
          summary.recall(0, few),
          summary.recall(0, some),
          summary.recall(0, many),
          summary.recall(1, many),
          summary.recall(2, many),
          summary.recall(3, many)};
}

std::array<double, 13> lvis_stats(const Curves& curves,
                                  std::span<const Frequency> category_frequency) {
  const LvisSummary summary(curves, category_frequency);
  return {summary.precision(0, kThresholdCount, 0),
          summary.precision(0, 1, 0),
          summary.precision(kIou75, kIou75 + 1, 0),
          summary.precision(0, kThresholdCount, 1),
          summary.precision(0, kThresholdCount, 2),
          summary.precision(0, kThresholdCount, 3),
          summary.precision(0, kThresholdCount, 0, Frequency::kRare),
          summary.precision(0, kThresholdCount, 0, Frequency::kCommon),
          summary.precision(0, kThresholdCount, 0, Frequency::kFrequent),
          summary.recall(0),
          summary.recall(1),
          summary.recall(2),
          summary.recall(3)};
}

}  // namespace atl::eval::internal
