#include "fs/changes.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "base/utf8.h"
#include "fs/posix_metadata.h"
#include "storage/key.h"

namespace atl::fs {

// ENAMETOOLONG, EILSEQ, EINVAL: an object at `path` could never be exported, or be found again.
FsResult<void> Changes::check_name(Kind kind, std::string_view path, std::string_view name) {
  // S3's rule.
  if (!is_utf8(name)) return fail_fs(EILSEQ, fmt::format("{}: keys of objects are UTF-8", path));
  if (key_of(kind, path).size() > storage::kMaxKeyBytes) return fail_fs(ENAMETOOLONG);
  if (auto valid = storage::check_key(path); !valid) {
    return fail_fs(EINVAL, valid.error().to_string());
  }
  return {};
}

FsResult<NodePtr> Changes::create(Tree::Lock& lock,
                                  const NodePtr& parent,
                                  std::string_view name,
                                  Row like) {
  const auto found = tree_.child(lock, parent, name);
  if (found) return fail_fs(EEXIST);
  if (found.error().error_number != ENOENT) return tl::unexpected(found.error());
  if (parent->unlinked) return fail_fs(ENOENT);
  const std::string path = join(NodeTable::path_of(*parent), name);
  ATOLL_TRY(check_name(like.kind, path, name));

  auto edit = ATOLL_TRY(Edit::begin(tree_));
  const Row directory = ATOLL_TRY(edit.row_of(parent));
  ATOLL_TRY(edit.uncover(directory.inode, name));
  like.inode = ATOLL_TRY(tree_.journal().next_number());
  like.parent = directory.inode;
  like.name = name;
  like.accessed_ns = like.modified_ns = like.changed_ns = now_ns();
  like.xattrs_here = true;
  if ((directory.mode & S_ISGID) != 0) {
    like.gid = directory.gid;
    if (like.kind == Kind::kDirectory) like.mode |= S_ISGID;
  }
  ATOLL_TRY(edit.arrive(like, path));
  LocalFile file;
  if (like.kind == Kind::kFile) {
    file = ATOLL_TRY(tree_.files().create(like.inode));
    like.has_content = true;
  }
  ATOLL_TRY(edit.mark(like, like.kind == Kind::kFile, true));
  ATOLL_TRY(tree_.journal().insert(like));
  ATOLL_TRY(edit.touch(directory));
  ATOLL_TRY(edit.commit());
  return tree_.adopt(parent, Entry{like, true});
}

// Rows that hide the objects of a directory that goes itself.
FsResult<void> Changes::erase_gone_children(InodeNumber directory) {
  for (;;) {
    const auto rows = ATOLL_TRY(tree_.journal().children(directory, "", Tree::kBatch));
    if (rows.empty()) return {};
    for (const Row& row : rows) ATOLL_TRY(tree_.journal().erase(row.inode));
  }
}

void Changes::unlink_node(InodeNumber inode, const Row& row, const NodePtr& parent) {
  auto node = tree_.nodes().find(inode);
  if (!node || node->unlinked) node = tree_.nodes().child(parent->number, row.name);
  if (row.has_content) tree_.remove_later(inode);
  tree_.orphan(inode);
  if (!node) return;
  node->seen = row;
  node->seen.changed_ns = now_ns();
  tree_.nodes().unlink(node);
}

FsResult<void> Changes::unlink(Tree::Lock& lock, const NodePtr& parent, std::string_view name) {
  auto found = ATOLL_TRY(tree_.child(lock, parent, name));
  Row& row = found.row;
  if (row.kind == Kind::kDirectory) return fail_fs(EISDIR);
  const std::string path = join(NodeTable::path_of(*parent), name);
  const InodeNumber inode = ATOLL_TRY(tree_.number_of(parent, found));
  const Row seen = row;
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  const Row directory = ATOLL_TRY(edit.row_of(parent));
  ATOLL_TRY(edit.leave(row, path));
  if (found.in_journal) ATOLL_TRY(tree_.journal().erase(row.inode));
  ATOLL_TRY(edit.hide(directory.inode, name, path));
  ATOLL_TRY(edit.touch(directory));
  ATOLL_TRY(edit.commit());
  unlink_node(inode, seen, parent);
  return {};
}

FsResult<void> Changes::check_empty(Tree::Lock& lock, const NodePtr& directory) {
  for (;;) {
    const uint64_t folds = tree_.folds();
    lock.unlock();
    const auto entries = tree_.next_entries(directory, "");
    lock.lock();
    if (!entries) return tl::unexpected(entries.error());
    if (!entries->empty()) return fail_fs(ENOTEMPTY);
    if (directory->unlinked) return fail_fs(ENOENT);
    // Rows that the bucket does not bear out any more are shown to nobody; to look at one drops it.
    for (std::string after;;) {
      const auto rows = ATOLL_TRY(tree_.journal().children(directory->number, after, Tree::kBatch));
      if (rows.empty()) break;
      after = rows.back().name;
      for (const Row& row : rows) {
        if (row.kind == Kind::kGone) continue;
        const auto found = tree_.child(lock, directory, row.name);
        if (found) return fail_fs(ENOTEMPTY);
        if (found.error().error_number != ENOENT) return tl::unexpected(found.error());
      }
    }
    if (ATOLL_TRY(tree_.journal().has_children(directory->number, false))) continue;
    if (directory->unlinked) return fail_fs(ENOENT);
    if (tree_.folds() == folds) return {};
  }
}

FsResult<void> Changes::remove_directory(Tree::Lock& lock,
                                         const NodePtr& parent,
                                         std::string_view name) {
  const auto found = ATOLL_TRY(tree_.child(lock, parent, name));
  if (found.row.kind != Kind::kDirectory) return fail_fs(ENOTDIR);
  const auto node = ATOLL_TRY(tree_.adopt(parent, found));
  const NodePin pin(tree_.nodes(), node);
  ATOLL_TRY(check_empty(lock, node));
  if (node->parent != parent || node->name != name) return fail_fs(ENOENT);
  const std::string path = NodeTable::path_of(*node);
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  const Row directory = ATOLL_TRY(edit.row_of(parent));
  // What the bucket does not find can go, but the journal is not to have it.
  Row row = found.row.guessed ? found.row : ATOLL_TRY(edit.row_of(node));
  row.inode = node->number;
  const Row seen = row;
  ATOLL_TRY(erase_gone_children(row.inode));
  ATOLL_TRY(edit.leave(row, path));
  ATOLL_TRY(tree_.journal().erase(row.inode));
  ATOLL_TRY(edit.hide(directory.inode, name, path));
  ATOLL_TRY(edit.touch(directory));
  ATOLL_TRY(edit.commit());
  unlink_node(node->number, seen, parent);
  return {};
}

FsResult<void> Changes::set_attributes(Tree::Lock& lock,
                                       const NodePtr& node,
                                       const AttributeChanges& changes) {
  const auto apply = [&](Row& row) {
    if (changes.permissions) row.mode = (row.mode & S_IFMT) | (*changes.permissions & 07777);
    row.uid = changes.uid.value_or(row.uid);
    row.gid = changes.gid.value_or(row.gid);
    if (changes.accessed) row.accessed_ns = to_nanoseconds(*changes.accessed);
    if (changes.modified) row.modified_ns = to_nanoseconds(*changes.modified);
    row.changed_ns = now_ns();
  };
  const Entry entry = ATOLL_TRY(tree_.entry(lock, node));
  if (entry.row.kind == Kind::kSymlink && changes.permissions) return fail_fs(ENOTSUP);
  // Of what is no longer in the tree nothing is exported.
  if (node->unlinked) {
    apply(node->seen);
    return {};
  }
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  Row row = ATOLL_TRY(edit.row_of(node));
  apply(row);
  if (node->number != kRoot) ATOLL_TRY(edit.mark(row, false, true));
  ATOLL_TRY(tree_.journal().update(row));
  ATOLL_TRY(edit.commit());
  if (changes.modified && node->content) node->content->set_modified(row.modified_ns);
  return {};
}

FsResult<Xattrs> Changes::xattrs(Tree::Lock& lock, const NodePtr& node) {
  for (;;) {
    const auto found = ATOLL_TRY(tree_.entry(lock, node));
    if (found.in_journal && found.row.xattrs_here) return tree_.journal().xattrs(node->number);
    const std::string key = found.row.base.key;
    if (key.empty() || node->unlinked) return Xattrs{};
    lock.unlock();
    const auto object = tree_.view().object(key);
    lock.lock();
    const auto row = ATOLL_TRY(tree_.journal().row(node->number));
    // An export may have given it another base meanwhile.
    if (row ? row->xattrs_here || row->base.key != key : node->seen.base.key != key) continue;
    if (object) return read_xattrs(object->metadata);
    if (object.error().code == ErrorCode::kNotFound) return Xattrs{};
    return tl::unexpected(to_fs_error(object.error()));
  }
}

FsResult<void> Changes::set_xattr(Tree::Lock& lock,
                                  const NodePtr& node,
                                  std::string_view name,
                                  const std::string* value,
                                  int flags) {
  if (!name.starts_with("user.") || name.size() == std::string_view("user.").size()) {
    return fail_fs(ENOTSUP, fmt::format("{}: only user.* can be kept", name));
  }
  if (node->number == kRoot) return fail_fs(ENOTSUP, "the bucket's top has no object to keep it");
  Xattrs xattrs = ATOLL_TRY(this->xattrs(lock, node));
  if (node->unlinked) return fail_fs(ENOENT);
  const bool there = xattrs.contains(std::string(name));
  if (value == nullptr ? !there
      : there          ? (flags & XATTR_CREATE) != 0
                       : (flags & XATTR_REPLACE) != 0) {
    return fail_fs(there ? EEXIST : ENODATA);
  }
  if (value == nullptr) {
    xattrs.erase(std::string(name));
  } else {
    xattrs[std::string(name)] = *value;
    if (metadata_bytes(xattrs) > kMaxXattrMetadataBytes) {
      return fail_fs(ENOSPC, "S3 keeps 2 KB of metadata for each object");
    }
  }
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  Row row = ATOLL_TRY(edit.row_of(node));
  if (value == nullptr) ATOLL_TRY(tree_.journal().remove_xattr(row.inode, name));
  for (const auto& [key, bytes] : xattrs) {
    ATOLL_TRY(tree_.journal().set_xattr(row.inode, key, bytes));
  }
  row.xattrs_here = true;
  row.changed_ns = now_ns();
  ATOLL_TRY(edit.mark(row, false, true));
  ATOLL_TRY(tree_.journal().update(row));
  return edit.commit();
}

FsResult<void> Changes::make_writable(const NodePtr& node,
                                      const std::shared_ptr<Content>& content) {
  // What an export has fetched for it goes to the disk before the note that it is here; most of it without the lock.
  if (!content->writable() && content->unsynced()) ATOLL_TRY(content->sync());
  const auto lock = tree_.lock();
  if (content->writable()) return {};
  LocalFile file = content->file();
  if (!node->unlinked && tree_.content_in_use(node->number) != content)
    return Tree::replaced(*node);
  if (node->unlinked) {
    if (!file) file = ATOLL_TRY(tree_.files().create_nameless());
    content->set_writable(std::move(file));
    return {};
  }
  // A file of that number is to go only when the disk knows why; the new one must not be it.
  if (tree_.has_to_remove(node->number)) ATOLL_TRY(tree_.sync_journal());
  const auto before = ATOLL_TRY(tree_.journal().row(node->number));
  // Bytes that the bucket has, too, must not change under a row that says so.
  const bool kept = before && before->has_content && !before->content_dirty;
  auto edit = ATOLL_TRY(Edit::begin(tree_, kept));
  // The handle's version counts, not the one that the bucket may have by now: the export will see.
  const auto state = content->state();
  if (content->unsynced()) ATOLL_TRY(content->sync());
  if (!before) {
    if (node->seen.kind != Kind::kFile) return Tree::replaced(*node);
    node->seen.base = state.base;
    node->seen.known_etag = state.base.etag;
  }
  Row row = ATOLL_TRY(edit.row_of(node));
  if (!file) file = ATOLL_TRY(tree_.files().create(node->number));
  auto noted = [&]() -> FsResult<void> {
    ATOLL_TRY(tree_.files().place(file, node->number));
    row.base = state.base;
    row.size_bytes = state.size_bytes;
    row.present = state.present;
    row.has_content = true;
    ATOLL_TRY(edit.mark(row, true, false));
    ATOLL_TRY(tree_.journal().update(row));
    return edit.commit();
  }();
  if (!noted) {
    tree_.remove_unless_noted(node->number);
    return noted;
  }
  content->set_writable(std::move(file));
  return {};
}

}  // namespace atl::fs
