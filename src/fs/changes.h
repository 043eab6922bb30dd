// The operations that change the tree, each one transaction of the journal: what open(2), mkdir(2),
// rename(2) and the like mean here. Permissions are the kernel's business.
//
// All need the tree's lock and may let go of it while they ask the bucket.
#pragma once

#include <string>
#include <string_view>

#include "fs/edit.h"
#include "fs/tree.h"

namespace atl::fs {

class Changes {
 public:
  explicit Changes(Tree& tree) : tree_(tree) {}

  // A file, directory or symlink with the kind, mode, owner and target of `like`. EEXIST.
  FsResult<NodePtr> create(Tree::Lock& lock,
                           const NodePtr& parent,
                           std::string_view name,
                           Row like);
  FsResult<void> unlink(Tree::Lock& lock, const NodePtr& parent, std::string_view name);
  FsResult<void> remove_directory(Tree::Lock& lock, const NodePtr& parent, std::string_view name);
  FsResult<void> rename(Tree::Lock& lock,
                        const NodePtr& from,
                        std::string_view name,
                        const NodePtr& to,
                        std::string_view new_name,
                        unsigned flags);
  // All but the size.
  FsResult<void> set_attributes(Tree::Lock& lock,
                                const NodePtr& node,
                                const AttributeChanges& changes);

  FsResult<Xattrs> xattrs(Tree::Lock& lock, const NodePtr& node);
  // `value` null: removes it.
  FsResult<void> set_xattr(Tree::Lock& lock,
                           const NodePtr& node,
                           std::string_view name,
                           const std::string* value,
                           int flags);

  // Tells the journal that the node's content is going to change, and gives it a local file. ESTALE as in Tree::save.
  FsResult<void> make_writable(const NodePtr& node, const std::shared_ptr<Content>& content);

 private:
  static FsResult<void> check_name(Kind kind, std::string_view path, std::string_view name);
  FsResult<void> check_empty(Tree::Lock& lock, const NodePtr& directory);
  void unlink_node(InodeNumber inode, const Row& row, const NodePtr& parent);
  FsResult<void> erase_gone_children(InodeNumber directory);

  // ---- of rename
  struct Moving;
  FsResult<void> rename_once(Tree::Lock& lock,
                             const NodePtr& from,
                             std::string_view name,
                             const NodePtr& to,
                             std::string_view new_name,
                             unsigned flags,
                             bool& took_in);
  FsResult<void> check_rename(const Moving& from, const Moving* to, unsigned flags) const;
  FsResult<void> take_in(Tree::Lock& lock, const NodePtr& directory);
  FsResult<void> lift(Edit& edit, Row& row, const std::string& path);
  FsResult<void> settle(Edit& edit, Row& row, const std::string& path);
  FsResult<void> remove_target(Edit& edit, const Moving& target);
  FsResult<void> move(const Moving& source,
                      Moving* target,
                      const NodePtr& to,
                      std::string_view new_name,
                      bool exchange);

  Tree& tree_;
  int renamings_ = 0;  // under way; as the next one, with the tree's lock
  bool took_in_for_nothing_ = false;
};

}  // namespace atl::fs
