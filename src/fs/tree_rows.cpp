// The tree's rows: read at the start, merged with the bucket's names, folded away when the bucket has all.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "fs/tree.h"

namespace atl::fs {

FsResult<std::unique_ptr<Tree>> Tree::open(std::shared_ptr<const Content::Shared> shared,
                                           std::shared_ptr<storage::Namespace> names,
                                           const FileLayerOptions& options) {
  const std::string identity = shared->remote->identity();
  std::unique_ptr<Tree> tree(new Tree(std::move(shared), std::move(names), options));
  tree->journal_ = ATOLL_TRY(Journal::open(options.directory + "/journal.db", identity));
  ATOLL_TRY(tree->replay());
  return tree;
}

void Tree::log(const std::string& line) const {
  if (options_.log) options_.log(line);
}

FsResult<void> Tree::replay() {
  if (!ATOLL_TRY(journal_->row(kRoot))) {
    Row root = view_.defaults(Kind::kDirectory);
    root.inode = kRoot;
    auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), false));
    ATOLL_TRY(journal_->insert(root));
    ATOLL_TRY(transaction.commit());
  }
  nodes_.root()->seen = *ATOLL_TRY(journal_->row(kRoot));
  std::set<InodeNumber> with_content;
  for (const InodeNumber inode : ATOLL_TRY(journal_->rows_with_content())) {
    with_content.insert(inode);
    ATOLL_TRY(replay_content(*ATOLL_TRY(journal_->row(inode))));
  }
  ATOLL_TRY(reveal_all());
  // What the journal says now has to be on the disk before files go because of it.
  ATOLL_TRY(sync_journal());
  return files().tidy([&](InodeNumber inode) { return with_content.contains(inode); });
}

FsResult<void> Tree::replay_content(const Row& row) {
  const auto file = files().open(row.inode);
  const bool all_from_base = row.present.empty() && row.size_bytes <= row.base.limit;
  if (!file && file.error().error_number == ENOENT && row.dirty() && all_from_base) {
    // It was made, nothing was noted in it, and the disk had the journal before its name.
    ATOLL_TRY(files().create(row.inode));
    return {};
  }
  if (!file && file.error().error_number == ENOENT) {
    const std::string path = ATOLL_TRY(path_of(row));
    log(fmt::format("{}: its local content is gone from {}: somebody has removed it there",
                    path,
                    files().directory()));
    if (row.dirty()) return {};
    return give_up_content(row);  // the bucket has it, too
  }
  if (!file) return tl::unexpected(file.error());
  // What was written behind the end and never noted must not come back when the file grows.
  if (ATOLL_TRY(files().size(*file)) > row.size_bytes) {
    ATOLL_TRY(files().set_size(*file, row.size_bytes));
  }
  // The process before may have noted what the disk does not have yet; the export takes it for kept.
  return row.content_dirty ? files().sync(*file) : FsResult<void>{};
}

// A transaction of its own.
FsResult<void> Tree::give_up_content(Row row) {
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), false));
  row.has_content = false;
  row.present.clear();
  ATOLL_TRY(journal_->update(row));
  ATOLL_TRY(fold(row.inode));
  return transaction.commit();
}

FsResult<std::string> Tree::path_of(const Row& row) {
  std::string path = row.name;
  for (InodeNumber parent = row.parent; parent != kRoot && parent != 0;) {
    const auto above = ATOLL_TRY(journal_->row(parent));
    if (!above) return fail_fs(EIO, "journal: a row without a parent: " + path);
    path = join(above->name, path);
    parent = above->parent;
  }
  return path;
}

