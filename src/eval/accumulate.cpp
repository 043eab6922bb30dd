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
#include <bit>
#include <cmath>
#include <numeric>

#include "base/parallel.h"

namespace atl::eval::internal {
namespace {

constexpr double kEpsilon = 0x1p-52;  // np.spacing(1)

struct Place {
  uint32_t image;
  uint32_t group;
};

// One detection in the order of a category. Its outcome is a copy: the originals lie all over the
// memory, and are looked at a dozen times.
struct Entry {
  Outcome outcome;
  uint32_t rank;  // by score, within image and category
};

// A detection that took a ground truth: how many had counted as misses before it, and which one it
// is of the chosen.
struct Hit {
  uint32_t misses;
  uint32_t index;
};

// What numpy's order of -score goes by, as an unsigned number: smaller is earlier, 0 and -0 are one,
// NaN is last.
uint64_t falling(double score) {
  if (std::isnan(score)) return ~uint64_t{0};
  const auto bits = std::bit_cast<uint64_t>(score + 0.0);
  return bits >> 63 != 0 ? bits : ~bits & ~(uint64_t{1} << 63);
}

struct Key {
  uint64_t falling_score;
  uint32_t rank;
  const Outcome* outcome;
};

// Stable. A radix sort, least significant digit first; scores that come from float32s leave half of
// the digits alike, which costs nothing.
void sort_by_falling_score(std::vector<Key>& keys) {
  constexpr size_t kDigitBits = 11;
  constexpr size_t kValues = size_t{1} << kDigitBits;
  constexpr size_t kDigits = (64 + kDigitBits - 1) / kDigitBits;
  // Below this a comparison sort is as fast.
  constexpr size_t kWorthwhile = 512;
  if (keys.size() < kWorthwhile) {
    std::ranges::stable_sort(keys, {}, &Key::falling_score);
    return;
  }
  const auto digit_of = [](const Key& key, size_t digit) {
    return key.falling_score >> (digit * kDigitBits) & (kValues - 1);
  };
  std::vector<std::array<uint32_t, kValues>> counts(kDigits);
  for (const Key& key : keys) {
    for (size_t digit = 0; digit < kDigits; ++digit) ++counts[digit][digit_of(key, digit)];
  }
  std::vector<Key> sorted(keys.size());
  for (size_t digit = 0; digit < kDigits; ++digit) {
    auto& places = counts[digit];
    if (places[digit_of(keys[0], digit)] == keys.size()) continue;
    std::exclusive_scan(places.begin(), places.end(), places.begin(), uint32_t{0});
    for (const Key& key : keys) sorted[places[digit_of(key, digit)]++] = key;
    keys.swap(sorted);
  }
}

// One category. Each writes its own places of the result, so categories may run side by side.
//
// Precision and recall are wanted at the hits only: recall rises nowhere else, and precision falls
// everywhere else.
class Category {
 public:
  Category(Curves& curves, size_t k, const CurveIndex& index)
      : curves_(curves),
        k_(k),
        index_(index),
        precision_(own_index(kThresholdCount, 0, 0, 0), -1),
        scores_(precision_) {}

  void read(std::span<const ImageOutcome> images, std::span<const Place> places) {
    std::vector<Key> keys;
    for (const Place& place : places) {
      const ImageOutcome& image = images[place.image];
      const Group& group = image.groups[place.group];
      for (uint32_t rank = 0; rank < group.count; ++rank) {
        const Outcome& outcome = image.outcomes[group.begin + rank];
        keys.push_back({falling(outcome.score), rank, &outcome});
      }
      for (size_t a = 0; a < kAreaCount; ++a) truths_[a] += group.truths[a];
    }
    sort_by_falling_score(keys);
    entries_.reserve(keys.size());
    for (const Key& key : keys) entries_.push_back({*key.outcome, key.rank});
  }

