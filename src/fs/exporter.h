// Brings the bucket to what the journal says: contents after close, attributes, removals. In the
// background, tried again until it works; a failure costs nothing but time.
//
// An object is written only over the version that we know (If-Match, If-None-Match); where the bucket has
// another one by now, that is a conflict, and the policy decides. Each write carries a tag of its own, so
// one whose answer was lost in a crash is known again and is no conflict.
//
// Before an object is replaced or removed, whatever still takes its bytes from it (a file that was renamed
// and not exported yet, an unlinked file that is open) is exported first or fetched.
//
// Thread safe. Called without the tree's lock, but for the note…() members and was_tried().
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fs/changes.h"
#include "fs/late_writes.h"
#include "fs/tree.h"

namespace atl::fs {

// Keys that are being written or removed, and the how manieth claim of all that is.
using BusyKeys = std::map<std::string, uint64_t, std::less<>>;

class Exporter {
 public:
  Exporter(Tree& tree, Changes& changes);
  ~Exporter() { stop(); }
  // Begins with what an earlier process left; once the tree has its listener.
  void start();
  // Waits for what is under way.
  void stop();

  // There is something to do.
  void note_dirty(const std::vector<InodeNumber>& inodes);
  void note_removals();

  // Whether the bucket may have got an object from this row that the journal does not know of.
  bool was_tried(InodeNumber inode);

  // The target of a symlink that has none in its row; of the row as it is by then, where an export changes it.
  FsResult<std::string> read_target(Row row);
  FsError why_lost(const Base& base, FsError lost);
  // For a content whose bytes are not where they should be (ESTALE, ENOENT): a write of our own has replaced their object,
  // and its answer never came, since the process died or a writer stopped it. What is missing here is then in the new
  // object, at the same place, and is taken from there. `inode`: of its row, if it has one; without a
  // content, what the row says is looked at. False: it was not so.
  FsResult<bool> follow_own_write(const std::shared_ptr<Content>& content,
                                  std::optional<InodeNumber> inode);

  // Waits for one file, open or not, also where another export is at it. EBUSY where it is being written to all the
  // time; EINTR.
  FsResult<void> export_file(InodeNumber inode, const std::stop_token& stop);
  // Everything below the path.
  Result<Progress> export_below(std::string_view path,
                                std::stop_token stop,
                                const OnProgress& progress);

  // Kept contents go, the oldest first, until `bytes` are free or none is left. Gives what was freed.
  FsResult<uint64_t> free_kept(uint64_t bytes);
  LayerCounts counts();

 private:
  using Clock = std::chrono::steady_clock;
  // How far an export has come.
  enum class Outcome { kDone, kBusy };
  struct Job;

  // ---- exporter.cpp: the queue
  void work();
  void work_on_removals();
  std::optional<InodeNumber> take(std::unique_lock<std::mutex>& lock);
  void put_back(InodeNumber inode, FsResult<Outcome> outcome);
  // What the process before may have sent.
  FsResult<void> note_late_writes();
  // Until what is being written or removed there now has been.
  void wait_for_writes(std::string_view path, const std::stop_token& stop);
  void log(const std::string& line);

  // ---- export_row.cpp: one row
  FsResult<Outcome> export_row(InodeNumber inode, bool insist, std::vector<InodeNumber>& above);
  FsResult<bool> prepare(Job& job, std::vector<InodeNumber>& above);
  Result<storage::Metadata> metadata_of(const Job& job);
  Result<storage::ObjectInfo> send(Job& job);
  Result<storage::ObjectInfo> copy(Job& job);
  FsResult<void> finish(Job& job, const storage::ObjectInfo& info);
  FsResult<void> finish_elsewhere(const Job& job, const storage::ObjectInfo& info);
  FsResult<void> keep_within_limit();

  // ---- detach.cpp
  FsResult<void> free_key(const Job& job, std::vector<InodeNumber>& above);
  FsResult<void> keep_xattrs(InodeNumber inode, const std::string& key);
  FsResult<void> detach(InodeNumber inode, const std::string& key);
  FsResult<void> settle_lost(InodeNumber inode, const std::string& key);
  FsResult<bool> detach_content(const NodePtr& node,
                                const std::shared_ptr<Content>& content,
                                const std::string& key,
                                bool written_here);
  FsResult<void> fetch_all(const std::shared_ptr<Content>& content,
                           std::optional<InodeNumber> inode);
  FsResult<void> detach_orphan(const std::shared_ptr<Content>& content, const std::string& key);

  // ---- conflicts.cpp. True: try again.
  FsResult<bool> settle_conflict(Job& job, const Error& error);
  FsResult<std::optional<Row>> row_still_there(const Job& job);
  FsResult<std::optional<Row>> row_as_judged(const Job& job);
  void move_base(const Job& job, Row& row, const std::string& etag);
  void take_base(const Job& job, Row& row, const storage::RemoteObject& object);
  void tell_conflict(const std::string& line);
  FsResult<bool> settle_lost_base(Job& job, const Error& error);
  FsResult<void> note_in_names(const std::string& key, const storage::RemoteObject* object);
  FsResult<bool> give_way(Job& job, const storage::RemoteObject* object);
  FsResult<void> move_aside(Job& job);

  // ---- removals.cpp
  // Until nothing below the path is to go any more.
  FsResult<void> remove_below(std::string_view path, const std::stop_token& stop);
  FsResult<std::vector<Removal>> removals_below(std::string_view path);
  // A walk over all removals, a batch at a time. What of them cannot go holds up none of the others.
  struct RemovalWalk {
    std::string after;
    std::optional<FsError> failure;
  };
  // Whether there was anything to do; what cannot go yet is left out.
  FsResult<bool> remove_some(std::string_view prefix, RemovalWalk& walk);
  FsResult<std::vector<Removal>> removable(std::vector<Removal> removals, RemovalWalk& walk);
  Result<std::vector<std::optional<storage::ObjectInfo>>> found(
      const std::vector<Removal>& removals);
  Result<std::vector<Removal>> unchanged(std::vector<Removal>& removals, RemovalWalk& walk);
  FsResult<void> finish_removals(const std::vector<Removal>& all, const std::vector<Removal>& gone);

  Tree& tree_;
  Changes& changes_;
  storage::Remote& remote_;
  const FileLayerOptions& options_;
  std::string host_;

  std::mutex mutex_;  // taken after the tree's lock, never before
  std::condition_variable_any changed_;
  std::deque<InodeNumber> ready_;
  std::set<InodeNumber> queued_;   // in ready_ or later_
  std::set<InodeNumber> running_;  // by a worker; what is noted meanwhile is queued again
  std::multimap<Clock::time_point, InodeNumber> later_;
  std::map<InodeNumber, int> failures_;
  BusyKeys busy_keys_;  // being written or removed
  LateWrites late_writes_;
  std::set<InodeNumber> tried_;  // dirty rows whose export began, perhaps in an earlier process
  bool removals_wanted_ = false;
  LayerCounts counts_;

  std::mutex removing_;  // one batch at a time
  std::stop_source stop_;
  std::vector<std::thread> threads_;
};

}  // namespace atl::fs
