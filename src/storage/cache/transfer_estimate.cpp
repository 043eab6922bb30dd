#include "storage/cache/transfer_estimate.h"

#include <algorithm>

namespace atl::storage {

void TransferEstimate::add(uint64_t bytes, Clock::time_point asked, Clock::time_point came) {
  const auto took = came - asked;
  if (took < kFromDisk) return;
  const int64_t number = came.time_since_epoch() / kSlot;
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[static_cast<size_t>(number) % kSlots];
  if (slot.number != number) slot = {.number = number};
  slot.bytes += bytes;
  slot.shortest = std::min<Clock::duration>(slot.shortest, took);
}

uint64_t TransferEstimate::window_bytes() const {
  using Seconds = std::chrono::duration<double>;
  const std::lock_guard lock(mutex_);
  int64_t newest = -1;
  for (const Slot& slot : slots_) newest = std::max(newest, slot.number);
  if (newest < 0) return kLeastWindowBytes;
  uint64_t most_bytes = 0;
  Clock::duration shortest = Clock::duration::max();
  for (const Slot& slot : slots_) {
    if (slot.number < 0 || newest - slot.number >= static_cast<int64_t>(kSlots)) continue;
    most_bytes = std::max(most_bytes, slot.bytes);
    shortest = std::min(shortest, slot.shortest);
  }
  const double rate = static_cast<double>(most_bytes) / Seconds(kSlot).count();
  const double window = 2 * rate * Seconds(shortest).count();
  return static_cast<uint64_t>(std::clamp(
      window, static_cast<double>(kLeastWindowBytes), static_cast<double>(kMostWindowBytes)));
}

}  // namespace atl::storage
