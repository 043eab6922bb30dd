// rename(2). A file's row goes to its new place and keeps its base, so its bytes stay where they are until
// the export copies them inside the bucket. Of a directory every descendant gets a row first (take_in):
// each becomes an object of its own, and from then on the journal alone says what lies below it.
#include <fmt/format.h>
#include <linux/fs.h>

#include <cerrno>

#include "fs/changes.h"
#include "storage/key.h"

namespace atl::fs {

struct Changes::Moving {
  NodePtr parent;
  NodePtr node;
  NodePin pin;  // of it
  Entry entry;
  std::string path;
};

FsResult<void> Changes::check_rename(const Moving& from, const Moving* to, unsigned flags) const {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (to != nullptr && (flags & RENAME_NOREPLACE) != 0) return fail_fs(EEXIST);
  if (to == nullptr && exchange) return fail_fs(ENOENT);
  if (to == nullptr || exchange) return {};
  const bool directory = from.entry.row.kind == Kind::kDirectory;
  const bool onto_directory = to->entry.row.kind == Kind::kDirectory;
  if (directory && !onto_directory) return fail_fs(ENOTDIR);
  if (!directory && onto_directory) return fail_fs(EISDIR);
  return {};
}

namespace {

bool is_within(NodePtr node, const NodePtr& directory) {
  for (; node; node = node->parent) {
    if (node == directory) return true;
  }
  return false;
}

}  // namespace

// Gives everything below the directory a row, in as many transactions as there are directories: rows that
// say what the bucket says change nothing.
FsResult<void> Changes::take_in(Tree::Lock& lock, const NodePtr& directory) {
  std::vector<NodePin> subdirectories;
  for (;;) {
    subdirectories.clear();
    const uint64_t folds = tree_.folds();
    lock.unlock();
    std::vector<Entry> entries;
    FsResult<std::vector<Entry>> more;
    do {
      more = tree_.next_entries(directory, entries.empty() ? "" : entries.back().row.name);
      if (more) entries.insert(entries.end(), more->begin(), more->end());
    } while (more && !more->empty());
    lock.lock();
    if (!more) return tl::unexpected(more.error());
    if (directory->unlinked) return fail_fs(ENOENT);
    if (folds != tree_.folds()) continue;
    auto edit = ATOLL_TRY(Edit::begin(tree_));
    Row row = ATOLL_TRY(edit.row_of(directory));
    const std::string path = NodeTable::path_of(*directory);
    for (const Entry& entry : entries) {
      const std::string& name = entry.row.name;
      if (entry.in_journal || ATOLL_TRY(tree_.journal().child(row.inode, name))) continue;
      const auto node = tree_.nodes().child(row.inode, name);
      const InodeNumber inode =
          node ? node->number : ATOLL_TRY(tree_.pick_number(join(path, name)));
      ATOLL_TRY(edit.insert(entry.row, inode, row.inode));
    }
    row.opaque = true;
    ATOLL_TRY(tree_.journal().update(row));
    ATOLL_TRY(edit.commit());
    break;
  }
  std::string after;
  for (;;) {
    const auto rows = ATOLL_TRY(tree_.journal().children(directory->number, after, Tree::kBatch));
    if (rows.empty()) break;
    after = rows.back().name;
    for (const Row& row : rows) {
      if (row.kind != Kind::kDirectory) continue;
      subdirectories.emplace_back(tree_.nodes(),
                                  ATOLL_TRY(tree_.adopt(directory, Entry{row, true})));
    }
  }
  for (NodePin& subdirectory : subdirectories) {
    auto taken = take_in(lock, subdirectory.node());
    subdirectory.release();
    if (!taken && taken.error().error_number != ENOENT) return taken;
  }
  return {};
}

FsResult<void> Changes::lift(Edit& edit, Row& row, const std::string& path) {
  ATOLL_TRY(edit.leave(row, path));
  if (row.kind != Kind::kDirectory) return {};
  // Somebody has been quicker with a directory that take_in() has not seen.
  if (!row.opaque) return fail_fs(EAGAIN);
  std::string after;
  for (;;) {
    auto children = ATOLL_TRY(tree_.journal().children(row.inode, after, Tree::kBatch));
    if (children.empty()) return {};
    after = children.back().name;
    for (Row& child : children) {
      if (child.kind == Kind::kGone) {
        ATOLL_TRY(tree_.journal().erase(child.inode));
        continue;
      }
      ATOLL_TRY(lift(edit, child, join(path, child.name)));
      ATOLL_TRY(tree_.journal().update(child));
    }
  }
}

FsResult<void> Changes::settle(Edit& edit, Row& row, const std::string& path) {
  if (key_of(row.kind, path).size() > storage::kMaxKeyBytes) return fail_fs(ENAMETOOLONG);
  ATOLL_TRY(edit.arrive(row, path));
  ATOLL_TRY(edit.mark(row, false, true));
  if (row.kind != Kind::kDirectory) return {};
  std::string after;
  for (;;) {
    auto children = ATOLL_TRY(tree_.journal().children(row.inode, after, Tree::kBatch));
    if (children.empty()) return {};
    after = children.back().name;
    for (Row& child : children) {
      ATOLL_TRY(settle(edit, child, join(path, child.name)));
      ATOLL_TRY(tree_.journal().update(child));
    }
  }
}

FsResult<void> Changes::remove_target(Edit& edit, const Moving& target) {
  Row row = target.entry.row;
  if (row.kind == Kind::kDirectory) ATOLL_TRY(erase_gone_children(target.node->number));
  ATOLL_TRY(edit.leave(row, target.path));
  return target.entry.in_journal ? tree_.journal().erase(row.inode) : FsResult<void>{};
}

FsResult<void> Changes::rename(Tree::Lock& lock,
                               const NodePtr& from,
                               std::string_view name,
                               const NodePtr& to,
                               std::string_view new_name,
                               unsigned flags) {
  ++renamings_;
  bool took_in = false;
  auto done = rename_once(lock, from, name, to, new_name, flags, took_in);
  --renamings_;
  took_in_for_nothing_ |= took_in && !done;
  // Directories that were taken in for nothing show the bucket again, once nobody else may be taking them in.
  if (!took_in_for_nothing_ || renamings_ > 0) return done;
  const auto revealed = tree_.reveal_all();
  took_in_for_nothing_ = !revealed.has_value();  // tried again after the next one
  if (!revealed) tree_.log("after a renaming that failed: " + revealed.error().reason);
  return done;
}

FsResult<void> Changes::rename_once(Tree::Lock& lock,
                                    const NodePtr& from,
                                    std::string_view name,
                                    const NodePtr& to,
                                    std::string_view new_name,
                                    unsigned flags,
                                    bool& took_in) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0 ||
      flags == (RENAME_NOREPLACE | RENAME_EXCHANGE)) {
    return fail_fs(EINVAL);
  }
  const auto resolve = [&](const NodePtr& parent, std::string_view at) -> FsResult<Moving> {
    auto entry = ATOLL_TRY(tree_.child(lock, parent, at));
    Moving moving{parent, nullptr, {}, std::move(entry), {}};
    moving.path = join(NodeTable::path_of(*parent), at);
    moving.node = ATOLL_TRY(tree_.adopt(parent, moving.entry));
    moving.pin = NodePin(tree_.nodes(), moving.node);
    return moving;
  };
  for (;;) {
    Moving source = ATOLL_TRY(resolve(from, name));
    auto found = resolve(to, new_name);
    if (!found && found.error().error_number != ENOENT) return tl::unexpected(found.error());
    if (to->unlinked) return fail_fs(ENOENT);
    if (!found) {
      const std::string path = join(NodeTable::path_of(*to), new_name);
      ATOLL_TRY(check_name(source.entry.row.kind, path, new_name));
    }
    Moving* target = found ? &*found : nullptr;
    if (target != nullptr && target->node == source.node) return {};
    const auto check = [&]() -> FsResult<void> {
      ATOLL_TRY(check_rename(source, target, flags));
      if (is_within(to, source.node)) return fail_fs(EINVAL);
      if (target != nullptr && is_within(from, target->node)) {
        return fail_fs(exchange ? EINVAL : ENOTEMPTY);
      }
      return {};
    };
    ATOLL_TRY(check());
    // These let go of the lock; afterwards the places are looked at again.
    if (target != nullptr && !exchange && target->entry.row.kind == Kind::kDirectory) {
      ATOLL_TRY(check_empty(lock, target->node));
    }
    if (source.entry.row.kind == Kind::kDirectory) {
      took_in = true;
      ATOLL_TRY(take_in(lock, source.node));
    }
    if (exchange && target->entry.row.kind == Kind::kDirectory) {
      took_in = true;
      ATOLL_TRY(take_in(lock, target->node));
    }
    const uint64_t edits = tree_.edits();
    source = ATOLL_TRY(resolve(from, name));
    found = resolve(to, new_name);
    if (tree_.edits() != edits || found.has_value() != (target != nullptr)) continue;
    ATOLL_TRY(check());
    if (target != nullptr && !exchange &&
        ATOLL_TRY(tree_.journal().has_children(target->node->number, false))) {
      continue;
    }
    auto done = move(source, target, to, new_name, exchange);
    if (!done && done.error().error_number == EAGAIN) continue;
    return done;
  }
}

