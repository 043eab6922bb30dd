#include "storage/cache/reuse.h"

#include <algorithm>
#include <bit>

namespace atl::storage {
namespace {

constexpr int kFirstBits = 8;
// A block that never comes back holds its place for this many times the capacity, at most.
constexpr uint64_t kHorizonCapacities = 16;
// A class of which little has been seen is taken to be like all; as if of so many blocks that had been
// seen already.
constexpr float kWeightOfAll = 8;

uint64_t bucket_begin(int bucket) {
  return bucket == 0 ? 0 : uint64_t{4U + static_cast<unsigned>(bucket % 4)} << (bucket / 4 + 6);
}

}  // namespace

int reuse_age_bucket(uint32_t age) {
  if (age < (1U << kFirstBits)) return 0;
  const int top = static_cast<int>(std::bit_width(age)) - 1;
  const int quarter = static_cast<int>((age >> (top - 2)) & 3U);
  return std::min((top - kFirstBits) * 4 + quarter, kReuseAges - 1);
}

int reuse_class(uint32_t age, uint32_t capacity) {
  if (age < capacity / 4) return 1;
  return age < capacity ? 2 : 3;
}

void ReuseCounts::count(int reuse_class, uint32_t age) {
  reused[static_cast<size_t>(reuse_class)][static_cast<size_t>(reuse_age_bucket(age))].fetch_add(
      1, std::memory_order_relaxed);
}

void ReuseCounts::halve() {
  for (auto& ages : reused) {
    for (auto& count : ages) {
      count.store(count.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
    }
  }
}

void ReuseDensity::update(const ReuseCounts& counts,
                          const ReuseTable<float>& waiting,
                          uint32_t capacity) {
  // Of each class and, in the last row, of all: the uses in a bucket, and how many came so far.
  std::array<std::array<float, kReuseAges>, kReuseClasses + 1> used{};
  std::array<std::array<float, kReuseAges>, kReuseClasses + 1> reached{};
  for (size_t kind = 0; kind < kReuseClasses; ++kind) {
    float sum = 0;
    for (size_t age = kReuseAges; age-- > 0;) {
      used[kind][age] =
          static_cast<float>(counts.reused[kind][age].load(std::memory_order_relaxed));
      sum += used[kind][age];
      // One that waits now has, on the average, half of its bucket behind it.
      reached[kind][age] = sum + waiting[kind][age] / 2;
      sum += waiting[kind][age];
      used[kReuseClasses][age] += used[kind][age];
      reached[kReuseClasses][age] += reached[kind][age];
    }
  }
  for (size_t kind = 0; kind < kReuseClasses; ++kind) {
    std::array<float, kReuseAges> chance{};
    for (size_t age = 0; age < kReuseAges; ++age) {
      const float of_all = used[kReuseClasses][age] / std::max(1.0F, reached[kReuseClasses][age]);
      chance[age] = std::min(
          1.0F, (used[kind][age] + kWeightOfAll * of_all) / (reached[kind][age] + kWeightOfAll));
    }
    // From the horizon back: hits to come, and time held until then, of one that has come so far.
    float hits = 0;
    float held = 0;
    for (int age = kReuseAges - 1; age >= 0; --age) {
      const uint64_t begin = bucket_begin(age);
      if (begin > kHorizonCapacities * capacity) continue;
      const auto width = static_cast<float>(bucket_begin(age + 1) - begin);
      const float used_here = chance[static_cast<size_t>(age)];
      hits = used_here + (1 - used_here) * hits;
      held = (1 - used_here / 2) * width + (1 - used_here) * held;
      density_[kind][static_cast<size_t>(age)] = hits / held * static_cast<float>(capacity);
    }
  }
}

}  // namespace atl::storage
