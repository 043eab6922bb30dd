// One version of an object, whole or a part of it, out of the block cache: the blocks come in any order, and
// each goes to its place.
//
// Copies: an object of one block is that block, none; up to kMaxInMemoryBytes its blocks are put together
// in one buffer, and so is a part of one block, so as not to hold the rest; a longer object (annotations of
// 450 MB, weights) comes in a file without a name that is mapped, a bounded number of blocks at a time, so
// that memory does not grow with the object.
//
// All the bytes are of the one version: what has changed in the bucket meanwhile is kConflict, and the
// caller begins anew with the version that there is now.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/remote.h"

namespace atl::storage {

inline constexpr uint64_t kMaxInMemoryBytes = uint64_t{32} << 20;

// For at most kMaxInMemoryBytes. `done` comes once, from some thread of the cache's or from this one; it
// must not block.
void read_object_async(BlockCache& cache,
                       const std::shared_ptr<Remote>& remote,
                       const ObjectVersion& version,
                       BlockCache::Urgency urgency,
                       std::function<void(Result<Blob>)> done);

// The same for the bytes [offset, offset + size), which the object has, at most kMaxInMemoryBytes.
void read_range_async(BlockCache& cache,
                      const std::shared_ptr<Remote>& remote,
                      const ObjectVersion& version,
                      uint64_t offset,
                      uint64_t size_bytes,
                      BlockCache::Urgency urgency,
                      std::function<void(Result<Blob>)> done);

// Of any size, waiting; at once, for what is wanted now.
Result<Blob> read_object(BlockCache& cache,
                         const std::shared_ptr<Remote>& remote,
                         const ObjectVersion& version);

// How many blocks an object of so many bytes has.
uint64_t block_count(const BlockCache& cache, uint64_t size_bytes);

// Those that hold the bytes [offset, offset + size).
struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;
};
BlockRange blocks_of(const BlockCache& cache, uint64_t offset, uint64_t size_bytes);

}  // namespace atl::storage
