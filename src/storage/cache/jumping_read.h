// A read of somebody who jumps about in an object: the bytes that are on disk from there, and of a block that is not there the
// parts that hold them (storage/cache/block_parts.h).
//
// A block comes whole all the same where all of it is wanted, or somebody is fetching it already. Of a block that is read
// for the second time the rest comes, too, but nobody waits for it: so dense random reading costs few GETs a block, and
// sparse reading little beyond what it wants.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "storage/cache/block_fetcher.h"
#include "storage/cache/block_gathering.h"
#include "storage/cache/block_header.h"
#include "storage/cache/block_parts.h"
#include "storage/cache/block_shelf.h"
#include "storage/remote.h"
#include "storage/storage.h"

namespace atl::storage {

class JumpingRead {
 public:
  // The bytes [offset, offset + size), at least one, which the object has. Looks at the disk at once.
  JumpingRead(BlockShelf& shelf,
              BlockFetcher& fetcher,
              CachedObject object,
              uint64_t offset,
              uint64_t size_bytes);

  // Pieces from disk.
  uint64_t hits() const { return found_.size(); }
  // `done` comes once, on some thread of the fetcher's or on this one.
  void bring(const std::shared_ptr<Remote>& remote, BlockGathering::Done done) &&;

 private:
  using Found = std::vector<std::pair<uint64_t, Blob>>;  // by where in the object it begins
  // Blocks, or parts, side by side.
  struct Asked {
    std::shared_ptr<const CachedObject> object;
    uint64_t first = 0;
    uint64_t count = 0;
  };

  void look_for(uint64_t block, uint64_t begin, uint64_t end);
  void look_for_parts(uint64_t block, uint64_t begin, uint64_t end);
  bool find(
      const CachedObject& object, uint64_t index, uint64_t begin, uint64_t end, Found& found) const;
  void ask_for_rest(PartRange in_block, PartRange wanted);
  static void ask(std::vector<Asked>& list,
                  const std::shared_ptr<const CachedObject>& object,
                  uint64_t index);

  BlockShelf& shelf_;
  BlockFetcher& fetcher_;
  const std::shared_ptr<const CachedObject> object_;
  std::shared_ptr<const CachedObject> parts_;  // null: it has none, or none were needed yet
  const uint64_t offset_;
  const uint64_t size_bytes_;
  Found found_;
  std::vector<Asked> wanted_;
  std::vector<Asked> rest_;
};

}  // namespace atl::storage
