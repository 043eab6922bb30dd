// Brings blocks: from the shelf, or by GETs that several readers share.
//
// A block that somebody waits for is a flight, one for each block in this process: looked for on the
// shelf, queued, fetched, kept, delivered to all who asked meanwhile. Adjacent queued blocks become one
// GET. What is wanted now has a queue of its own, served first, and a quarter of the GETs that what is
// read ahead cannot take.
//
// Other processes: a block is fetched by whoever holds its lease (storage/cache/leases.h). A flight whose
// block somebody else is fetching waits until the block is there or the lease has ended; a thread looks
// every few milliseconds, for what other machines do cannot be waited for otherwise.
//
// Parts (storage/cache/block_parts.h) are the blocks of an object of their own here. A block of which some parts are there or on
// their way in this process is put together from its parts: its flight has no GET and ends with those of the parts.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "storage/cache/block_cache.h"
#include "storage/cache/block_header.h"
#include "storage/cache/block_parts.h"
#include "storage/cache/block_shelf.h"
#include "storage/cache/leases.h"
#include "storage/cache/workers.h"

namespace atl::storage {

struct FetcherCounts {
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> misses{0};
  std::atomic<uint64_t> waits{0};
  std::atomic<uint64_t> fetched_bytes{0};
};

// Thread safe.
class BlockFetcher {
 public:
  using OnBlock = BlockCache::OnBlock;
  using Urgency = BlockCache::Urgency;

  // `upkeep` is called about once a second, from a thread of the fetcher's.
  BlockFetcher(BlockShelf& shelf,
               Leases& leases,
               const BlockCacheOptions& options,
               std::function<void()> upkeep);
  // Cancels what has not begun and waits for the rest.
  ~BlockFetcher();

  void read(const std::shared_ptr<Remote>& remote,
            const std::shared_ptr<const CachedObject>& object,
            uint64_t first,
            uint64_t blocks,
            Urgency urgency,
            const OnBlock& done);
  // Whether this process or another one is fetching the block as a whole.
  bool is_coming(const CachedObject& object, uint64_t index);
  const FetcherCounts& counts() const { return counts_; }

 private:
  struct Key {
    uint64_t hash[2];
    uint64_t index;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return key.hash[0] ^ (key.index * 0x9e3779b97f4a7c15);
    }
  };
  enum class State { kLooking, kQueued, kFetching, kElsewhere, kPutTogether };
  struct Flight {
    Key key;
    std::shared_ptr<Remote> remote;
    std::shared_ptr<const CachedObject> object;
    Urgency urgency = Urgency::kNow;
    State state = State::kLooking;
    bool leased = false;
    bool waited = false;                        // for another process
    std::shared_ptr<const CachedObject> parts;  // that it is put together from
    std::vector<OnBlock> waiting;
  };
  // Blocks of one object that are gone about together. Their urgency is the one they were queued with;
  // the flights' own may rise meanwhile.
  struct Run {
    std::vector<Flight*> flights;
    Urgency urgency = Urgency::kNow;
  };

  static Key key_of(const CachedObject& object, uint64_t index) {
    return {{object.hash[0], object.hash[1]}, index};
  }
  Flight* join(const std::shared_ptr<Remote>& remote,
               const std::shared_ptr<const CachedObject>& object,
               uint64_t index,
               Urgency urgency,
               const OnBlock& done);
  void raise(Flight& flight);
  void look(const Run& run);
  void take_those_with_parts(Run& run);
  bool has_parts(const CachedObject& parts, PartRange in_block);
  using PartsObject = std::shared_ptr<const CachedObject>;
  PartsObject parts_there(const CachedObject& object, uint64_t index);
  void put_together(Flight* flight, const PartsObject& parts);
  void queue(const Run& run);
  void pump();
  Run next_run(Urgency urgency);
  void start(const Run& run);
  enum class Begun { kToFetch, kFound, kElsewhere, kByParts };
  Begun begin(Flight* flight);
  void watch();
  std::vector<Flight*> no_longer_elsewhere();
  void get(const Run& run);
  void finish(const Run& run, Result<RangeBytes> answer);
  void give_back_lease(Flight* flight);
  void land(Flight* flight, const Result<Blob>& result);
  void end_fetch(Urgency urgency);

  BlockShelf& shelf_;
  Leases& leases_;
  const std::function<void()> upkeep_;
  const int max_fetches_;
  const int max_ahead_fetches_;
  const uint64_t max_fetch_bytes_;
  const BlockFiles::By ahead_by_;
  FetcherCounts counts_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<Key, std::unique_ptr<Flight>, KeyHash> flights_;
  std::deque<Key> now_;
  std::deque<Key> ahead_;
  std::vector<Flight*> elsewhere_;
  std::condition_variable watch_;
  int fetches_ = 0;
  int ahead_fetches_ = 0;
  bool ending_ = false;
  Workers workers_;
  std::thread watcher_;
};

}  // namespace atl::storage
