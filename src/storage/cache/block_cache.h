// Blocks of objects on disk: persistent, bounded, checked, and shared by every process that names the
// same directory, on one machine or, where the directory is shared, on many. Each block is fetched once.
//
// On disk, one file for each block, DIR/blocks/a/bcdef…, named by a hash of what it is; a header says
// which object, version and block it is and carries CRC-32Cs of the bytes (storage/cache/block_header.h).
// A file is written beside and renamed; one that does not read back, torn by a power cut or damaged
// later, is removed and fetched again.
// Who jumps about in an object of several blocks gets parts of them (storage/cache/block_parts.h), which are files like those
// of blocks.
// A block that is being fetched is marked by a lease that its holder renews; a dead holder's lease is
// taken over.
//
// Files are 0600 in directories of 0700; a directory that belongs to another user is refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/storage.h"

namespace atl::storage {

// One version of one object. Two versions never share a block.
struct ObjectVersion {
  std::string key;
  std::string etag;  // never empty
  uint64_t size_bytes = 0;
};

struct BlockCacheOptions {
  std::string directory;
  uint64_t max_bytes = uint64_t{100} << 30;
  uint64_t min_free_bytes = uint64_t{2} << 30;  // of the file system, left to others
  uint64_t block_bytes = uint64_t{1} << 20;     // the last block of an object is shorter
  int max_fetches = 32;                         // GETs under way at a time, of this process
  uint64_t max_fetch_bytes = uint64_t{8}
                             << 20;  // adjacent blocks are fetched by one GET up to this
  // What is read ahead comes past the page cache (O_DIRECT) unless that has it: for a mount, where the kernel keeps the same
  // bytes as pages of the mounted file.
  bool direct_read_ahead = false;
};

// A part of a block counts as a block; a block that is put together from its parts counts as they do.
struct BlockCacheCounts {
  uint64_t hits = 0;           // blocks from disk
  uint64_t misses = 0;         // blocks fetched by this process
  uint64_t waits = 0;          // blocks that another process or thread was fetching
  uint64_t corrupt = 0;        // blocks that did not read back
  uint64_t evicted = 0;        // blocks removed for space
  uint64_t not_kept = 0;       // blocks delivered that the disk did not take
  uint64_t fetched_bytes = 0;  // by this process
};

// Thread safe. Its end waits for the GETs under way.
class BlockCache {
 public:
  using OnBlock = std::function<void(uint64_t index, Result<Blob>)>;
  enum class Urgency { kNow, kAhead };  // what is wanted now overtakes what is read ahead

  // kPermission: the directory is another user's. kIo: it cannot be made or written to.
  static Result<std::shared_ptr<BlockCache>> open(BlockCacheOptions options);
  virtual ~BlockCache() = default;

  virtual const BlockCacheOptions& options() const = 0;

  // Block by block, in no order, each once, from some thread of the cache's or from this one: from
  // disk, from another reader's fetch, or by `remote`. `done` must not block, nor let go of the cache's
  // last reference. A block that is delivered is on disk; a full or broken disk does not fail a read: the
  // block is delivered and not kept. Blocks that came by one GET share its memory. Errors are the
  // remote's; kConflict: the object is no longer this version; kCancelled: the cache is being closed.
  // A block of which there are parts is put together from them and the rest, and not kept a second time.
  virtual void read_async(std::shared_ptr<Remote> remote,
                          const ObjectVersion& version,
                          uint64_t first_block,
                          uint64_t blocks,
                          Urgency urgency,
                          OnBlock done) = 0;
  // The bytes [offset, offset + size), waiting; fewer where the object ends. Not from `done`. For who jumps about: of a block
  // that is not there and is not wanted whole, the parts that hold the bytes are fetched; of one that is read so for the second
  // time the rest, too, without waiting for it. Errors are those of read_async().
  virtual Result<Blob> read(std::shared_ptr<Remote> remote,
                            const ObjectVersion& version,
                            uint64_t offset,
                            uint64_t size_bytes);
  // Only what is there already; all parts of a block are a block.
  virtual std::optional<Blob> find(const std::string& remote_identity,
                                   const ObjectVersion& version,
                                   uint64_t block) = 0;
  // How many bytes of this version are on disk.
  virtual uint64_t cached_bytes(const std::string& remote_identity,
                                const ObjectVersion& version) const = 0;
  // Removes them; the space comes back at once.
  virtual Result<void> release(const std::string& remote_identity,
                               const ObjectVersion& version) = 0;
  // Everything of every remote.
  virtual Result<void> release_all() = 0;

  virtual BlockCacheCounts counts() const = 0;
  // On disk, of everyone.
  virtual uint64_t used_bytes() const = 0;
};

}  // namespace atl::storage