FsResult<std::optional<Row>> Tree::row_at(std::string_view path) {
  auto row = ATOLL_TRY(journal_->row(kRoot));
  while (row && !path.empty()) {
    const size_t slash = path.find('/');
    row = ATOLL_TRY(journal_->child(row->inode, path.substr(0, slash)));
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return row;
}

FsResult<NodePtr> Tree::node_of_row(InodeNumber inode) {
  if (inode == kRoot) return nodes_.root();
  if (auto node = nodes_.find(inode)) return node;
  const auto row = ATOLL_TRY(journal_->row(inode));
  if (!row) return fail_fs(EIO, fmt::format("journal: no row {}", inode));
  const NodePtr parent = ATOLL_TRY(node_of_row(row->parent));
  return adopt(parent, Entry{*row, true});
}

FsResult<void> Tree::release_kept(InodeNumber inode) {
  auto row = ATOLL_TRY(journal_->row(inode));
  const auto node = nodes_.find(inode);
  if (!row || row->dirty() || !row->has_content || (node && node->opens > 0) ||
      content_in_use(inode)) {
    return {};
  }
  ATOLL_TRY(give_up_content(*row));
  remove_later(inode);
  return {};
}

FsResult<std::string> Tree::read_target(const Row& row) const {
  constexpr uint64_t kMaxTarget = 4095;  // PATH_MAX without its NUL
  if (row.base.limit == 0 || row.base.limit > kMaxTarget) {
    return fail_fs(EIO, row.base.key + ": no length for a symlink's target");
  }
  Content content(shared_, {row.base.limit, 0, row.base, {}, 0}, nullptr);
  const auto bytes = ATOLL_TRY(content.read(0, row.base.limit, nullptr));
  std::string target(bytes.blob.text());
  if (target.find('\0') != std::string::npos) {
    return fail_fs(EIO, row.base.key + ": a symlink's target with a NUL");
  }
  return target;
}

FsResult<void> Tree::fold(InodeNumber inode) {
  while (inode != kRoot) {
    const auto row = ATOLL_TRY(journal_->row(inode));
    if (!row || row->dirty() || row->has_content) return {};
    const auto parent = ATOLL_TRY(journal_->row(row->parent));
    if (parent && parent->opaque && row->kind != Kind::kGone) return {};
    // Without the row the objects that are to go would show.
    if (ATOLL_TRY(journal_->has_removals(ATOLL_TRY(path_of(*row))))) return {};
    if (row->kind == Kind::kDirectory && ATOLL_TRY(journal_->has_children(inode, true))) return {};
    ATOLL_TRY(journal_->erase(inode));
    ++folds_;
    if (const auto node = nodes_.find(inode); node && !node->unlinked) node->seen = *row;
    inode = row->parent;
  }
  return {};
}

FsResult<void> Tree::reveal(Row directory) {
  directory.opaque = false;
  ATOLL_TRY(journal_->update(directory));
  // What has been exported beneath it meanwhile may show through now.
  std::string after;
  for (;;) {
    const auto children = ATOLL_TRY(journal_->children(directory.inode, after, kBatch));
    if (children.empty()) return {};
    after = children.back().name;
    for (const Row& child : children) ATOLL_TRY(fold(child.inode));
  }
}

FsResult<void> Tree::reveal_all() {
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), false));
  for (const InodeNumber inode : ATOLL_TRY(journal_->opaque_rows())) {
    const auto row = ATOLL_TRY(journal_->row(inode));
    if (!row || ATOLL_TRY(journal_->has_removals(ATOLL_TRY(path_of(*row))))) continue;
    ATOLL_TRY(reveal(*row));
    ATOLL_TRY(fold(inode));
  }
  return transaction.commit();
}

FsResult<void> Tree::fold_above(std::string_view path) {
  while (!path.empty()) {
    if (path.ends_with('/')) path.remove_suffix(1);
    auto row = ATOLL_TRY(row_at(path));
    if (row && !ATOLL_TRY(journal_->has_removals(path))) {
      if (row->opaque) ATOLL_TRY(reveal(*row));
      ATOLL_TRY(fold(row->inode));
    }
    const size_t slash = path.rfind('/');
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
  }
  return {};
}

FsResult<void> Tree::drop(const Row& row) {
  auto transaction = ATOLL_TRY(Transaction::begin(journal_->database(), false));
  ATOLL_TRY(journal_->erase(row.inode));
  ATOLL_TRY(fold(row.parent));
  ATOLL_TRY(transaction.commit());
  ++folds_;
  if (row.has_content) remove_later(row.inode);
  part(row.inode);
  if (const auto node = nodes_.find(row.inode)) {
    node->seen = row;
    if (listener_.on_change) listener_.on_change({node->number, row.parent, row.name});
  }
  return {};
}

void Tree::part_from_other_version(InodeNumber inode, const Base& base) {
  const auto content = content_in_use(inode);
  if (!content || content->writable()) return;
  const Base has = content->state().base;
  if (has.key == base.key && has.etag == base.etag) return;
  part(inode);
}

