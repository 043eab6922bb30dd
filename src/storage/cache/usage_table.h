// What is in the cache and when it was last used: a table of 16 bytes for each block, mapped by all
// processes of a machine from DIR/usage-BOOT, so that together they keep to one bound. The blocks
// themselves are the truth, the table is what is known of them: it is made again by counting what is
// there when it is missing, damaged or was not left in order, and from time to time; a machine that
// shares the directory with others learns of their doings that way.
//
// A machine's next boot has another table; it begins with what the one before knew.
//
// Using a block is noted without a lock. Everything that changes what is held happens under a lock
// (flock) that ends with its holder. Blocks that were given up stay in the table by name, without a file,
// until their place is needed: when such a block comes again, it is known how long it was away.
//
// Where no file can be mapped (no boot id, a full disk), the table is this process's own.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "storage/cache/file_operations.h"
#include "storage/cache/reuse.h"

namespace atl::storage {

struct UsageTableOptions {
  int directory = -1;
  std::string boot;  // names the machine's table; "": this process's own
  uint64_t max_bytes = 0;
};

// Thread safe.
class UsageTable {
 public:
  struct Block {
    uint64_t id = 0;
    uint64_t disk_bytes = 0;
  };
  enum class State : uint8_t { kGone, kWriting, kHeld };

  // Never fails. must_recount(): what the table says is not to be relied on yet.
  static std::unique_ptr<UsageTable> open(const UsageTableOptions& options, FileOperations& files);
  ~UsageTable();
  bool must_recount() const { return must_recount_; }
  bool is_shared() const { return lock_.get() >= 0; }

  // Room for a block that is about to be written: which others have to go, so that not more than
  // limit_bytes are held and at least free_more_bytes come back. Those count as gone; one whose file
  // cannot be removed is given back by hold(). Not granted: the block is not to be kept, but those named
  // are to go all the same.
  struct Room {
    bool granted = false;
    std::vector<Block> leaving;
  };
  Room make_room(Block block, uint64_t limit_bytes, uint64_t free_more_bytes);
  // Which have to go for not more than limit_bytes to be held.
  std::vector<Block> shrink(uint64_t limit_bytes);
  // The block that room was made for has its file, or does not get one.
  void end_writing(uint64_t id, bool kept);
  // A block's file is there: noted as used; taken in if it was not known. Where that pushes others out of
  // the table, their files are to go.
  std::vector<Block> use(Block block);
  std::vector<Block> hold(Block block);
  // A block's file is not there (any more).
  void lose(uint64_t id);

  bool holds(uint64_t id) const;
  // Of everything that is held or being written.
  uint64_t used_bytes() const;
  // What is held or being written in a shard of the names' first hexadecimal digit.
  void for_each(int shard, const std::function<void(uint64_t id, State state)>& visit) const;
  // Adds up again.
  void recount();
  // Whether another machine has this directory open, as far as its table's file shows: its holders sign
  // it, as this does. Tables that nobody has signed for a week are removed.
  bool is_shared_with_machines();
  // True for one caller in every `interval_ms` of all processes.
  bool due(uint64_t now_ms, uint64_t interval_ms);

 private:
  struct Shared;
  struct Slot;
  class Lock;

  UsageTable(int directory, std::string name, FileOperations& files)
      : directory_(directory), name_(std::move(name)), files_(files) {}
  bool map_file(uint64_t slots, uint64_t max_bytes);
  static uint64_t bytes_of(uint64_t slots);
  static uint64_t slots_in(uint64_t file_bytes);
  bool map(int fd, uint64_t slots);
  void inherit();
  void for_each_other_table(
      const std::function<void(const std::string& name, const struct stat& status)>& visit);
  void start(uint64_t max_bytes);
  bool looks_right() const;
  Slot* bucket_of(uint64_t id) const;
  Slot* find(uint64_t id) const;
  Slot* place_for(uint64_t id, std::vector<Block>& leaving);
  uint32_t now() const;
  Slot* least_worth();
  Block give_up(Slot& slot);
  bool give_up_bytes(uint64_t bytes, std::vector<Block>& leaving);
  void learn();
  ReuseTable<float> count_waiting() const;
  void insert(Block block, State state, std::vector<Block>& leaving);

  const int directory_;
  const std::string name_;  // of the file
  FileOperations& files_;
  std::mutex mutex_;
  UniqueFd file_;  // locked shared while this process lives
  UniqueFd lock_;  // locked for each change
  bool must_recount_ = true;
  uint64_t slots_count_ = 0;
  size_t mapped_bytes_ = 0;
  Shared* shared_ = nullptr;
  Slot* slots_ = nullptr;
  ReuseDensity density_;
  uint64_t learnt_at_bytes_ = 0;
};

}  // namespace atl::storage
