// The tree that users see: the journal's rows over the bucket's names, with inode numbers.
//
// One lock guards the journal and the nodes. What needs the network is asked for without it, and taken
// only if nothing has come between: so a lookup that waits for a LIST holds up nobody.
//
// Rows that are neither dirty nor needed for what lies below them are folded away: the bucket has it all.
// A file's row stays as long as its content is kept here, and falls when the bucket has another version.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/bucket_view.h"
#include "fs/content.h"
#include "fs/journal.h"
#include "fs/local_files.h"
#include "fs/node_table.h"

namespace atl::fs {

// What is at a place.
struct Entry {
  Row row;
  bool in_journal = false;
};

class Tree {
 public:
  using Lock = std::unique_lock<std::mutex>;
  // What an operation left to be done in the background.
  struct Listener {
    std::function<void(const std::vector<InodeNumber>& dirty)> on_dirty;
    std::function<void()> on_removals;
    std::function<bool(InodeNumber)> was_tried;  // Exporter's
    // The bucket's version has taken the place of what the kernel may still have.
    std::function<void(const FileLayer::Change&)> on_change;
  };

  // Makes or replays the journal; opens what it says. `options` outlives the tree.
  static FsResult<std::unique_ptr<Tree>> open(std::shared_ptr<const Content::Shared> shared,
                                              std::shared_ptr<storage::Namespace> names,
                                              const FileLayerOptions& options);

  Lock lock() { return Lock(mutex_); }
  void listen(Listener listener) { listener_ = std::move(listener); }
  const Listener& listener() const { return listener_; }
  const FileLayerOptions& options() const { return options_; }
  // The rest with the lock held, but where a Lock is handed over and may be let go of meanwhile.
  Journal& journal() { return *journal_; }
  NodeTable& nodes() { return nodes_; }
  BucketView& view() { return view_; }
  storage::Namespace& names() { return *names_; }
  const LocalFiles& files() const { return *shared_->files; }
  const Content::Shared& shared() const { return *shared_; }

  // ---- looking -------------------------------------------------------------------------------
  FsResult<NodePtr> node(InodeNumber number) const;  // ESTALE
  // ENOENT where nothing is there, ENOTDIR, ENAMETOOLONG.
  FsResult<Entry> child(Lock& lock, const NodePtr& parent, std::string_view name);
  FsResult<Entry> entry(Lock& lock, const NodePtr& node);
  // The next entries of a directory, at most about kBatch; empty at the end. Takes the lock itself.
  FsResult<std::vector<Entry>> next_entries(const NodePtr& directory, std::string_view after);
  // The node of what child() or next_entries() found.
  FsResult<NodePtr> adopt(const NodePtr& parent, const Entry& entry);
  // The number that adopt() would give.
  FsResult<InodeNumber> number_of(const NodePtr& parent, const Entry& entry);
  // The same for most of what the bucket has, without asking the journal; for a guess at the order of many.
  static InodeNumber usual_number(std::string_view path);
  // A number for a new row at `path`.
  FsResult<InodeNumber> pick_number(std::string_view path);
  // With what an open handle has written and the journal does not have yet.
  Attributes attributes_of(const Node& node, const Row& row) const;
  // As many as have been folded away or dropped: where it stays the same, so does what the bucket's names
  // were found to mean.
  uint64_t folds() const { return folds_; }
  // The same of all changes.
  uint64_t edits() const { return edits_ + folds_; }
  void count_edit() { ++edits_; }

  // ---- contents ------------------------------------------------------------------------------
  // The one Content of this inode.
  FsResult<std::shared_ptr<Content>> content(const NodePtr& node, const Row& row);
  std::shared_ptr<Content> content_in_use(InodeNumber inode) const;
  // For a content that is the node's no more.
  static tl::unexpected<FsError> replaced(const Node& node);
  // Writes the row's state of the content into the journal. `durable`: first to the disk. ESTALE where the content is the
  // node's no more.
  FsResult<void> save(const NodePtr& node, const std::shared_ptr<Content>& content, bool durable);

  // A content of another version than `base`, of which nothing is to be exported, gives way: from now on only its handles
  // have it.
  void part_from_other_version(InodeNumber inode, const Base& base);
  // Whatever is in use gives way.
  void part(InodeNumber inode);
  // The content is no row's any more; only handles have it.
  void orphan(InodeNumber inode);
  // Nobody needs to wait for it any more.
  void forget_orphan(const std::shared_ptr<Content>& content);
  // Of these, what still reads from the object `key`.
  std::vector<std::shared_ptr<Content>> orphans_based_on(std::string_view key) const;

