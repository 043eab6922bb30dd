#include "storage/s3/receive_buffers.h"

#include <algorithm>

namespace atl::storage {

namespace {

// Sizes are rounded up to this, so that a file's last, shorter piece fits another's memory, too. What is smaller comes
// from malloc's own pools.
constexpr size_t kUnit = size_t{256} << 10;

}  // namespace

std::shared_ptr<ReceiveBuffers> ReceiveBuffers::make(size_t max_kept_bytes) {
  return std::shared_ptr<ReceiveBuffers>(new ReceiveBuffers(max_kept_bytes));
}

ReceiveBuffers::Buffer ReceiveBuffers::take(size_t size_bytes) {
  Memory memory;
  const bool is_pooled = size_bytes >= kUnit / 2;
  const size_t rounded = is_pooled ? (size_bytes + kUnit - 1) / kUnit * kUnit : size_bytes;
  if (is_pooled) {
    const std::lock_guard lock(mutex_);
    // What was given back last is the likeliest to be in the processor's cache. Twice the size would waste memory.
    const auto fits = std::find_if(kept_.rbegin(), kept_.rend(), [rounded](const Memory& kept) {
      return kept.size_bytes >= rounded && kept.size_bytes <= 2 * rounded;
    });
    if (fits != kept_.rend()) {
      memory = std::move(*fits);
      kept_.erase(std::next(fits).base());
      kept_bytes_ -= memory.size_bytes;
    }
  }
  if (!memory.bytes) memory = {std::unique_ptr<std::byte[]>(new std::byte[rounded]), rounded};
  const std::span<std::byte> bytes(memory.bytes.get(), size_bytes);
  if (!is_pooled)
    return {std::shared_ptr<const void>(memory.bytes.release(), [](std::byte* p) { delete[] p; }),
            bytes};
  struct Owner {
    std::weak_ptr<ReceiveBuffers> pool;
    Memory memory;
    Owner(std::weak_ptr<ReceiveBuffers> its_pool, Memory its_memory)
        : pool(std::move(its_pool)), memory(std::move(its_memory)) {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() {
      if (const auto alive = pool.lock()) alive->give_back(std::move(memory));
    }
  };
  return {std::make_shared<const Owner>(weak_from_this(), std::move(memory)), bytes};
}

size_t ReceiveBuffers::kept_bytes() const {
  const std::lock_guard lock(mutex_);
  return kept_bytes_;
}

void ReceiveBuffers::give_back(Memory memory) {
  const std::lock_guard lock(mutex_);
  if (memory.size_bytes > max_kept_bytes_) return;
  // The oldest go first.
  size_t dropped = 0;
  while (kept_bytes_ + memory.size_bytes > max_kept_bytes_)
    kept_bytes_ -= kept_[dropped++].size_bytes;
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(dropped));
  kept_bytes_ += memory.size_bytes;
  kept_.push_back(std::move(memory));
}

}  // namespace atl::storage
