#include "storage/cache/block_buffers.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

namespace atl::storage {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t rounded_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

class BlockBuffers::Arena {
 public:
  Arena(size_t cell_bytes, size_t cells) : cell_bytes_(rounded_up(cell_bytes, kPageBytes)) {
    mapped_bytes_ = rounded_up(cell_bytes_ * cells, kHugePageBytes) + kHugePageBytes;
    void* const mapped = ::mmap(nullptr,
                                mapped_bytes_,
                                PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                -1,
                                0);
    if (mapped == MAP_FAILED) return;  // then malloc gives what it can
    mapped_ = mapped;
    void* begin = mapped;
    size_t space = mapped_bytes_;
    begin_ = static_cast<std::byte*>(std::align(kHugePageBytes, cell_bytes_, begin, space));
    // Small pages do as well where a kernel has no others.
    ::madvise(begin_, mapped_bytes_ - kHugePageBytes, MADV_HUGEPAGE);
    in_use_.resize(cells);
  }
  ~Arena() {
    if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool suits(size_t size_bytes) const {
    return size_bytes <= cell_bytes_ && size_bytes > cell_bytes_ / 2;
  }
  // The first free cell, so that those that are used share their huge pages; null: none is free.
  std::byte* take() {
    const std::lock_guard lock(mutex_);
    const auto free = std::find(in_use_.begin(), in_use_.end(), false);
    if (free == in_use_.end()) return nullptr;
    *free = true;
    return begin_ + static_cast<size_t>(free - in_use_.begin()) * cell_bytes_;
  }
  void give_back(const std::byte* cell) {
    const std::lock_guard lock(mutex_);
    in_use_[static_cast<size_t>(cell - begin_) / cell_bytes_] = false;
  }
  size_t cells_in_use() const {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count(in_use_.begin(), in_use_.end(), true));
  }

 private:
  const size_t cell_bytes_;
  size_t mapped_bytes_ = 0;
  void* mapped_ = nullptr;
  std::byte* begin_ = nullptr;
  mutable std::mutex mutex_;
  std::vector<bool> in_use_;
};

BlockBuffers::BlockBuffers(size_t cell_bytes, size_t cells)
    : arena_(std::make_shared<Arena>(cell_bytes, cells)) {}

BlockBuffers::Buffer BlockBuffers::take(size_t size_bytes) {
  if (arena_->suits(size_bytes)) {
    if (std::byte* const cell = arena_->take()) {
      const auto give_back = [arena = arena_](const std::byte* taken) { arena->give_back(taken); };
      return {std::shared_ptr<const std::byte>(cell, give_back), {cell, size_bytes}};
    }
  }
  void* memory = nullptr;
  if (::posix_memalign(&memory, kPageBytes, std::max<size_t>(size_bytes, 1)) != 0) {
    throw std::bad_alloc();
  }
  return {std::shared_ptr<const void>(memory,
                                      [](const void* taken) { ::free(const_cast<void*>(taken)); }),
          {static_cast<std::byte*>(memory), size_bytes}};
}

size_t BlockBuffers::cells_in_use() const { return arena_->cells_in_use(); }

}  // namespace atl::storage