  void sum_up(size_t m, int max_detections) {
    chosen_.clear();
    for (const Entry& entry : entries_) {
      if (entry.rank < static_cast<uint32_t>(max_detections)) chosen_.push_back(&entry.outcome);
    }
    for (size_t a = 0; a < kAreaCount; ++a) {
      if (truths_[a] == 0) continue;  // stays -1
      find_hits(a);
      for (size_t t = 0; t < kThresholdCount; ++t) curve(t, a, m);
    }
  }

  // Into the result, once all maxima are summed up. The curves are drawn in arrays of the
  // category's own, because neighbours along a curve lie pages apart in the result.
  void write() const {
    const size_t row = kAreaCount * index_.maxima_count;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) {
        const auto from = static_cast<ptrdiff_t>(own_index(t, r, 0, 0));
        const auto to = static_cast<ptrdiff_t>(index_.precision(t, r, k_, 0, 0));
        std::copy_n(precision_.begin() + from, row, curves_.precision.begin() + to);
        std::copy_n(scores_.begin() + from, row, curves_.scores.begin() + to);
      }
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
  size_t own_index(size_t t, size_t r, size_t a, size_t m) const {
    return ((t * kRecallCount + r) * kAreaCount + a) * index_.maxima_count + m;
  }

  // The chosen ones' hits at each threshold.
  void find_hits(size_t a) {
    constexpr unsigned kAll = (1U << kThresholdCount) - 1;
    for (auto& hits : hits_) hits.clear();
    // Nearly all detections take nothing at any threshold. They are counted once for all.
    uint32_t misses_of_all = 0;
    std::array<uint32_t, kThresholdCount> misses = {};
    for (uint32_t i = 0; i < chosen_.size(); ++i) {
      const unsigned counted = ~unsigned{chosen_[i]->ignored[a]} & kAll;
      const unsigned hit = chosen_[i]->matched[a] & counted;
      const unsigned miss = counted & ~hit;
      if (miss == kAll) {
        ++misses_of_all;
        continue;
      }
      for (unsigned bits = miss; bits != 0; bits &= bits - 1) ++misses[std::countr_zero(bits)];
      for (unsigned bits = hit; bits != 0; bits &= bits - 1) {
        const auto t = static_cast<size_t>(std::countr_zero(bits));
        hits_[t].push_back({misses_of_all + misses[t], i});
      }
    }
  }

  void curve(size_t t, size_t a, size_t m) {
    const std::vector<Hit>& hits = hits_[t];
    const auto truths = static_cast<double>(truths_[a]);
    const auto recall_after = [&](size_t hit_count) {
      return static_cast<double>(hit_count) / truths;
    };
    precisions_.resize(hits.size());
    double best = 0;
    for (size_t i = hits.size(); i-- > 0;) {
      const auto hit_count = static_cast<double>(i + 1);
      best = std::max(best, hit_count / (hits[i].misses + hit_count + kEpsilon));
      precisions_[i] = best;
    }
    curves_.recall[index_.recall(t, k_, a, m)] = recall_after(hits.size());
    size_t hit = 0;
    for (size_t r = 0; r < kRecallCount; ++r) {
      while (hit < hits.size() && recall_after(hit + 1) < recall_threshold(r)) ++hit;
      const size_t index = own_index(t, r, a, m);
      precision_[index] = hit < hits.size() ? precisions_[hit] : 0;
      scores_[index] = hit < hits.size() ? chosen_[hits[hit].index]->score : 0;
    }
    // No recall at all is reached by the first detection, whatever it took.
    if (!chosen_.empty()) scores_[own_index(t, 0, a, m)] = chosen_[0]->score;
  }

  Curves& curves_;
  size_t k_;
  CurveIndex index_;
  std::vector<double> precision_;  // (T, R, A, M)
  std::vector<double> scores_;
  std::vector<Entry> entries_;
  std::array<uint64_t, kAreaCount> truths_ = {};
  std::vector<const Outcome*> chosen_;
  std::array<std::vector<Hit>, kThresholdCount> hits_;  // of the area that find_hits looked at
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
      category.write();
      curves.best_f1[k] = category.best_f1();
      curves.category_ap[k] = category_ap(curves, k, index);
    }
  });
  return curves;
}

}  // namespace atl::eval::internal
