// Reading objects part by part, with what comes next already on its way.
//
// A reader that goes on where it stopped is read ahead of, first by a block, then by twice as much with
// each read, up to what latency times bandwidth calls for (transfer_estimate.h). One that jumps gets
// the parts of blocks that hold what it asks for and no more (BlockCache::read), and its window begins
// anew. What is on its way counts against one bound for all readers together, in equal shares: with n of
// them that have something ahead, each may have one part in n + 1, so that the next one to come finds
// room, too. Where there is none, reads go on without anything ahead.
//
// The blocks read ahead are held here until the reader has passed them, so each is fetched and
// checked once, whether the cache could keep it or not.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/cache/transfer_estimate.h"
#include "storage/remote.h"

namespace atl::storage {

// What the readers of a store or of a mount share. Thread safe.
class ReadAhead {
 public:
  ReadAhead(std::shared_ptr<BlockCache> cache, uint64_t max_bytes)
      : cache_(std::move(cache)), max_bytes_(max_bytes) {}

  BlockCache& cache() const { return *cache_; }
  // Now read ahead and not yet passed, of all readers.
  uint64_t ahead_bytes() const {
    const std::lock_guard lock(mutex_);
    return ahead_bytes_;
  }
  // Of its own, for what is on its way needs it, and must not be the last to hold the cache.
  const std::shared_ptr<TransferEstimate>& estimate() const { return estimate_; }

  // How much one reader may have, which has `held` now.
  uint64_t share_bytes(uint64_t held) const;
  // Whether there was room for so many more; give_back() frees it. A first block needs no share.
  bool reserve(uint64_t& held, uint64_t bytes);
  void give_back(uint64_t& held, uint64_t bytes);

 private:
  uint64_t share_of(uint64_t held) const { return max_bytes_ / (readers_ + (held == 0 ? 2 : 1)); }

  const std::shared_ptr<BlockCache> cache_;
  const uint64_t max_bytes_;
  mutable std::mutex mutex_;
  uint64_t ahead_bytes_ = 0;
  uint64_t readers_ = 0;  // that have something
  const std::shared_ptr<TransferEstimate> estimate_ = std::make_shared<TransferEstimate>();
};

// One open file: one version of one object. Thread safe; concurrent reads at different places are read
// at the same time.
class ObjectReader {
 public:
  ObjectReader(std::shared_ptr<ReadAhead> ahead,
               std::shared_ptr<Remote> remote,
               ObjectVersion version);
  ~ObjectReader();  // does not wait for what is on its way
  ObjectReader(const ObjectReader&) = delete;
  ObjectReader& operator=(const ObjectReader&) = delete;

  const ObjectVersion& version() const { return version_; }

  // The bytes [offset, offset + size), waiting; fewer where the object ends. Within one block without a
  // copy. Errors: those of BlockCache::read_async; after one, a later read tries anew.
  Result<Blob> read(uint64_t offset, uint64_t size_bytes);

  // How far ahead of a sequential reader is asked for now. For tests.
  uint64_t window_bytes() const;

 private:
  struct Piece;
  struct State;

  void ask(uint64_t first, uint64_t count, BlockCache::Urgency urgency);
  void ask_for_missing(uint64_t first, uint64_t end);
  bool adapt_window(uint64_t offset, uint64_t size_bytes);
  bool has_any(uint64_t first, uint64_t end) const;
  void ask_ahead(uint64_t from_block, uint64_t end_bytes);
  void drop_outside(uint64_t first, uint64_t end);
  void drop(std::map<uint64_t, Piece>::iterator piece);
  uint64_t window() const;
  Result<Blob> put_together(uint64_t offset, uint64_t size_bytes);

  const std::shared_ptr<ReadAhead> ahead_;
  const std::shared_ptr<Remote> remote_;
  const ObjectVersion version_;
  const uint64_t block_bytes_;
  const std::shared_ptr<State> state_;  // shared with what is on its way
};

}  // namespace atl::storage
