// Memory that blocks are read into, used again, in huge pages where the kernel gives them: a disk fills such a block by one or
// two transfers instead of 256, and no block costs page faults.
//
// A cell holds a block with its header. What is much smaller than a cell, and what finds none free, comes from malloc.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace atl::storage {

// Thread safe.
class BlockBuffers {
 public:
  // Address space for so many cells; memory only for those that have been used at a time.
  BlockBuffers(size_t cell_bytes, size_t cells);

  struct Buffer {
    std::shared_ptr<const void>
        owner;  // the last copy gives the memory back, also after the end of BlockBuffers
    std::span<std::byte> bytes;
  };
  // Not initialised, at the beginning of a page.
  Buffer take(size_t size_bytes);
  // Of the cells, now.
  size_t cells_in_use() const;

 private:
  class Arena;
  const std::shared_ptr<Arena> arena_;
};

}  // namespace atl::storage
