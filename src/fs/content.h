// The bytes of one file that somebody has open or that differ from the bucket's: local where they have
// been written or fetched, the bucket's elsewhere. All handles of a file share one.
//
// Below base.limit a byte is local where `present` says so, and the base object's otherwise. From there
// on the local file is right as it is: what was never written is a hole and reads as zeros.
//
// Thread safe. The lock is held for system calls on the local file, never for the network.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "fs/block_memory.h"
#include "fs/journal.h"
#include "fs/local_files.h"

namespace atl::fs {

class Content {
 public:
  // What all contents of a layer share.
  struct Shared {
    std::shared_ptr<storage::Remote> remote;
    std::shared_ptr<storage::BlockCache> cache;
    std::shared_ptr<BlockMemory> memory;
    std::shared_ptr<const LocalFiles> files;
  };
  struct State {
    uint64_t size_bytes = 0;
    int64_t modified_ns = 0;
    Base base;
    Extents present;
    uint64_t version = 0;  // another number after each change
  };

  // `file`: null where no byte is local. `is_longer`: it holds more than the state says, bytes that were cut off or
  // never noted.
  Content(std::shared_ptr<const Shared> shared, State state, LocalFile file, bool is_longer = false)
      : shared_(std::move(shared)),
        state_(std::move(state)),
        file_(std::move(file)),
        tail_is_garbage_(is_longer) {}

  State state() const;
  uint64_t size_bytes() const;
  LocalFile file() const;
  // Where there has been none. It is for what is fetched; before it is written to, set_writable().
  void set_file(LocalFile file);
  // The journal has it as changed from now on, with this local file.
  void set_writable(LocalFile file);
  bool writable() const;

  // `ahead`: the handle's; null: no read-ahead.
  FsResult<FileBytes> read(uint64_t offset, uint64_t size_bytes, ReadAhead* ahead);
  // `offset` nullopt: at the end. Gives where it wrote and how much. EAGAIN: the journal must first know
  // that this content is going to change (set_writable).
  FsResult<Range> write(std::optional<uint64_t> offset,
                        std::span<const std::byte> bytes,
                        int64_t now_ns);
  // Returns when no export is at it. None begins while the tree's lock is held.
  void stop_export();
  bool exporting() const;
  // Not during an export. In two steps, because the journal must know of a cut before it is made:
  // `journal` is called with the state as it will be, and whether bytes of the local file go then.
  using JournalSize = std::function<FsResult<void>(const State&, bool cuts)>;
  FsResult<void> set_size(uint64_t size_bytes, int64_t now_ns, const JournalSize& journal);
  // Most of the bytes that set_size() will have to get to the disk first, without the tree's lock.
  FsResult<void> sync_before(uint64_t size_bytes);
  void set_modified(int64_t modified_ns);
  // Fetches what is not here yet. Needs a file.
  FsResult<void> fetch_all(const std::stop_token& stop);
  // The object `key` is not needed any more: all bytes are here. `force`: what is missing is zeros from now on.
  // False where bytes are missing, and where it is the base no more.
  bool clear_base(std::string_view key, bool force);
  // What is missing here is to be had from another object or version now, at the same place. Gives the state after it.
  State moved_base(const Base& from, std::string key, std::string etag, uint64_t size_bytes);
  FsResult<void> sync();

  // Whether the journal has this state; saved(v): it has the version v.
  bool unsaved() const;
  void saved(uint64_t version);
  // Whether the journal may be given this earlier state: neither a cut nor another base has come since.
  bool may_be_noted(const State& earlier) const;
  // The same as unsaved(), of the bytes and the disk.
  bool unsynced() const;
  // The node's no more: another version has taken its place. Its handles keep it, and get nothing from any other one.
  void give_way() { gave_way_ = true; }
  bool gave_way() const { return gave_way_; }

  // While an export lasts, writers wait; their coming stops it, unless `insist`. Null where another export
  // is at it. To be called with the tree's lock held.
  class Export;
  std::unique_ptr<Export> begin_export(bool insist);

 private:
  void wait_for_export(std::unique_lock<std::mutex>& lock);
  FsResult<FileBytes> read_pieces(const std::vector<Extents::Piece>& pieces,
                                  Range range,
                                  const Base& base,
                                  const LocalFile& file,
                                  ReadAhead* ahead);
  FsResult<storage::Blob> read_base(const Base& base, Range range, ReadAhead* ahead);
  bool has_moved(const Base& base, const FsError& error) const;
  FsResult<bool> must_sync_before(uint64_t size_bytes) const;

  std::shared_ptr<const Shared> shared_;
  mutable std::mutex mutex_;
  std::condition_variable export_ended_;
  State state_;
  LocalFile file_;
  uint64_t saved_version_ = 0;
  uint64_t synced_version_ = 0;
  bool tail_is_garbage_ = false;  // the file could not be cut to its size
  bool writable_ = false;
  std::atomic<bool> gave_way_ = false;
  bool exporting_ = false;
  bool insisting_ = false;
  std::stop_source stop_export_;
  std::mutex ahead_mutex_;  // of the handles' ReadAhead
};

class Content::Export {
 public:
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;
  ~Export();  // ends it

  const State& state() const { return state_; }
  std::stop_token stop() const { return stop_; }
  // The object has exactly this state's bytes now.
  State done(const std::string& key, const std::string& etag);

 private:
  friend class Content;
  Export(Content& content, State state, std::stop_token stop)
      : content_(content), state_(std::move(state)), stop_(std::move(stop)) {}
  Content& content_;
  State state_;
  std::stop_token stop_;
};

}  // namespace atl::fs
