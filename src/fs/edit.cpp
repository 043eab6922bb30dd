#include "fs/edit.h"

#include <cerrno>

namespace atl::fs {

FsResult<Edit> Edit::begin(Tree& tree, bool durable) {
  return Edit(tree, ATOLL_TRY(Transaction::begin(tree.journal().database(), durable)), durable);
}

FsResult<Row> Edit::row_of(const NodePtr& node) {
  if (auto row = ATOLL_TRY(tree_->journal().row(node->number))) return *row;
  if (node->unlinked || !node->parent) return fail_fs(ENOENT);
  const Row parent = ATOLL_TRY(row_of(node->parent));
  return insert(node->seen, node->number, parent.inode);
}

FsResult<Row> Edit::insert(Row seen, InodeNumber inode, InodeNumber parent) {
  if (seen.guessed) {
    return fail_fs(EIO, seen.base.key + ": the bucket lists it and does not find it");
  }
  seen.inode = inode;
  seen.parent = parent;
  seen.change = ATOLL_TRY(tree_->journal().next_number());
  ATOLL_TRY(tree_->journal().insert(seen));
  // Who has opened it before the bucket got this version must not write into it, nor be exported in its place.
  if (seen.kind == Kind::kFile) tree_->part_from_other_version(inode, seen.base);
  return seen;
}

FsResult<void> Edit::mark(Row& row, bool content, bool attributes) {
  row.content_dirty |= content;
  row.attributes_dirty |= attributes;
  row.change = ATOLL_TRY(tree_->journal().next_number());
  dirty_.push_back(row.inode);
  return {};
}

FsResult<void> Edit::touch(Row directory) {
  directory.modified_ns = directory.changed_ns = now_ns();
  if (directory.inode != kRoot && directory.known_etag.empty() && !directory.dirty()) {
    ATOLL_TRY(mark(directory, false, true));
  }
  return tree_->journal().update(directory);
}

FsResult<void> Edit::leave(Row& row, std::string_view path) {
  // An export that was cut off may have left an object there that the journal does not know of: one of this
  // row, or of an earlier one, whose removal was taken back.
  const auto& was_tried = tree_->listener().was_tried;
  const bool unknown = row.maybe_gone || (row.dirty() && was_tried && was_tried(row.inode));
  if (row.known_etag.empty() && !unknown) return {};
  ATOLL_TRY(tree_->journal().add_removal(key_of(row.kind, path), row.known_etag));
  row.known_etag.clear();
  row.maybe_gone = false;
  removals_ = true;
  return {};
}

FsResult<void> Edit::arrive(Row& row, std::string_view path) {
  const std::string key = key_of(row.kind, path);
  if (auto etag = ATOLL_TRY(tree_->journal().removal(key))) {
    row.known_etag = std::move(*etag);
    row.maybe_gone = true;
    ATOLL_TRY(tree_->journal().erase_removal(key));
  }
  row.opaque = row.kind == Kind::kDirectory && ATOLL_TRY(tree_->journal().has_removals(path));
  return {};
}

FsResult<void> Edit::hide(InodeNumber parent, std::string_view name, std::string_view path) {
  if (!ATOLL_TRY(tree_->journal().has_removals(path))) return {};
  Row gone;
  gone.inode = ATOLL_TRY(tree_->journal().next_number());
  gone.parent = parent;
  gone.name = name;
  gone.kind = Kind::kGone;
  return tree_->journal().insert(gone);
}

FsResult<void> Edit::uncover(InodeNumber parent, std::string_view name) {
  const auto row = ATOLL_TRY(tree_->journal().child(parent, name));
  if (row && row->kind == Kind::kGone) ATOLL_TRY(tree_->journal().erase(row->inode));
  return {};
}

FsResult<void> Edit::commit() {
  ATOLL_TRY(transaction_.commit());
  if (durable_) tree_->went_to_disk();
  tree_->count_edit();
  const auto& listener = tree_->listener();
  if (!dirty_.empty() && listener.on_dirty) listener.on_dirty(dirty_);
  if (removals_ && listener.on_removals) listener.on_removals();
  return {};
}

}  // namespace atl::fs
