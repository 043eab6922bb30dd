#include "dataset/pixel_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "base/check.h"

namespace atl::dataset {
namespace {

constexpr size_t kHugePage = size_t{1} << 21;
constexpr size_t kCacheLine = 64;

}  // namespace

std::shared_ptr<std::byte> ordinary_pixel_memory(size_t bytes) {
  const size_t alignment = bytes < kHugePage ? kCacheLine : kHugePage;
  const size_t whole = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, whole);
  if (memory == nullptr) throw std::bad_alloc();
  // Only advice: without huge pages it works as well.
  if (bytes >= kHugePage) madvise(memory, whole, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(memory),
          [](std::byte* begin) { std::free(begin); }};  // NOLINT(cppcoreguidelines-no-malloc)
}

PixelBuffer::PixelBuffer(PixelType type, size_t size)
    : PixelBuffer(ordinary_pixel_memory(size * size_of(type)), type, size) {}

std::span<float> PixelBuffer::floats() const {
  ATOLL_CHECK(type_ == PixelType::kFloat32);
  return {reinterpret_cast<float*>(memory_.get()), size_};
}

std::span<uint16_t> PixelBuffer::bfloat16s() const {
  ATOLL_CHECK(type_ == PixelType::kBfloat16);
  return {reinterpret_cast<uint16_t*>(memory_.get()), size_};
}

void PixelBuffer::shrink(size_t size) {
  ATOLL_CHECK(size <= size_) << size << " of " << size_;
  size_ = size;
}

// Batches differ in size, but soon every block is as large as the largest of them: a block that is
// too small is replaced by one of the largest size seen. So there are never more blocks than there
// were buffers in use at a time, and after the first batches nothing is allocated.
struct PixelPool::Shelf {
  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };

  explicit Shelf(PixelMemory memory) : new_memory(std::move(memory)) {}

  Block take(size_t bytes) {
    std::unique_lock lock(mutex);
    largest_bytes = std::max(largest_bytes, bytes);
    Block block;
    if (!spare.empty()) {
      block = std::move(spare.back());
      spare.pop_back();
    }
    if (block.bytes >= bytes) return block;
    const size_t wanted = largest_bytes;
    lock.unlock();
    block.memory.reset();
    return {new_memory(wanted), wanted};
  }
  void put_back(Block block) {
    const std::lock_guard lock(mutex);
    spare.push_back(std::move(block));
  }

  const PixelMemory new_memory;
  std::mutex mutex;  // guards what follows
  std::vector<Block> spare;
  size_t largest_bytes = 0;
};

PixelPool::PixelPool(PixelMemory memory) : shelf_(std::make_shared<Shelf>(std::move(memory))) {}

PixelBuffer PixelPool::get(PixelType type, size_t size) {
  if (size == 0) return {nullptr, type, 0};
  auto block = shelf_->take(size * size_of(type));
  std::byte* begin = block.memory.get();
  return {
      std::shared_ptr<std::byte>(begin,
                                 [shelf = shelf_, block = std::move(block)](std::byte*) mutable {
                                   shelf->put_back(std::move(block));
                                 }),
      type,
      size};
}

}  // namespace atl::dataset
