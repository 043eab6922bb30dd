// A bucket as an object store: what is read comes through the block cache and is on its way before it
// is asked for, what is written goes to the bucket at once.
//
// - The namespace says which version of an object there is, so a read needs no HEAD and a second
//   run's reads need no request at all.
// - A reader that goes through an object in order is read ahead of, by a window that doubles while it
//   keeps going, up to what latency times bandwidth calls for.
// - will_need() is the trainer's: the keys of the next batches, in the sampler's order.
//
// - head() and list() ask the bucket itself, and what they hear holds for the reads that follow.
// - append() of logs: append_buffer.h. claim(): bucket_claim.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "storage/cache/block_cache.h"
#include "storage/namespace/namespace.h"
#include "storage/remote.h"
#include "storage/storage.h"

namespace atl::storage {

struct CachedStoreOptions {
  uint64_t max_ahead_bytes = uint64_t{256}
                             << 20;  // read ahead and not yet asked for, all keys together
  uint64_t keep_in_memory_bytes = uint64_t{64} << 20;  // of those
  // Where the last whole listing is older, the first will_need() has one made in the background.
  std::chrono::seconds listing_age{3600};
};

// Keys are held against storage/key.h, as for every store. Thread safe.
std::unique_ptr<ObjectStore> make_cached_store(std::shared_ptr<Remote> remote,
                                               std::shared_ptr<Namespace> names,
                                               std::shared_ptr<BlockCache> cache,
                                               CachedStoreOptions options = {});

}  // namespace atl::storage
