#include "storage/cache/block_shelf.h"

#include <fcntl.h>
#include <sys/file.h>

#include <unordered_map>

#include "storage/cache/block_parts.h"

namespace atl::storage {

Result<std::unique_ptr<BlockShelf>> BlockShelf::open(const BlockShelfOptions& options,
                                                     FileOperations& files) {
  std::unique_ptr<BlockShelf> shelf(new BlockShelf(options));
  shelf->files_ =
      ATOLL_TRY(BlockFiles::open(options.directory, options.writer, options.block_bytes, files));
  // One after the other: the first counts what is there, and the next ones find it counted. Where there
  // are no locks, each counts for itself.
  const UniqueFd opening(files.open(shelf->files_->directory(), "temporary", O_RDONLY));
  if (opening) ::flock(opening.get(), LOCK_EX);
  shelf->table_ =
      UsageTable::open({shelf->files_->directory(), options.boot, options.max_bytes}, files);
  if (shelf->table_->must_recount()) {
    shelf->recount([](uint64_t) { return false; });
  }
  shelf->remove_all(shelf->table_->shrink(options.max_bytes));
  return shelf;
}

std::optional<Blob> BlockShelf::find(const CachedObject& object,
                                     uint64_t index,
                                     uint64_t offset,
                                     uint64_t size_bytes,
                                     BlockFiles::By by) {
  const uint64_t id = object.block_id(index);
  BlockFiles::Read read = files_->read(object, index, offset, size_bytes, by);
  if (read.found == BlockFiles::Found::kYes) {
    remove_all(table_->use({id, disk_bytes_of(object, index)}));
    return std::move(read.bytes);
  }
  if (read.found == BlockFiles::Found::kDamaged) corrupt_.fetch_add(1);
  table_->lose(id);
  return std::nullopt;
}

bool BlockShelf::keep(const CachedObject& object, uint64_t index, std::span<const std::byte> data) {
  const uint64_t id = object.block_id(index);
  bool kept = false;
  if (object.can_be_kept() && make_room({id, disk_bytes_of(object, index)})) {
    kept = files_->write(object, index, data);
    table_->end_writing(id, kept);
  }
  if (!kept) not_kept_.fetch_add(1);
  return kept;
}

bool BlockShelf::make_room(UsageTable::Block block) {
  const auto room =
      table_->make_room(block, options_.max_bytes, missing_free_bytes(block.disk_bytes));
  const bool removed = remove_all(room.leaving);
  if (!room.granted) return false;
  // Somebody else may be filling the disk, too.
  if (removed && (room.leaving.empty() || missing_free_bytes(block.disk_bytes) == 0)) return true;
  table_->end_writing(block.id, false);
  return false;
}

bool BlockShelf::remove_all(const std::vector<UsageTable::Block>& leaving) {
  bool all = true;
  for (const auto& block : leaving) {
    if (files_->remove(block.id)) {
      evicted_.fetch_add(1);
    } else {
      table_->hold(block);
      all = false;
    }
  }
  return all;
}

uint64_t BlockShelf::missing_free_bytes(uint64_t disk_bytes) {
  const auto free = files_->free_bytes();
  const uint64_t wanted = options_.min_free_bytes + disk_bytes;
  return !free || *free >= wanted ? 0 : wanted - *free;
}

bool BlockShelf::holds(const CachedObject& object, uint64_t index) const {
  return table_->holds(object.block_id(index));
}

uint64_t BlockShelf::held_bytes(const CachedObject& object) const {
  const auto parts = parts_of(object);
  uint64_t bytes = 0;
  for (uint64_t index = 0; index < object.blocks(); ++index) {
    if (holds(object, index)) {
      bytes += object.data_bytes(index);
    } else if (parts) {
      const PartRange in_block = parts_of_block(object, index);
      for (uint64_t part = in_block.first; part < in_block.first + in_block.count; ++part) {
        if (holds(*parts, part)) bytes += parts->data_bytes(part);
      }
    }
  }
  return bytes;
}

bool BlockShelf::release(const CachedObject& object) {
  const bool blocks = remove_blocks(object);
  const auto parts = parts_of(object);
  return (!parts || remove_blocks(*parts)) && blocks;
}

bool BlockShelf::remove_blocks(const CachedObject& object) {
  bool all = true;
  for (uint64_t index = 0; index < object.blocks(); ++index) {
    const uint64_t id = object.block_id(index);
    if (files_->remove(id)) {
      table_->lose(id);
    } else {
      all = false;
    }
  }
  return all;
}

bool BlockShelf::release_all() {
  bool all = true;
  for (int shard = 0; shard < BlockFiles::kShards; ++shard) {
    files_->list(shard, [&](uint64_t id, uint64_t) {
      if (files_->remove(id)) {
        table_->lose(id);
      } else {
        all = false;
      }
    });
  }
  return all;
}

bool BlockShelf::recount_is_due(uint64_t now_ms) {
  if (!table_->due(now_ms, kLookEvery_ms)) return false;
  return table_->is_shared_with_machines() || looks_.fetch_add(1) % kLooksPerRecount == 1;
}

void BlockShelf::recount(const std::function<bool(uint64_t id)>& is_being_written) {
  for (int shard = 0; shard < BlockFiles::kShards; ++shard) {
    std::unordered_map<uint64_t, uint64_t> there;
    files_->list(shard, [&](uint64_t id, uint64_t disk_bytes) { there.emplace(id, disk_bytes); });
    // What came or went since the listing is looked at again, so that nothing right is undone.
    std::vector<uint64_t> lost;
    table_->for_each(shard, [&](uint64_t id, UsageTable::State state) {
      const bool is_there = there.erase(id) > 0 || files_->is_there(id);
      if (!is_there && (state == UsageTable::State::kHeld || !is_being_written(id))) {
        lost.push_back(id);
      }
    });
    for (const uint64_t id : lost) {
      table_->end_writing(id, false);
      table_->lose(id);
    }
    for (const auto& [id, disk_bytes] : there) {
      if (files_->is_there(id)) remove_all(table_->hold({id, disk_bytes}));
    }
  }
  table_->recount();
}

}  // namespace atl::storage