FsResult<void> Changes::move(const Moving& source,
                             Moving* target,
                             const NodePtr& to,
                             std::string_view new_name,
                             bool exchange) {
  const std::string new_path = join(NodeTable::path_of(*to), new_name);
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  const Row old_directory = ATOLL_TRY(edit.row_of(source.parent));
  const Row new_directory = ATOLL_TRY(edit.row_of(to));
  Row row = ATOLL_TRY(edit.row_of(source.node));
  ATOLL_TRY(lift(edit, row, source.path));
  std::optional<Row> other;
  if (exchange) {
    other = ATOLL_TRY(edit.row_of(target->node));
    ATOLL_TRY(lift(edit, *other, target->path));
    // Out of the way: no two rows may have one place.
    row.parent = 0;
    ATOLL_TRY(tree_.journal().update(row));
    other->parent = old_directory.inode;
    other->name = source.entry.row.name;
    ATOLL_TRY(tree_.journal().update(*other));
    ATOLL_TRY(settle(edit, *other, source.path));
    ATOLL_TRY(tree_.journal().update(*other));
  } else {
    if (target != nullptr) ATOLL_TRY(remove_target(edit, *target));
    ATOLL_TRY(edit.uncover(new_directory.inode, new_name));
  }
  row.parent = new_directory.inode;
  row.name = new_name;
  row.changed_ns = now_ns();
  ATOLL_TRY(tree_.journal().update(row));
  ATOLL_TRY(settle(edit, row, new_path));
  ATOLL_TRY(tree_.journal().update(row));
  if (!exchange) ATOLL_TRY(edit.hide(old_directory.inode, source.entry.row.name, source.path));
  ATOLL_TRY(edit.touch(old_directory));
  if (new_directory.inode != old_directory.inode) ATOLL_TRY(edit.touch(new_directory));
  ATOLL_TRY(edit.commit());

  NodeTable& nodes = tree_.nodes();
  if (exchange) {
    nodes.move(source.node, source.parent, "/");  // no name has a slash
    nodes.move(target->node, source.parent, source.entry.row.name);
  } else if (target != nullptr) {
    unlink_node(target->node->number, target->entry.row, to);
  }
  // Something that only the kernel still knows.
  if (const auto stale = nodes.child(to->number, new_name)) nodes.unlink(stale);
  nodes.move(source.node, to, std::string(new_name));
  return {};
}

}  // namespace atl::fs
