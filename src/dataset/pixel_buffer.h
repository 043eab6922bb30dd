// The memory of a batch's pixels: shared, of a type that the reader asks for, and used again.
//
// A pool gives out buffers and takes each back when the last copy of it goes, on whatever thread.
// A tensor that wraps a buffer holds one; an asynchronous copy must be done before it dies. So
// memory is allocated, and pinned, in the first batches only. A pool lives as long as its buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace atl::dataset {

// bfloat16: the upper half of a float32.
enum class PixelType : uint8_t { kFloat32, kBfloat16 };

constexpr size_t size_of(PixelType type) { return type == PixelType::kFloat32 ? 4 : 2; }

// New memory of at least so many bytes at a multiple of 64, freed with its last owner. May be
// called, and its memory freed, on any thread.
using PixelMemory = std::function<std::shared_ptr<std::byte>(size_t bytes)>;

// Ordinary memory, in huge pages where the kernel has them.
std::shared_ptr<std::byte> ordinary_pixel_memory(size_t bytes);

// `size` pixel values. Copies share the memory. Reading is for any thread; who writes sees to it
// that nobody reads.
class PixelBuffer {
 public:
  PixelBuffer() = default;
  // On its own, outside any pool.
  PixelBuffer(PixelType type, size_t size);

  PixelType type() const { return type_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<std::byte> bytes() const { return {memory_.get(), size_ * size_of(type_)}; }
  // A buffer of that type.
  std::span<float> floats() const;
  std::span<uint16_t> bfloat16s() const;
  // Keeps the memory; size <= size().
  void shrink(size_t size);

 private:
  friend class PixelPool;
  PixelBuffer(std::shared_ptr<std::byte> memory, PixelType type, size_t size)
      : memory_(std::move(memory)), type_(type), size_(size) {}

  std::shared_ptr<std::byte> memory_;
  PixelType type_ = PixelType::kFloat32;
  size_t size_ = 0;
};

// Thread safe.
class PixelPool {
 public:
  explicit PixelPool(PixelMemory memory = ordinary_pixel_memory);

  // Contents are unspecified.
  PixelBuffer get(PixelType type, size_t size);

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace atl::dataset
