// How much must be under way to keep a connection busy: latency times bandwidth, measured on what
// comes in.
//
// As BBR does it (Cardwell et al., "BBR: congestion-based congestion control", ACM Queue 2016): the
// shortest time that a piece took, times the highest rate at which bytes came, both of the last seconds.
// Twice that is the window, so that a rate that the window itself holds down shows as soon as the
// window grows, and the growth ends where the rate's does.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace atl::storage {

// Thread safe.
class TransferEstimate {
 public:
  using Clock = std::chrono::steady_clock;

  // A piece of so many bytes that was asked for and came at these times. What took less than
  // kFromDisk did not come over a network and does not count.
  void add(uint64_t bytes, Clock::time_point asked, Clock::time_point came);
  // Between kLeastWindow and kMostWindow; kLeastWindow before anything has come.
  uint64_t window_bytes() const;

  static constexpr std::chrono::microseconds kFromDisk{500};
  // Four of the largest GETs: with less, a server near by gets small ones, and is kept waiting between them.
  static constexpr uint64_t kLeastWindowBytes = uint64_t{32} << 20;
  static constexpr uint64_t kMostWindowBytes = uint64_t{128} << 20;

 private:
  // What came within one span of time.
  struct Slot {
    int64_t number = -1;  // of the span since the clock's beginning
    uint64_t bytes = 0;
    Clock::duration shortest = Clock::duration::max();
  };
  static constexpr size_t kSlots = 32;
  static constexpr std::chrono::milliseconds kSlot{250};

  mutable std::mutex mutex_;
  std::array<Slot, kSlots> slots_;
};

}  // namespace atl::storage
