// An epoch's order: each group's draws are sorted by a hash of (seed, epoch, position), padded and
// cut into batches; then the batches are sorted by a hash of their number, so that landscape and
// portrait mix.
//
// Repeat factors are fractional, an epoch's draws are not. If each image's fraction were rounded
// by a coin of its own, epochs would have different lengths, and the epoch of a step would depend
// on all epochs before it. So the fractions are rounded together, by systematic sampling: lay them
// end to end on a line, in an order that is new each epoch, and draw those that cover one of the
// points u, u + 1, u + 2, … with u uniform in [0, 1). An image is drawn with a probability of
// exactly its fraction, and the number of draws is their sum rounded up or down; where it is down,
// one more image of padding comes in. The line is measured in whole units of 2^-32, so that no
// rounding decides.
#include "dataset/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

// What a key is for; unlike any other purpose's number.
constexpr uint64_t kImageOrder = 0x73616d706c65'0001;  // "sample"
constexpr uint64_t kBatchOrder = 0x73616d706c65'0002;
constexpr uint64_t kRoundingOrder = 0x73616d706c65'0003;
constexpr uint64_t kRoundingStart = 0x73616d706c65'0004;

constexpr uint64_t kOne = uint64_t{1} << 32;  // of a repeat factor
constexpr double kMaxRepeats = 1e6;           // sums stay far below 2^64

// Sorts by a hash of each element's key; equal hashes keep the order.
template <typename T, typename Hash>
void shuffle(std::vector<T>& elements, Hash hash) {
  std::vector<std::pair<uint64_t, size_t>> keyed;
  keyed.reserve(elements.size());
  for (size_t i = 0; i < elements.size(); ++i) keyed.emplace_back(hash(elements[i]), i);
  std::sort(keyed.begin(), keyed.end());
  std::vector<T> shuffled;
  shuffled.reserve(elements.size());
  for (const auto& entry : keyed) shuffled.push_back(elements[entry.second]);
  elements = std::move(shuffled);
}

// The categories of an image's objects, each once.
std::vector<int64_t> categories_in(const CocoDataset& dataset, int64_t image) {
  std::vector<int64_t> labels;
  for (const Annotation& annotation : dataset.annotations_of(static_cast<size_t>(image))) {
    const auto label = dataset.label_of(annotation.category_id);
    ATOLL_CHECK(label.has_value()) << "category " << annotation.category_id;
    if (!annotation.crowd) labels.push_back(*label);
  }
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return labels;
}

}  // namespace

std::vector<double> repeat_factors(const CocoDataset& dataset,
                                   std::span<const int64_t> images,
                                   double threshold) {
  std::vector<int64_t> images_with(dataset.categories().size() + 1);  // by label
  for (const int64_t image : images) {
    for (const int64_t label : categories_in(dataset, image)) {
      ++images_with[static_cast<size_t>(label)];
    }
  }
  std::vector<double> factors;
  factors.reserve(images.size());
  for (const int64_t image : images) {
    double factor = 1;
    for (const int64_t label : categories_in(dataset, image)) {
      const double frequency = static_cast<double>(images_with[static_cast<size_t>(label)]) /
                               static_cast<double>(images.size());
      factor = std::max(factor, std::sqrt(threshold / frequency));
    }
    factors.push_back(factor);
  }
  return factors;
}

BatchShare share_of_batch(int64_t batch_size, int rank, int world_size) {
  ATOLL_CHECK(batch_size >= 0 && world_size > 0 && rank >= 0 && rank < world_size)
      << "rank " << rank << " of " << world_size << ", a batch of " << batch_size;
  return {batch_size * rank / world_size, batch_size * (rank + 1) / world_size};
}

Sampler::Sampler(std::vector<ImageSize> sizes,
                 SamplerOptions options,
                 std::span<const double> repeats)
    : options_(options) {
  ATOLL_CHECK(!sizes.empty() && options_.global_batch > 0)
      << sizes.size() << " images, batches of " << options_.global_batch;
  ATOLL_CHECK(repeats.empty() || repeats.size() == sizes.size())
      << repeats.size() << " repeat factors for " << sizes.size() << " images";
  for (const double factor : repeats) {
    ATOLL_CHECK(factor >= 1 && factor <= kMaxRepeats) << "a repeat factor of " << factor;
    repeats_.push_back(static_cast<uint64_t>(std::llround(factor * static_cast<double>(kOne))));
  }
  Group landscape;
  Group portrait;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool tall = options_.group_by_aspect && sizes[i].height > sizes[i].width;
    (tall ? portrait : landscape).positions.push_back(static_cast<int64_t>(i));
  }
  for (Group* group : {&landscape, &portrait}) {
    if (group->positions.empty()) continue;
    const int64_t draws = draws_of(*group);
    group->batches = (draws + options_.global_batch - 1) / options_.global_batch;
    batches_per_epoch_ += group->batches;
    padding_per_epoch_ += group->batches * options_.global_batch - draws;
    groups_.push_back(std::move(*group));
  }
}

