// Which block to give up: the one whose place brings the fewest hits for the time it takes.
//
// Time is bytes read, of all readers. How long after one use blocks are used again is counted, apart for
// blocks whose last wait was short, middling or long and for those seen for the first time; also for
// blocks that were given up meanwhile, whose names are remembered for that. Held against how many have
// waited as long without being used, that gives the chance of being used after some wait (Kaplan and Meier
// 1958), and from it, for a block of some class that has waited some time, its expected hits divided by
// the time that it is expected to take its place for: Beckmann, Chen, Cidon: LHD, NSDI 2018; there in one
// process's memory, here in a table that processes share.
//
// What that does: in an epoch over more than the cache holds, a block that has just been read comes back
// last and goes first, while those read long ago are about to come back and stay: hits are near what
// fits, not zero as with LRU. A hot set outlives scans, because its class is used again soon. A set that
// nobody reads any more has waited longer than anything comes back after, and goes before all others.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace atl::storage {

// Ages are in units of which the cache holds 2^18 to 2^19.
inline constexpr int kUnitsOfCapacityBits = 18;
inline constexpr int kReuseClasses = 4;
inline constexpr int kReuseAges = 64;  // quarter octaves from 2^8 units on

int reuse_age_bucket(uint32_t age);
// The class that a block is in after having been used again after `age`; class 0: for the first time.
int reuse_class(uint32_t age, uint32_t capacity);

template <typename T>
using ReuseTable = std::array<std::array<T, kReuseAges>, kReuseClasses>;

// Uses after a wait, by the class before and the wait. In memory that processes share; all of it hints,
// so plain relaxed counting is enough.
struct ReuseCounts {
  ReuseTable<std::atomic<uint32_t>> reused;

  void count(int reuse_class, uint32_t age);
  void halve();
};

// What the counts say, worked out.
class ReuseDensity {
 public:
  // `waiting`: those that have waited so long by now, on the counts' scale.
  void update(const ReuseCounts& counts, const ReuseTable<float>& waiting, uint32_t capacity);
  // More is worth more.
  float of(int reuse_class, uint32_t age) const {
    return density_[static_cast<size_t>(reuse_class)][static_cast<size_t>(reuse_age_bucket(age))];
  }

 private:
  ReuseTable<float> density_{};
};

}  // namespace atl::storage
