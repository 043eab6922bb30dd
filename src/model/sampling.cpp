#include "model/sampling.h"

#include <algorithm>
#include <utility>

#include "base/keyed_random.h"

namespace atl::model {
namespace {

// Keeps the `count` candidates with the smallest hashes: a heap with the largest of them on top, so
// that 250,000 negatives cost a comparison each.
class Lottery {
 public:
  Lottery(size_t count, uint64_t prefix) : count_(count), prefix_(prefix) { drawn_.reserve(count); }
  void enter(int64_t index) {
    if (count_ == 0) return;
    const std::pair<uint64_t, int64_t> ticket{mix64(prefix_ ^ static_cast<uint64_t>(index)), index};
    if (drawn_.size() < count_) {
      drawn_.push_back(ticket);
      std::push_heap(drawn_.begin(), drawn_.end());
    } else if (ticket < drawn_.front()) {
      std::pop_heap(drawn_.begin(), drawn_.end());
      drawn_.back() = ticket;
      std::push_heap(drawn_.begin(), drawn_.end());
    }
  }
  std::vector<int64_t> winners() const {
    std::vector<int64_t> indices;
    indices.reserve(drawn_.size());
    for (const auto& ticket : drawn_) indices.push_back(ticket.second);
    std::sort(indices.begin(), indices.end());
    return indices;
  }

 private:
  size_t count_;
  uint64_t prefix_;
  std::vector<std::pair<uint64_t, int64_t>> drawn_;
};

}  // namespace

Sample sample_balanced(std::span<const int64_t> labels,
                       int64_t count,
                       double positive_fraction,
                       SamplingKey key,
                       int64_t image_id,
                       SamplingPurpose purpose) {
  const uint64_t prefix = hash_key(
      {key.seed, key.step, static_cast<uint64_t>(image_id), static_cast<uint64_t>(purpose)});
  const auto most = static_cast<int64_t>(static_cast<double>(count) * positive_fraction);
  Lottery positives(static_cast<size_t>(most), prefix);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] > 0) positives.enter(static_cast<int64_t>(i));
  }
  Sample sample{positives.winners(), {}};
  Lottery negatives(static_cast<size_t>(count) - sample.positives.size(), prefix);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == 0) negatives.enter(static_cast<int64_t>(i));
  }
  sample.negatives = negatives.winners();
  return sample;
}

}  // namespace atl::model
