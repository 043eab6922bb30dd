#include "fs/node_table.h"

#include <fmt/format.h>

#include <vector>

#include "base/check.h"

namespace atl::fs {

NodeTable::NodeTable() : root_(std::make_shared<Node>()) {
  root_->number = kRoot;
  by_number_.emplace(kRoot, root_);
}

NodePtr NodeTable::find(InodeNumber number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : found->second;
}

NodePtr NodeTable::child(InodeNumber parent, std::string_view name) const {
  const auto found = by_place_.find({parent, std::string(name)});
  return found == by_place_.end() ? nullptr : found->second;
}

NodePtr NodeTable::add(const NodePtr& parent, std::string name, InodeNumber number) {
  auto node = std::make_shared<Node>();
  node->number = number;
  node->parent = parent;
  node->name = std::move(name);
  ++parent->children;
  const bool new_number = by_number_.emplace(number, node).second;
  const bool new_place = by_place_.emplace(Place{parent->number, node->name}, node).second;
  ATOLL_CHECK(new_number && new_place) << number << ' ' << node->name;
  return node;
}

void NodeTable::leave_place(const NodePtr& node) {
  if (!node->unlinked) by_place_.erase({node->parent->number, node->name});
}

void NodeTable::move(const NodePtr& node, const NodePtr& parent, std::string name) {
  leave_place(node);
  const NodePtr old_parent = node->parent;
  --old_parent->children;
  ++parent->children;
  node->parent = parent;
  node->name = std::move(name);
  const bool free = by_place_.emplace(Place{parent->number, node->name}, node).second;
  ATOLL_CHECK(free) << node->name;
  drop_if_unused(old_parent);
}

void NodeTable::unlink(const NodePtr& node) {
  leave_place(node);
  node->unlinked = true;
  drop_if_unused(node);
}

void NodeTable::drop_if_unused(NodePtr node) {
  while (node != root_ && node->lookups == 0 && node->opens == 0 && node->pins == 0 &&
         node->children == 0) {
    leave_place(node);
    node->unlinked = true;
    if (by_number_.erase(node->number) == 0) return;  // it was dropped already
    --node->parent->children;
    node = node->parent;
  }
}

std::string NodeTable::path_of(const Node& node) {
  std::vector<std::string_view> names;
  for (const Node* at = &node; at->parent; at = at->parent.get()) names.push_back(at->name);
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += *name;
  }
  return path;
}

}  // namespace atl::fs
