// One operation's changes to the journal, all or nothing, and what they mean for the bucket.
//
// A row at a path means that there shall be an object; a row that leaves a path leaves the order to remove
// what the bucket has there, and one that comes takes such an order back, for it replaces the object.
//
// Lives while the tree's lock is held. What is not committed has not happened.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/tree.h"

namespace atl::fs {

class Edit {
 public:
  // `durable`: on the disk when commit() returns, for what is going to be done to a local content because of it.
  static FsResult<Edit> begin(Tree& tree, bool durable = false);

  // The node's row; made, with those of its ancestors, where the bucket's entry has had none so far.
  FsResult<Row> row_of(const NodePtr& node);
  // A row of the bucket's entry `seen` below a directory that has one.
  FsResult<Row> insert(Row seen, InodeNumber inode, InodeNumber parent);

  // Marks it as to be exported; the caller stores it.
  FsResult<void> mark(Row& row, bool content, bool attributes);
  // A name in it has come or gone. Its object is made where it has none: so it stays when it is empty, and
  // other mounts see that there is metadata in it. Stores it.
  FsResult<void> touch(Row directory);

  // The row is at `path` no longer, or comes there; the caller stores or erases it.
  FsResult<void> leave(Row& row, std::string_view path);
  FsResult<void> arrive(Row& row, std::string_view path);
  // Hides what the bucket has, if something of it is still to be removed.
  FsResult<void> hide(InodeNumber parent, std::string_view name, std::string_view path);
  // Makes room for a row at a place where kGone may be.
  FsResult<void> uncover(InodeNumber parent, std::string_view name);

  // The listener hears of it.
  FsResult<void> commit();

 private:
  Edit(Tree& tree, Transaction transaction, bool durable)
      : tree_(&tree), transaction_(std::move(transaction)), durable_(durable) {}

  Tree* tree_;
  Transaction transaction_;
  bool durable_;
  std::vector<InodeNumber> dirty_;
  bool removals_ = false;
};

}  // namespace atl::fs
