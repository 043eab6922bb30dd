// Parts of blocks: who jumps about in an object wants little at each place, and gets the parts that hold it instead of the
// block.
//
// A part is a block of a finer grid over the same object, with a file, a lease and a place in the table of use of its own. The
// grid belongs to what a file is named by, so a part is never taken for a block.
#pragma once

#include <cstdint>
#include <optional>

#include "storage/cache/block_header.h"

namespace atl::storage {

inline constexpr uint64_t kPartBytes = uint64_t{128} << 10;

// Whether who has gone on for so many bytes after a jump is still to be served by parts: what a header tells of, that was read
// first.
constexpr bool goes_by_parts(uint64_t block_bytes, uint64_t run_bytes) {
  return block_bytes > kPartBytes && run_bytes < kPartBytes;
}

// The object on the finer grid, whose blocks are the parts. nullopt: it comes by whole blocks alone, because it has but one, or
// because blocks are no multiple of parts.
std::optional<CachedObject> parts_of(const CachedObject& object);

// Those of a block, or of bytes in it: [first, first + count) on the finer grid.
struct PartRange {
  uint64_t first = 0;
  uint64_t count = 0;

  bool contains(uint64_t part) const { return part >= first && part < first + count; }
  bool operator==(const PartRange&) const = default;
};
PartRange parts_of_block(const CachedObject& object, uint64_t block);
// Not for an empty range.
PartRange parts_of_bytes(uint64_t offset, uint64_t size_bytes);

}  // namespace atl::storage
