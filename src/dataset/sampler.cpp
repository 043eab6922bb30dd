// An epoch's order: each group is sorted by a hash of (seed, epoch, position), padded and cut into
// batches; then the batches are sorted by a hash of their number, so that landscape and portrait
// mix.
#include "dataset/sampler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

// What a key is for; unlike any other purpose's number.
constexpr uint64_t kImageOrder = 0x73616d706c65'0001;  // "sample"
constexpr uint64_t kBatchOrder = 0x73616d706c65'0002;

// Sorts by a hash of the numbers; equal hashes keep the numbers' own order.
void shuffle(std::vector<int64_t>& numbers, uint64_t seed, int64_t epoch, uint64_t purpose) {
  std::vector<std::pair<uint64_t, int64_t>> keyed;
  keyed.reserve(numbers.size());
  for (const int64_t number : numbers) {
    keyed.emplace_back(
        hash_key({seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(number), purpose}),
        number);
  }
  std::sort(keyed.begin(), keyed.end());
  std::transform(
      keyed.begin(), keyed.end(), numbers.begin(), [](const auto& entry) { return entry.second; });
}

}  // namespace

Sampler::Sampler(std::vector<ImageSize> sizes, SamplerOptions options) : options_(options) {
  ATOLL_CHECK(!sizes.empty() && options_.global_batch > 0)
      << sizes.size() << " images, batches of " << options_.global_batch;
  std::vector<int64_t> landscape;
  std::vector<int64_t> portrait;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool tall = options_.group_by_aspect && sizes[i].height > sizes[i].width;
    (tall ? portrait : landscape).push_back(static_cast<int64_t>(i));
  }
  for (auto* group : {&landscape, &portrait}) {
    if (group->empty()) continue;
    const auto images = static_cast<int64_t>(group->size());
    const int64_t batches = (images + options_.global_batch - 1) / options_.global_batch;
    batches_per_epoch_ += batches;
    padding_per_epoch_ += batches * options_.global_batch - images;
    groups_.push_back(std::move(*group));
  }
}

void Sampler::make_epoch(int64_t epoch) {
  const auto batch_size = static_cast<size_t>(options_.global_batch);
  std::vector<int64_t> images;
  for (const auto& positions : groups_) {
    std::vector<int64_t> group = positions;
    if (options_.shuffle) shuffle(group, options_.seed, epoch, kImageOrder);
    const size_t count = group.size();
    for (size_t i = 0; group.size() % batch_size != 0; ++i) group.push_back(group[i % count]);
    images.insert(images.end(), group.begin(), group.end());
  }
  std::vector<int64_t> batches(static_cast<size_t>(batches_per_epoch_));
  for (size_t i = 0; i < batches.size(); ++i) batches[i] = static_cast<int64_t>(i);
  if (options_.shuffle) shuffle(batches, options_.seed, epoch, kBatchOrder);
  order_.clear();
  for (const int64_t batch : batches) {
    const auto begin = images.begin() + batch * options_.global_batch;
    order_.insert(order_.end(), begin, begin + options_.global_batch);
  }
  epoch_ = epoch;
}

std::vector<int64_t> Sampler::batch(int64_t step) {
  ATOLL_CHECK(step >= 0) << step;
  if (epoch_of(step) != epoch_) make_epoch(epoch_of(step));
  const auto begin = order_.begin() + (step % batches_per_epoch_) * options_.global_batch;
  return {begin, begin + options_.global_batch};
}

}  // namespace atl::dataset
