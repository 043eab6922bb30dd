// Random numbers that are a pure function of a key. No generator runs through the program: every
// choice names what it is for, (seed, epoch or step, image id, purpose), and comes out the same
// whatever the number of threads, ranks or restarts.
//
//   KeyedRandom random({seed, epoch, image_id, kFlip});
//   if (random.uniform() < 0.5) ...
//
// The mix is SplitMix64's finaliser (Steele, Lea, Flood 2014) over a chained key; reference/
// keyed_random.py computes the same numbers, so goldens made in Python can follow our choices.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

namespace atl {

// One step of SplitMix64: a bijection on 64 bits that passes BigCrush when fed a counter.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Folds the parts of a key, in order, into 64 bits.
constexpr uint64_t hash_key(std::initializer_list<uint64_t> parts) {
  uint64_t hash = 0;
  for (const uint64_t part : parts) hash = mix64(hash ^ part);
  return hash;
}

class KeyedRandom {
 public:
  explicit KeyedRandom(std::initializer_list<uint64_t> key) : state_(hash_key(key)) {}
  explicit KeyedRandom(uint64_t key) : state_(mix64(key)) {}

  uint64_t next() { return mix64(state_ ^ mix64(counter_++)); }
  // [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // [0, bound), bound > 0; the bias of the multiply-shift is below bound / 2^64.
  uint64_t below(uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }
  // Standard normal, Box-Muller; two draws each.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  uint64_t state_;
  uint64_t counter_ = 0;
};

}  // namespace atl
