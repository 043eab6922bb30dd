// The blocks on disk and the account of them, together: finding, keeping, giving up. Nothing here waits
// for a network, and nothing here fails a read: what the disk does not give or take is as if it were not
// there.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "storage/cache/block_files.h"
#include "storage/cache/usage_table.h"

namespace atl::storage {

struct BlockShelfOptions {
  std::string directory;
  uint64_t block_bytes = 0;
  uint64_t max_bytes = 0;
  uint64_t min_free_bytes = 0;
  std::string boot;    // names what the processes of this machine share; "": nothing
  std::string writer;  // names this process
};

// Thread safe.
class BlockShelf {
 public:
  static Result<std::unique_ptr<BlockShelf>> open(const BlockShelfOptions& options,
                                                  FileOperations& files);

  // The bytes [offset, offset + size) of the block; a use, where it is there.
  std::optional<Blob> find(const CachedObject& object,
                           uint64_t index,
                           uint64_t offset,
                           uint64_t size_bytes,
                           BlockFiles::By by = BlockFiles::By::kPageCache);
  // False: it is not kept. To be called by one process at a time for a block.
  bool keep(const CachedObject& object, uint64_t index, std::span<const std::byte> data);
  // As far as the table of use knows, without a look at the disk.
  bool holds(const CachedObject& object, uint64_t index) const;
  // Of blocks and, where a block is not there, of its parts.
  uint64_t held_bytes(const CachedObject& object) const;
  // Blocks and parts. False: some could not be removed.
  bool release(const CachedObject& object);
  bool release_all();

  // Holds the account against what is there. `is_being_written`: by a process that lives.
  void recount(const std::function<bool(uint64_t id)>& is_being_written);
  // True for one process of this machine, when it is time for that: now and then, so that the account
  // does not drift; often, where other machines add and remove blocks, too.
  bool recount_is_due(uint64_t now_ms);

  uint64_t used_bytes() const { return table_->used_bytes(); }
  uint64_t corrupt() const { return corrupt_.load(); }
  uint64_t evicted() const { return evicted_.load(); }
  uint64_t not_kept() const { return not_kept_.load(); }
  BlockFiles& files() { return *files_; }

 private:
  static constexpr uint64_t kLookEvery_ms = 30'000;
  static constexpr uint64_t kLooksPerRecount = 20;

  explicit BlockShelf(BlockShelfOptions options) : options_(std::move(options)) {}
  bool make_room(UsageTable::Block block);
  bool remove_blocks(const CachedObject& object);
  bool remove_all(const std::vector<UsageTable::Block>& leaving);
  // How much more has to come back so that others have their share, this block written.
  uint64_t missing_free_bytes(uint64_t disk_bytes);

  const BlockShelfOptions options_;
  std::unique_ptr<BlockFiles> files_;
  std::unique_ptr<UsageTable> table_;
  std::atomic<uint64_t> looks_{0};
  std::atomic<uint64_t> corrupt_{0};
  std::atomic<uint64_t> evicted_{0};
  std::atomic<uint64_t> not_kept_{0};
};

}  // namespace atl::storage
