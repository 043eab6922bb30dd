// Blocks of objects on their way to readers: those read ahead and not yet asked for, and those asked for
// of late. One for all handles, so that all of them together are bounded, and two that read the same
// file share what comes.
//
// Read-ahead takes only room that is free, or holds blocks that have been read already or were only guessed to be
// wanted; a reader that waits takes any. So a thousand open files cost no more memory than one. Guesses, files
// that nobody has opened yet, have half of the room and give way to everything else.
//
// Thread safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "storage/cache/block_cache.h"
#include "storage/remote.h"

namespace atl::fs {

class BlockMemory {
 public:
  using Now = std::function<std::chrono::steady_clock::time_point()>;

  BlockMemory(std::shared_ptr<storage::Remote> remote,
              std::shared_ptr<storage::BlockCache> cache,
              uint64_t max_bytes,
              Now now = std::chrono::steady_clock::now);
  // Does not wait for what is under way.
  ~BlockMemory();

  uint64_t block_bytes() const;
  // Waits. `waited`: it was not there yet. What has failed after long is the answer for a moment, for the kernel asks
  // for a page again whose read-ahead has failed, and its reader would wait twice.
  Result<storage::Blob> get(const storage::ObjectVersion& version, uint64_t block, bool& waited);
  // For a reader that jumps: the bytes [offset, offset + size), at least one, with no more fetched than they need, and nothing
  // of them kept here, for the kernel has the pages. Waits; what has failed after long is the answer for a moment as of get().
  // nullopt: a block of these is here or on its way, and get() has it sooner.
  std::optional<Result<storage::Blob>> read_apart(const storage::ObjectVersion& version,
                                                  uint64_t offset,
                                                  uint64_t size_bytes);
  enum class Ahead { kOfReader, kGuess };
  // Starts those that are not there, as far as there is room: the number that are there or on their way.
  uint64_t read_ahead(const storage::ObjectVersion& version,
                      uint64_t first,
                      uint64_t blocks,
                      Ahead why = Ahead::kOfReader);
  // Nobody waits for these any more: they make room first.
  void abandon(const storage::ObjectVersion& version, uint64_t first, uint64_t blocks);
  uint64_t held_bytes() const;

 private:
  struct State;
  const std::shared_ptr<storage::Remote> remote_;
  // Not the fetches', one of which would be the last to let go of it: its end waits for them.
  const std::shared_ptr<storage::BlockCache> cache_;
  const std::shared_ptr<State> state_;  // shared with the fetches under way
};

// How far ahead of a handle's reads to be. Whoever reads on where it stopped is a sequential reader; its
// window doubles each time it had to wait, so it grows to latency times bandwidth and no further.
// Not thread safe.
class ReadAhead {
 public:
  // The blocks to start now, [first, first + blocks), before a read of [offset, offset + size).
  struct Window {
    uint64_t first = 0;
    uint64_t blocks = 0;
  };
  Window next(uint64_t offset, uint64_t size_bytes, uint64_t object_bytes, uint64_t block_bytes);
  void waited();
  // Whether the last read began elsewhere than where a sequential reader goes on, or has gone on from such a place for less
  // than a part: a header, and what it tells of.
  bool jumped() const { return jumped_; }
  // What has been started and not been asked for.
  Window unread(uint64_t block_bytes) const;

 private:
  static constexpr uint64_t kFirstWindow = 2;
  static constexpr uint64_t kMaxWindow = 64;

  uint64_t expected_ = 0;  // where a sequential reader would go on
  uint64_t window_ = 0;    // in blocks; 0: not sequential
  uint64_t started_ = 0;   // blocks below have been started
  bool jumped_ = false;
  uint64_t run_bytes_ = 0;  // since the last jump, without the read that jumped
};

}  // namespace atl::fs