  // Gives up the local content of a clean file that nobody has open.
  FsResult<void> release_kept(InodeNumber inode);
  // No row has this local content any more. Its file goes when that is on the disk: after a power failure the row may be back.
  void remove_later(InodeNumber inode) { to_remove_.insert(inode); }
  // A local file that the journal could not be told of: it goes when nobody uses it and the journal still does not have it.
  void remove_unless_noted(InodeNumber inode) { not_noted_.insert(inode); }
  bool has_to_remove() const { return !to_remove_.empty(); }
  bool has_to_remove(InodeNumber inode) const { return to_remove_.contains(inode); }
  // Every transaction before this one is on the disk when it ends, and what was to be removed then is. Gives its bytes.
  FsResult<uint64_t> sync_journal();
  // What follows a durable commit. Gives the bytes of what was to be removed.
  uint64_t went_to_disk();
  // Of a symlink that has none in its row. Without the lock.
  FsResult<std::string> read_target(const Row& row) const;

  // ---- rows that are no longer needed ------------------------------------------------------------
  // Inside a transaction: erases the row if the bucket has it all, and then perhaps its parent.
  FsResult<void> fold(InodeNumber inode);
  // A transaction of its own: the row of a file gives way to what the bucket has, and its local content
  // goes. Handles that are open keep what they have.
  FsResult<void> drop(const Row& row);
  // Inside a transaction: what was there only to hide `path` until its object had been removed.
  FsResult<void> fold_above(std::string_view path);
  FsResult<std::string> path_of(const Row& row);
  FsResult<std::optional<Row>> row_at(std::string_view path);
  FsResult<NodePtr> node_of_row(InodeNumber inode);
  // Inside a transaction: an opaque directory in which nothing is to be hidden any more.
  FsResult<void> reveal(Row directory);
  // The same of all that are opaque for nothing, as a renaming leaves them that comes to no end. A transaction of its own.
  FsResult<void> reveal_all();
  void log(const std::string& line) const;

  static constexpr size_t kBatch = 512;

 private:
  Tree(std::shared_ptr<const Content::Shared> shared,
       std::shared_ptr<storage::Namespace> names,
       const FileLayerOptions& options);
  FsResult<void> replay();
  FsResult<void> replay_content(const Row& row);
  FsResult<void> give_up_content(Row row);
  FsResult<bool> bears_out(const std::optional<BucketEntry>& found,
                           const Row& row,
                           const std::string& path);
  void take_attributes(Row& row, const BucketEntry& found);
  FsResult<void> note_attributes(Row& row, const BucketEntry& found);

  std::shared_ptr<const Content::Shared> shared_;
  std::shared_ptr<storage::Namespace> names_;
  const FileLayerOptions& options_;
  Listener listener_;
  std::mutex mutex_;
  std::unique_ptr<Journal> journal_;
  NodeTable nodes_;
  BucketView view_;
  std::unordered_map<InodeNumber, std::weak_ptr<Content>> contents_;
  std::vector<std::weak_ptr<Content>> orphans_;
  std::set<InodeNumber> to_remove_;
  std::set<InodeNumber> not_noted_;
  // Directories' rows are believed without a question meanwhile, for the bucket has not answered the last one.
  static constexpr std::chrono::seconds kSilence{60};
  std::chrono::steady_clock::time_point silent_until_;
  bool attributes_failed_ = false;  // to be noted, since the last that could be
  std::atomic<uint64_t> folds_ = 0;
  std::atomic<uint64_t> edits_ = 0;
};

int64_t now_ns();
timespec to_timespec(int64_t nanoseconds);
int64_t to_nanoseconds(timespec time);
// The key of what is at `path`.
std::string key_of(Kind kind, std::string_view path);
// What Node::kernel_has calls the version of this base; a file that was made here has none until it is exported.
std::string kernels_version(const Base& base);
std::string join(std::string_view directory, std::string_view name);
// Whether the path or key is `top` or lies below it; "" is above all.
bool is_below(std::string_view path, std::string_view top);

}  // namespace atl::fs
