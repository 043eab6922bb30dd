// Which inode numbers are in use, and what each stands for. A node lives while the kernel has looked it
// up, a handle is open on it or a node below it lives; its number is not given to anything else meanwhile.
//
// Not thread safe: the tree's lock guards it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "fs/content.h"
#include "fs/journal.h"

namespace atl::fs {

struct Node {
  InodeNumber number = 0;
  std::shared_ptr<Node> parent;  // null for the root
  std::string name;
  bool unlinked = false;  // no longer in the tree; parent and name are what they were
  uint64_t lookups = 0;
  uint32_t opens = 0;    // handles
  uint32_t writers = 0;  // of them, those that may write
  uint32_t pins = 0;     // NodePin
  uint32_t children = 0;
  // What the bucket had here when it was last looked at. Where the journal has a row, that one counts.
  // For an unlinked node what it was.
  Row seen;
  std::shared_ptr<Content> content;  // while a handle is open, or Exporter::detach() is at it
  std::string kernel_has;            // the version of the content at the last open
  // Of contents that have given way, perhaps: the kernel has but one memory for all handles of an inode.
  bool has_older_handles = false;

  // After a handle or a pin has gone.
  void tidy() {
    if (opens == 0) has_older_handles = false;
    if (opens == 0 && pins == 0) content = nullptr;
  }
};
using NodePtr = std::shared_ptr<Node>;

class NodeTable {
 public:
  NodeTable();

  const NodePtr& root() const { return root_; }
  NodePtr find(InodeNumber number) const;  // null: no such
  NodePtr child(InodeNumber parent, std::string_view name) const;
  bool in_use(InodeNumber number) const { return by_number_.contains(number); }
  NodePtr add(const NodePtr& parent, std::string name, InodeNumber number);
  void move(const NodePtr& node, const NodePtr& parent, std::string name);
  void unlink(const NodePtr& node);
  // Forgets it where nothing needs it any more, and then perhaps its parent.
  void drop_if_unused(NodePtr node);

  // "" for the root.
  static std::string path_of(const Node& node);

 private:
  using Place = std::pair<InodeNumber, std::string>;
  struct PlaceHash {
    size_t operator()(const Place& place) const {
      return std::hash<std::string>()(place.second) * 31 + std::hash<InodeNumber>()(place.first);
    }
  };
  void leave_place(const NodePtr& node);

  NodePtr root_;
  std::unordered_map<InodeNumber, NodePtr> by_number_;
  std::unordered_map<Place, NodePtr, PlaceHash> by_place_;
};

// Keeps a node that perhaps nobody has looked up while the tree's lock is let go of. Made and released with the lock held.
class NodePin {
 public:
  NodePin() = default;
  NodePin(NodeTable& table, NodePtr node) : table_(&table), node_(std::move(node)) {
    ++node_->pins;
  }
  NodePin(NodePin&& other) noexcept
      : table_(other.table_), node_(std::exchange(other.node_, nullptr)) {}
  NodePin& operator=(NodePin&& other) noexcept {
    release();
    table_ = other.table_;
    node_ = std::exchange(other.node_, nullptr);
    return *this;
  }
  ~NodePin() { release(); }
  void release() {
    const NodePtr node = std::exchange(node_, nullptr);
    if (!node) return;
    --node->pins;
    node->tidy();
    table_->drop_if_unused(node);
  }
  const NodePtr& node() const { return node_; }

 private:
  NodeTable* table_ = nullptr;
  NodePtr node_;
};

}  // namespace atl::fs
