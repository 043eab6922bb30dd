// What the trainer will read next, fetched before it asks.
//
// The keys, and ranges of objects, stand in the order in which they will be read. A few threads look them up
// in the namespace and ask the cache for them, behind everything that is wanted now, until so many bytes are
// fetched or on their way that have not been asked for yet. What comes is kept in memory as far as
// there is room for it, so that the read itself costs nothing; the rest lies in the cache on disk.
//
// Nothing here fails a read: what could not be fetched is fetched when it is asked for, and that
// read has the error. Nothing that is on its way is cancelled. A place in the order that the reader has
// passed by (an image left out, a run that has ended) is given up, so that it holds no room.
//
// Of a range its own bytes count, and are what is kept in memory; the cache fetches and keeps whole blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "storage/cache/block_cache.h"
#include "storage/namespace/namespace.h"
#include "storage/remote.h"

namespace atl::storage {

struct PrefetchOptions {
  uint64_t max_ahead_bytes = uint64_t{256} << 20;
  uint64_t keep_in_memory_bytes = uint64_t{64} << 20;
  // For the latency of the namespace's requests; what the cache fetches needs no thread here.
  int threads = 8;
};

// Thread safe.
class Prefetcher {
 public:
  Prefetcher(std::shared_ptr<Remote> remote,
             std::shared_ptr<Namespace> names,
             std::shared_ptr<BlockCache> cache,
             PrefetchOptions options);
  ~Prefetcher();  // lets go of the order; waits for look-ups, not for what the cache has on its way
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Comes after all keys of earlier calls.
  void want(std::span<const std::string> keys);
  void want_ranges(std::span<const ObjectRange> ranges);

  // A reader asks for the key: its first place in the order is used up. The bytes, where they are in
  // memory and of this version.
  std::optional<Blob> take(std::string_view key, std::string_view etag);
  // The same for a range that was wanted just so; fewer bytes where the object ends.
  std::optional<Blob> take_range(std::string_view key,
                                 std::string_view etag,
                                 uint64_t offset,
                                 uint64_t size_bytes);

  struct Counts {
    uint64_t waiting = 0;          // keys not looked at yet
    uint64_t ahead_bytes = 0;      // fetched or on their way, and not asked for
    uint64_t in_memory_bytes = 0;  // of those
  };
  Counts counts() const;
  // Until nothing is on its way and nothing more may be started. For tests.
  void wait_until_idle() const;

 private:
  struct Order;
  struct Part;

  void run();
  void want_parts(std::vector<Part> parts);
  void fetch(uint64_t number, const ObjectInfo& info, std::unique_lock<std::mutex>& lock);
  void start(uint64_t number, const ObjectVersion& version, const Part& part, bool in_memory);

  const std::shared_ptr<Remote> remote_;
  const std::shared_ptr<Namespace> names_;
  const std::shared_ptr<BlockCache> cache_;
  const std::shared_ptr<Order> order_;  // shared with what is on its way
  std::vector<std::thread> threads_;
};

}  // namespace atl::storage
