// What the layer does by itself: imports, telling the kernel what they changed, and noting what open files
// have written so far.
#include <fmt/format.h>

#include "fs/layer.h"

namespace atl::fs {
namespace {

// How much of an open file's writing a crash may cost; a closed file loses nothing.
constexpr std::chrono::seconds kSaveInterval{5};
constexpr int64_t kAccessGrain_s = 3600;

}  // namespace

void Layer::tell(const Change& change) {
  {
    const std::lock_guard lock(changes_mutex_);
    if (!on_change_) return;
    waiting_changes_.push_back(change);
  }
  changes_came_.notify_all();
}

void Layer::on_change(OnChange changed) {
  const std::lock_guard telling(telling_);
  const std::lock_guard lock(changes_mutex_);
  on_change_ = std::move(changed);
  waiting_changes_.clear();
  changed_keys_.clear();
}

// From a thread of the namespace's, which must not wait.
void Layer::hear(std::string_view key) {
  {
    const std::lock_guard lock(changes_mutex_);
    if (!on_change_) return;
    changed_keys_.emplace_back(key);
  }
  changes_came_.notify_all();
}

// What the kernel may know of a key: its inode, or the first name on the way to it that it has not.
std::optional<FileLayer::Change> Layer::change_of(std::string_view key) {
  if (key.ends_with('/')) key.remove_suffix(1);
  const auto lock = tree_->lock();
  NodePtr node = tree_->nodes().root();
  for (;;) {
    const size_t slash = key.find('/');
    const std::string_view name = key.substr(0, slash);
    const auto child = tree_->nodes().child(node->number, name);
    if (!child) return Change{0, node->number, std::string(name)};
    if (slash == std::string_view::npos) {
      // What has been changed here is the truth until it is exported.
      const auto row = tree_->journal().row(child->number);
      if (row && *row && (*row)->dirty()) return std::nullopt;
      return Change{child->number, node->number, std::string(name)};
    }
    node = child;
    key.remove_prefix(slash + 1);
  }
}

void Layer::tell_changes() {
  const auto stop = stop_.get_token();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(changes_mutex_);
      changes_came_.wait(lock, [&] {
        return stop.stop_requested() || !waiting_changes_.empty() || !changed_keys_.empty();
      });
    }
    const std::lock_guard telling(telling_);
    OnChange tell_kernel;
    std::deque<Change> changes;
    std::deque<std::string> keys;
    {
      const std::lock_guard lock(changes_mutex_);
      tell_kernel = on_change_;
      changes.swap(waiting_changes_);
      keys.swap(changed_keys_);
    }
    for (const std::string& key : keys) {
      if (auto change = change_of(key)) changes.push_back(std::move(*change));
    }
    for (const Change& change : changes) {
      if (tell_kernel && !stop.stop_requested()) tell_kernel(change);
    }
  }
}

void Layer::import_by_interval() {
  const auto stop = stop_.get_token();
  while (!stop.stop_requested()) {
    const auto counts = tree_->names().import("", options_.imports, stop, nullptr);
    if (!counts && counts.error().code != ErrorCode::kCancelled) {
      tree_->log("import, to be tried again: " + counts.error().to_string());
    }
    std::unique_lock lock(stop_mutex_);
    if (options_.import_interval.count() == 0) return;
    stopping_.wait_for(lock, options_.import_interval, [&] { return stop.stop_requested(); });
  }
}

void Layer::save_by_interval() {
  const auto stop = stop_.get_token();
  for (;;) {
    {
      std::unique_lock lock(stop_mutex_);
      stopping_.wait_for(lock, kSaveInterval, [&] { return stop.stop_requested(); });
    }
    if (stop.stop_requested()) return;
    std::vector<OpenFilePtr> files;
    {
      const std::shared_lock lock(handles_mutex_);
      for (const auto& [handle, file] : handles_) files.push_back(file);
    }
    save_open(files);
    {
      const auto lock = tree_->lock();
      const auto synced = tree_->has_to_remove() ? tree_->sync_journal() : 0;
      if (!synced) tree_->log("syncing the journal: " + synced.error().reason);
    }
    if (const auto written = write_accesses(); !written) {
      tree_->log("noting accesses: " + written.error().reason);
    }
  }
}

FsResult<void> Layer::write_accesses() {
  std::map<std::string, int64_t> accesses;
  {
    const std::lock_guard lock(accesses_mutex_);
    accesses.swap(accesses_);
  }
  if (accesses.empty()) return {};
  const auto lock = tree_->lock();
  auto transaction = ATOLL_TRY(Transaction::begin(tree_->journal().database(), false));
  for (const auto& [path, when_s] : accesses) {
    const auto before = ATOLL_TRY(tree_->journal().last_access(path));
    if (before && when_s - *before < kAccessGrain_s) continue;
    ATOLL_TRY(tree_->journal().note_access(path, when_s));
  }
  return transaction.commit();
}

}  // namespace atl::fs