void Tree::part(InodeNumber inode) {
  const auto content = content_in_use(inode);
  if (content) content->give_way();
  orphan(inode);
  const auto node = nodes_.find(inode);
  if (!node) return;
  node->content = nullptr;
  if (content && node->opens > 0) node->has_older_handles = true;
}

void Tree::orphan(InodeNumber inode) {
  std::erase_if(orphans_, [](const auto& content) { return content.expired(); });
  const auto found = contents_.find(inode);
  if (found == contents_.end()) return;
  if (!found->second.expired()) orphans_.push_back(found->second);
  contents_.erase(found);
}

void Tree::forget_orphan(const std::shared_ptr<Content>& content) {
  std::erase_if(orphans_, [&](const auto& orphan) { return orphan.lock() == content; });
}

std::vector<std::shared_ptr<Content>> Tree::orphans_based_on(std::string_view key) const {
  std::vector<std::shared_ptr<Content>> found;
  for (const auto& weak : orphans_) {
    auto content = weak.lock();
    if (content && content->state().base.key == key) found.push_back(std::move(content));
  }
  return found;
}

namespace {

// Whether this very row is among `rows`, which are in order of their names.
bool contains(const std::vector<Row>& rows, const Row& row) {
  const auto at = std::lower_bound(
      rows.begin(), rows.end(), row, [](const Row& a, const Row& b) { return a.name < b.name; });
  return at != rows.end() && *at == row;
}

}  // namespace

FsResult<std::vector<Entry>> Tree::next_entries(const NodePtr& directory, std::string_view after) {
  auto lock = this->lock();
  for (std::string from(after);;) {
    if (directory->unlinked) return std::vector<Entry>{};
    const uint64_t folds = folds_;
    const std::string path = NodeTable::path_of(*directory);
    const auto own = ATOLL_TRY(journal_->row(directory->number));
    const bool shows_bucket = !own || !own->opaque;
    auto rows =
        own ? ATOLL_TRY(journal_->children(directory->number, from, kBatch)) : std::vector<Row>{};
    std::vector<BucketEntry> bucket;
    std::vector<Row> asked_for;  // the rows as they were when the bucket was asked
    if (shows_bucket) {
      asked_for = rows;
      lock.unlock();
      auto found = view_.children(path, from, kBatch);
      lock.lock();
      if (!found) return tl::unexpected(found.error());
      bucket = std::move(*found);
      if (folds_ != folds || NodeTable::path_of(*directory) != path) continue;
      // What has been changed meanwhile is in these rows; nothing has been folded away.
      const auto now = ATOLL_TRY(journal_->row(directory->number));
      if (now && now->opaque) continue;
      if (now) rows = ATOLL_TRY(journal_->children(directory->number, from, kBatch));
    }
    // Where one side stopped at its limit, the other's later names wait for the next call.
    std::optional<std::string> last;
    if (rows.size() == kBatch) last = rows.back().name;
    if (bucket.size() == kBatch && (!last || bucket.back().row.name < *last)) {
      last = bucket.back().row.name;
    }
    std::vector<Entry> entries;
    auto row = rows.begin();
    auto below = bucket.begin();
    while (row != rows.end() || below != bucket.end()) {
      const bool take_row =
          row != rows.end() && (below == bucket.end() || row->name <= below->row.name);
      if (last && (take_row ? row->name : below->row.name) > *last) break;
      if (!take_row) {
        entries.push_back({std::move(below++->row), false});
        continue;
      }
      const bool also_below = below != bucket.end() && below->row.name == row->name;
      // A clean file counts as long as the bucket has the same version.
      const bool clean_file = !row->dirty() && row->kind != Kind::kDirectory;
      const bool differs =
          clean_file && shows_bucket && (!also_below || below->row.known_etag != row->known_etag);
      // One that has been exported since then is not to be held against an older answer.
      const bool stale = differs && contains(asked_for, *row) &&
                         !ATOLL_TRY(journal_->has_removals(join(path, row->name)));
      if (row->kind != Kind::kGone && !stale) {
        if (also_below && contains(asked_for, *row)) take_attributes(*row, *below);
        entries.push_back({std::move(*row), true});
      }
      // The number stays the row's until a lookup drops it.
      if (row->kind != Kind::kGone && stale && also_below) entries.push_back({below->row, false});
      ++row;
      if (also_below) ++below;
    }
    if (!entries.empty() || !last) return entries;
    from = *last;  // all that was hidden
  }
}

}  // namespace atl::fs
