#include "storage/cache/reuse.h"

#include <algorithm>
#include <bit>

namespace atl::storage {
namespace {

constexpr int kFirstBits = 8;
// A block that never comes back holds its place for this many times the capacity, at most.
constexpr uint64_t kHorizonCapacities = 8;

uint64_t bucket_begin(int bucket) {
  return bucket == 0 ? 0 : uint64_t{4U + static_cast<unsigned>(bucket % 4)} << (bucket / 4 + 6);
}

}  // namespace

int reuse_age_bucket(uint32_t age) {
  if (age < (1U << kFirstBits)) return 0;
  const int top = std::bit_width(age) - 1;
  const int quarter = static_cast<int>((age >> (top - 2)) & 3U);
  return std::min((top - kFirstBits) * 4 + quarter, kReuseAges - 1);
}

int reuse_class(uint32_t age, uint32_t capacity) {
  if (age < capacity / 4) return 1;
  return age < capacity ? 2 : 3;
}

void ReuseCounts::count_first() { starts[0].fetch_add(1, std::memory_order_relaxed); }

void ReuseCounts::count_again(int before, uint32_t age, int now) {
  reused[static_cast<size_t>(before)][static_cast<size_t>(reuse_age_bucket(age))].fetch_add(
      1, std::memory_order_relaxed);
  starts[static_cast<size_t>(now)].fetch_add(1, std::memory_order_relaxed);
}

void ReuseCounts::halve() {
  const auto half = [](std::atomic<uint32_t>& count) {
    count.store(count.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
  };
  for (auto& count : starts) half(count);
  for (auto& ages : reused) std::for_each(ages.begin(), ages.end(), half);
}

void ReuseDensity::update(const ReuseCounts& counts, uint32_t capacity) {
  for (size_t kind = 0; kind < kReuseClasses; ++kind) {
    std::array<uint32_t, kReuseAges> reused{};
    uint64_t ends = 0;
    for (size_t age = 0; age < kReuseAges; ++age) {
      reused[age] = counts.reused[kind][age].load(std::memory_order_relaxed);
      ends += reused[age];
    }
    const uint64_t starts = counts.starts[kind].load(std::memory_order_relaxed);
    // Those that have not come back: some will yet, which cannot be told from those that will not.
    const double never = static_cast<double>(starts > ends ? starts - ends : 0);
    double hits = 0;
    double held = 0;
    for (int age = kReuseAges - 1; age >= 0; --age) {
      hits += reused[static_cast<size_t>(age)];
      const uint64_t begin = bucket_begin(age);
      if (begin > kHorizonCapacities * capacity) continue;
      held += (hits + never) * static_cast<double>(bucket_begin(age + 1) - begin);
      density_[kind][static_cast<size_t>(age)] =
          held > 0 ? static_cast<float>(hits / held * capacity) : 0.0F;
    }
  }
}

}  // namespace atl::storage
