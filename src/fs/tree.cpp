#include "fs/tree.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/posix_metadata.h"
#include "storage/key.h"

namespace atl::fs {
namespace {

// Numbers made of paths, so that they are the same after a restart; those from the counter lie below.
constexpr InodeNumber kFirstPathNumber = InodeNumber{1} << 62;

// FNV-1a (Fowler, Noll, Vo), 64 bits.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

}  // namespace

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

timespec to_timespec(int64_t nanoseconds) {
  int64_t seconds = nanoseconds / kNanosecondsPerSecond;
  int64_t rest = nanoseconds % kNanosecondsPerSecond;
  if (rest < 0) {
    --seconds;
    rest += kNanosecondsPerSecond;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

int64_t to_nanoseconds(timespec time) {
  // Times that do not fit (beyond the year 2262) stop at the ends.
  constexpr int64_t kMaxSeconds = INT64_MAX / kNanosecondsPerSecond - 1;
  const int64_t seconds = std::clamp<int64_t>(time.tv_sec, -kMaxSeconds, kMaxSeconds);
  return seconds * kNanosecondsPerSecond + time.tv_nsec;
}

std::string join(std::string_view directory, std::string_view name) {
  return directory.empty() ? std::string(name) : fmt::format("{}/{}", directory, name);
}

bool is_below(std::string_view path, std::string_view top) {
  return top.empty() ||
         (path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/'));
}

std::string kernels_version(const Base& base) { return base.etag.empty() ? "here" : base.etag; }

std::string key_of(Kind kind, std::string_view path) {
  return kind == Kind::kDirectory ? fmt::format("{}/", path) : std::string(path);
}

Tree::Tree(std::shared_ptr<const Content::Shared> shared,
           std::shared_ptr<storage::Namespace> names,
           const FileLayerOptions& options)
    : shared_(std::move(shared)),
      names_(std::move(names)),
      options_(options),
      view_(shared_->remote, names_, options, now_ns()) {}

FsResult<NodePtr> Tree::node(InodeNumber number) const {
  auto node = nodes_.find(number);
  if (!node) return fail_fs(ESTALE, fmt::format("inode {}: nobody has looked it up", number));
  return node;
}

// What cannot be noted, as on a full disk, is noted another time.
void Tree::take_attributes(Row& row, const BucketEntry& found) {
  const auto noted = note_attributes(row, found);
  // Of a full disk one line is enough.
  if (!noted && !std::exchange(attributes_failed_, true)) {
    log("noting attributes that the bucket has: " + noted.error().reason);
  }
}

// Whether a clean row is still what the bucket has.
FsResult<bool> Tree::bears_out(const std::optional<BucketEntry>& found,
                               const Row& row,
                               const std::string& path) {
  if (row.kind == Kind::kDirectory) return true;
  if (found && found->row.known_etag == row.known_etag) return true;
  // A directory's objects that are still to go hide a file of the same name.
  return journal_->has_removals(path);
}

// A clean row's attributes follow the bucket's, which another machine may have changed. That gives the object of the same
// bytes no new ETag, nor is a directory looked at for one. With the lock; a transaction of its own.
FsResult<void> Tree::note_attributes(Row& row, const BucketEntry& found) {
  const Row& there = found.row;
  if (!found.metadata || row.dirty() || row.kind != there.kind) return {};
  if (row.kind != Kind::kDirectory && row.known_etag != there.known_etag) return {};
  // Of what we have written ourselves the row knows more.
  if (is_written_by(*found.metadata, ATOLL_TRY(journal_->name()), there.base.key)) return {};
  Row now = row;
  now.mode = there.mode;
  now.uid = there.uid;
  now.gid = there.gid;
  if (row.kind == Kind::kDirectory) {
    now.known_etag = there.known_etag;
    now.base = there.base;
  } else {
    now.modified_ns = there.modified_ns;
  }
  const Xattrs xattrs = row.xattrs_here ? ATOLL_TRY(journal_->xattrs(row.inode)) : Xattrs{};
  const bool others = row.xattrs_here && xattrs != read_xattrs(*found.metadata);
  if (now == row && !others) return {};
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), false));
  if (others) {
    for (const auto& [name, value] : xattrs) ATOLL_TRY(journal_->remove_xattr(row.inode, name));
    now.xattrs_here = false;  // they are the base's
  }
  now.changed_ns = now_ns();
  ATOLL_TRY(journal_->update(now));
  ATOLL_TRY(transaction.commit());
  attributes_failed_ = false;
  count_edit();
  row = std::move(now);
  return {};
}

FsResult<Entry> Tree::child(Lock& lock, const NodePtr& parent, std::string_view name) {
  if (name.size() > storage::kMaxComponentBytes) return fail_fs(ENAMETOOLONG);
  for (;;) {
    if (parent->unlinked) return fail_fs(ENOENT);
    const std::string path = join(NodeTable::path_of(*parent), name);
    if (!storage::check_key(path))
      return fail_fs(path.size() > storage::kMaxKeyBytes ? ENAMETOOLONG : ENOENT);
    const uint64_t folds = folds_;
    auto row = ATOLL_TRY(journal_->child(parent->number, name));
    if (row && row->kind == Kind::kGone) return fail_fs(ENOENT);
    if (row && row->dirty()) return Entry{std::move(*row), true};
    if (row) {
      const bool directory = row->kind == Kind::kDirectory;
      if (directory && std::chrono::steady_clock::now() < silent_until_) {
        return Entry{std::move(*row), true};
      }
      lock.unlock();
      const auto found = view_.find(path);
      lock.lock();
      // The next ones need not wait as long again, only to learn as little.
      if (!found && directory) silent_until_ = std::chrono::steady_clock::now() + kSilence;
      const auto again = ATOLL_TRY(journal_->row(row->inode));
      if (!again || *again != *row) continue;
      if (found && *found) take_attributes(*row, **found);
      // Where the bucket cannot be asked, the row is right. Whoever has the file open for writing will find out at the export.
      const auto node = nodes_.find(row->inode);
      if (!found || (node && node->writers > 0) || ATOLL_TRY(bears_out(*found, *row, path))) {
        return Entry{std::move(*row), true};
      }
      ATOLL_TRY(drop(*row));
      continue;
    }
    const auto parent_row = ATOLL_TRY(journal_->row(parent->number));
    const Kind parent_kind = parent_row ? parent_row->kind : parent->seen.kind;
    if (parent_kind != Kind::kDirectory) return fail_fs(ENOTDIR);
    if (parent_row && parent_row->opaque) return fail_fs(ENOENT);
    lock.unlock();
    auto found = view_.find(path);
    lock.lock();
    if (!found) return tl::unexpected(found.error());
    if (folds_ != folds || parent->unlinked || join(NodeTable::path_of(*parent), name) != path ||
        ATOLL_TRY(journal_->child(parent->number, name))) {
      continue;
    }
    if (!*found) return fail_fs(ENOENT);
    Entry entry{std::move((*found)->row), false};
    entry.row.name = name;
    return entry;
  }
}

FsResult<Entry> Tree::entry(Lock& lock, const NodePtr& node) {
  if (node->unlinked) return Entry{node->seen, false};
  if (node->number == kRoot) return Entry{*ATOLL_TRY(journal_->row(kRoot)), true};
  for (;;) {
    auto found = child(lock, node->parent, node->name);
    if (node->unlinked) return Entry{node->seen, false};
    if (!found) return found;
    // It may have been moved, or its name may be another file's by now.
    if (nodes_.child(node->parent->number, found->row.name) != node) continue;
    if (found->in_journal && found->row.inode != node->number) {
      return fail_fs(ESTALE, "the file is another one by now: " + NodeTable::path_of(*node));
    }
    if (!found->in_journal) node->seen = found->row;
    return found;
  }
}

FsResult<InodeNumber> Tree::number_of(const NodePtr& parent, const Entry& entry) {
  if (entry.in_journal) return entry.row.inode;
  if (const auto node = nodes_.child(parent->number, entry.row.name)) return node->number;
  return pick_number(join(NodeTable::path_of(*parent), entry.row.name));
}

InodeNumber Tree::usual_number(std::string_view path) {
  return kFirstPathNumber | (hash_of(path) & (kFirstPathNumber - 1));
}

FsResult<InodeNumber> Tree::pick_number(std::string_view path) {
  InodeNumber number = usual_number(path);
  while (nodes_.in_use(number) || ATOLL_TRY(journal_->row(number))) {
    number = kFirstPathNumber | ((number + 1) & (kFirstPathNumber - 1));
  }
  return number;
}

FsResult<NodePtr> Tree::adopt(const NodePtr& parent, const Entry& entry) {
  const Row& row = entry.row;
  auto node = nodes_.child(parent->number, row.name);
  if (node && entry.in_journal && node->number != row.inode) {
    // Something else was here before, and only the kernel still knows it.
    nodes_.unlink(node);
    node = nullptr;
  }
  if (!node && entry.in_journal) node = nodes_.find(row.inode);
  if (!node) {
    const InodeNumber number =
        entry.in_journal ? row.inode
                         : ATOLL_TRY(pick_number(join(NodeTable::path_of(*parent), row.name)));
    node = nodes_.add(parent, row.name, number);
  }
  if (!entry.in_journal) node->seen = row;
  return node;
}

Attributes Tree::attributes_of(const Node& node, const Row& row) const {
  Attributes attributes;
  attributes.inode = node.number;
  attributes.mode = row.mode;
  attributes.uid = row.uid;
  attributes.gid = row.gid;
  attributes.links = node.unlinked ? 0 : row.kind == Kind::kDirectory ? 2 : 1;
  attributes.size_bytes = row.size_bytes;
  int64_t modified_ns = row.modified_ns;
  int64_t changed_ns = row.changed_ns;
  if (node.content && node.content->unsaved()) {
    const auto state = node.content->state();
    attributes.size_bytes = state.size_bytes;
    modified_ns = state.modified_ns;
    changed_ns = std::max(changed_ns, modified_ns);
  } else if (node.content && node.unlinked) {
    attributes.size_bytes = node.content->size_bytes();
  }
  attributes.accessed = to_timespec(row.accessed_ns);
  attributes.modified = to_timespec(modified_ns);
  attributes.changed = to_timespec(changed_ns);
  return attributes;
}

std::shared_ptr<Content> Tree::content_in_use(InodeNumber inode) const {
  const auto found = contents_.find(inode);
  return found == contents_.end() ? nullptr : found->second.lock();
}

FsResult<std::shared_ptr<Content>> Tree::content(const NodePtr& node, const Row& row) {
  if (node->content) return node->content;
  if (auto content = content_in_use(node->number)) return content;
  LocalFile file;
  bool is_longer = false;
  if (row.has_content) {
    file = ATOLL_TRY(files().open(node->number));
    is_longer = ATOLL_TRY(files().size(file)) > row.size_bytes;
  }
  auto content = std::make_shared<Content>(
      shared_,
      Content::State{row.size_bytes, row.modified_ns, row.base, row.present, 0},
      std::move(file),
      is_longer);
  // Those that are gone are thrown out now and then.
  constexpr size_t kTidyFrom = 1024;
  if (contents_.size() >= kTidyFrom) {
    std::erase_if(contents_, [](const auto& item) { return item.second.expired(); });
  }
  contents_[node->number] = content;
  return content;
}

tl::unexpected<FsError> Tree::replaced(const Node& node) {
  return fail_fs(ESTALE,
                 NodeTable::path_of(node) +
                     ": the bucket's version has taken its place; what is written through a handle "
                     "from before goes nowhere");
}

FsResult<void> Tree::save(const NodePtr& node,
                          const std::shared_ptr<Content>& content,
                          bool durable) {
  {
    const auto looking = this->lock();
    if (node->unlinked) return {};
  }
  // The bytes first, then the note that they are there: what is written between the two is noted another time.
  Content::State state;
  Lock lock;
  for (;;) {
    state = content->state();
    ATOLL_TRY(content->sync());
    lock = this->lock();
    if (!content->unsaved() || content->may_be_noted(state)) break;
    lock.unlock();
  }
  if (node->unlinked) return {};
  if (content_in_use(node->number) != content) return replaced(*node);
  auto row = ATOLL_TRY(journal_->row(node->number));
  if (!row) return {};
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), durable));
  if (!content->unsaved()) {
    // An export has ended meanwhile, and noted it; what it sent is not to be sent again.
    ATOLL_TRY(journal_->next_number());
    ATOLL_TRY(transaction.commit());
    if (durable) went_to_disk();
    return {};
  }
  row->size_bytes = state.size_bytes;
  row->modified_ns = content->state().modified_ns;  // utimens(2) may have come
  row->changed_ns = std::max(row->changed_ns, row->modified_ns);
  row->base = state.base;
  row->present = state.present;
  row->has_content = true;
  row->content_dirty = true;
  row->change = ATOLL_TRY(journal_->next_number());
  ATOLL_TRY(journal_->update(*row));
  ATOLL_TRY(transaction.commit());
  if (durable) went_to_disk();
  content->saved(state.version);
  if (listener_.on_dirty) listener_.on_dirty({node->number});
  return {};
}

FsResult<uint64_t> Tree::sync_journal() {
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), true));
  ATOLL_TRY(journal_->next_number());
  ATOLL_TRY(transaction.commit());
  return went_to_disk();
}

uint64_t Tree::went_to_disk() {
  uint64_t freed = 0;
  for (const InodeNumber inode : to_remove_) freed += files().remove(inode);
  to_remove_.clear();
  std::erase_if(not_noted_, [&](InodeNumber inode) {
    const auto row = journal_->row(inode);
    if (!row) return false;
    const bool noted = *row && (*row)->has_content;
    if (!noted && content_in_use(inode)) return false;
    if (!noted) freed += files().remove(inode);
    return true;
  });
  return freed;
}

}  // namespace atl::fs