uint64_t Sampler::repeats_of(int64_t position) const {
  return repeats_.empty() ? kOne : repeats_[static_cast<size_t>(position)];
}

// The sum of the factors, rounded up.
int64_t Sampler::draws_of(const Group& group) const {
  uint64_t sum = 0;
  for (const int64_t position : group.positions) sum += repeats_of(position);
  return static_cast<int64_t>((sum + kOne - 1) / kOne);
}

// In increasing order of position and repetition.
std::vector<Sampler::Draw> Sampler::draws(const Group& group, int64_t epoch) const {
  const auto key = static_cast<uint64_t>(epoch);
  std::vector<int64_t> line = group.positions;
  if (!repeats_.empty()) {
    shuffle(line, [&](int64_t position) {
      return hash_key({options_.seed, key, static_cast<uint64_t>(position), kRoundingOrder});
    });
  }
  const uint64_t start = hash_key({options_.seed, key, kRoundingStart}) % kOne;
  std::vector<Draw> draws;
  uint64_t end_before = 0;  // on the line of the fractions
  for (const int64_t position : line) {
    const uint64_t repeats = repeats_of(position);
    const uint64_t end = end_before + repeats % kOne;
    // Points start + k * kOne in [end_before, end).
    const auto points_before = [&](uint64_t at) { return (at + kOne - 1 - start) / kOne; };
    const uint64_t times = repeats / kOne + points_before(end) - points_before(end_before);
    for (uint64_t repetition = 0; repetition < times; ++repetition) {
      draws.push_back({position, repetition});
    }
    end_before = end;
  }
  std::sort(draws.begin(), draws.end(), [](const Draw& a, const Draw& b) {
    return std::pair(a.position, a.repetition) < std::pair(b.position, b.repetition);
  });
  return draws;
}

void Sampler::make_epoch(int64_t epoch) {
  const auto epoch_key = static_cast<uint64_t>(epoch);
  std::vector<int64_t> images;
  for (const Group& group : groups_) {
    std::vector<Draw> draws = this->draws(group, epoch);
    if (options_.shuffle) {
      shuffle(draws, [&](const Draw& draw) {
        const auto position = static_cast<uint64_t>(draw.position);
        const uint64_t hash = hash_key({options_.seed, epoch_key, position, kImageOrder});
        return draw.repetition == 0 ? hash : hash_key({hash, draw.repetition});
      });
    }
    const int64_t filled = group.batches * options_.global_batch;
    for (int64_t i = 0; i < filled; ++i) {
      images.push_back(draws[static_cast<size_t>(i) % draws.size()].position);
    }
  }
  std::vector<int64_t> batches(static_cast<size_t>(batches_per_epoch_));
  for (size_t i = 0; i < batches.size(); ++i) batches[i] = static_cast<int64_t>(i);
  if (options_.shuffle) {
    shuffle(batches, [&](int64_t batch) {
      return hash_key({options_.seed, epoch_key, static_cast<uint64_t>(batch), kBatchOrder});
    });
  }
  order_.clear();
  for (const int64_t batch : batches) {
    const auto begin = images.begin() + batch * options_.global_batch;
    order_.insert(order_.end(), begin, begin + options_.global_batch);
  }
  epoch_ = epoch;
}

std::vector<int64_t> Sampler::batch(int64_t step) { return batch(step, 0, 1); }

std::vector<int64_t> Sampler::batch(int64_t step, int rank, int world_size) {
  ATOLL_CHECK(step >= 0) << step;
  if (epoch_of(step) != epoch_) make_epoch(epoch_of(step));
  const auto begin = order_.begin() + (step % batches_per_epoch_) * options_.global_batch;
  const BatchShare share = share_of_batch(options_.global_batch, rank, world_size);
  return {begin + share.begin, begin + share.end};
}

}  // namespace atl::dataset
