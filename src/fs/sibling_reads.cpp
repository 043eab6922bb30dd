#include "fs/sibling_reads.h"

#include <cerrno>
#include <utility>
#include <vector>

namespace atl::fs {
namespace {

// What cannot be kept up with is left out.
constexpr size_t kMostWaiting = 256;
constexpr size_t kMostDirectories = 16;
// COCO's largest folder has 118,287. So many take about 10 MB.
constexpr size_t kMostFiles = size_t{1} << 17;
constexpr int kMostUnknown = 16;
// A longer file keeps its reader busy while its own read-ahead gets going.
constexpr uint64_t kMostFileBytes = uint64_t{8} << 20;

}  // namespace

SiblingReads::SiblingReads(Tree& tree) : tree_(tree), thread_([this] { run(); }) {}

SiblingReads::~SiblingReads() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  came_.notify_all();
  thread_.join();
}

void SiblingReads::begun(const NodePtr& file) {
  {
    const auto lock = tree_.lock();
    if (file->unlinked || file->parent == nullptr) return;
    const std::lock_guard waiting_lock(mutex_);
    if (waiting_.size() == kMostWaiting) waiting_.pop_front();
    waiting_.push_back({file->parent->number, file->name});
  }
  came_.notify_all();
}

void SiblingReads::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    came_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const Begun begun = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    follow(begun);
    forget_old();
    lock.lock();
  }
}

void SiblingReads::follow(const Begun& begun) {
  Watched& directory = watched(begun.directory);
  if (directory.too_large) return;
  const auto fetch_file = [&](const ReadingOrder::File& file) {
    return !ending_ && fetch(directory.directory, file.name);
  };
  if (!directory.order) {
    const bool is_first = directory.first_name.empty();
    if (is_first) directory.first_name = begun.name;
    const auto before = std::next(watched_.begin());
    const bool goes_on = before != watched_.end() && before->order && before->order->is_kept();
    if (directory.first_name == begun.name && !(is_first && goes_on)) return;
    list(directory);
    if (!directory.order) return;
    if (is_first) {
      directory.order->go_on_from(*before->order);
    } else {
      directory.order->read(directory.first_name, fetch_file);
    }
  }
  if (directory.order->read(begun.name, fetch_file)) return;
  // Files that have come since are seen by listing anew, but not for each of them.
  if (++directory.unknown_names == kMostUnknown) directory = {.directory = begun.directory};
}

// Those read in of late stay, as many as may be.
SiblingReads::Watched& SiblingReads::watched(InodeNumber directory) {
  for (auto at = watched_.begin(); at != watched_.end(); ++at) {
    if (at->directory != directory) continue;
    watched_.splice(watched_.begin(), watched_, at);
    return watched_.front();
  }
  watched_.push_front({.directory = directory});
  return watched_.front();
}

// Names alone: the layer's own listing would ask the bucket for each file's metadata where there is any.
void SiblingReads::list(Watched& watched) {
  NodePtr directory;
  std::string path;
  {
    const auto lock = tree_.lock();
    directory = tree_.nodes().find(watched.directory);
    if (directory == nullptr) return;
    path = NodeTable::path_of(*directory);
  }
  std::vector<std::string> names;
  const auto listed = tree_.names().children(path, "", [&](const storage::DirectoryEntry& entry) {
    if (!entry.is_directory) names.push_back(entry.name);
    return !ending_ && names.size() <= kMostFiles;
  });
  if (!listed || ending_) return;  // asked again with the next file
  if (names.size() > kMostFiles) {
    watched.too_large = true;
    return;
  }
  std::vector<ReadingOrder::File> files;
  files.reserve(names.size());
  const auto lock = tree_.lock();
  if (directory->unlinked) return;
  for (std::string& name : names) {
    const auto node = tree_.nodes().child(watched.directory, name);
    const InodeNumber number = node ? node->number : Tree::usual_number(join(path, name));
    files.push_back({std::move(name), number});
  }
  watched.order.emplace(std::move(files));
}

// All orders together are bounded, too.
void SiblingReads::forget_old() {
  size_t left = kMostFiles;
  for (auto at = watched_.begin(); at != watched_.end();) {
    const size_t size = at->order ? at->order->size() : 0;
    at = size > left ? watched_.erase(at) : std::next(at);
    left -= std::min(left, size);
  }
  if (watched_.size() > kMostDirectories) watched_.pop_back();
}

// False where there is no room, or no getting at it: then the files behind it would fare no better.
bool SiblingReads::fetch(InodeNumber number, const std::string& name) {
  storage::ObjectVersion version;
  {
    auto lock = tree_.lock();
    const auto directory = tree_.nodes().find(number);
    if (directory == nullptr) return false;
    const auto entry = tree_.child(lock, directory, name);
    if (!entry) return entry.error().error_number == ENOENT;
    if (entry->row.kind != Kind::kFile || entry->row.has_content) return true;
    const Base& base = entry->row.base;
    if (base.key.empty() || base.limit == 0 || base.size_bytes > kMostFileBytes) return true;
    const auto node = tree_.nodes().child(number, name);
    if (node && node->kernel_has == base.etag) return true;  // has been read
    version = {base.key, base.etag, base.size_bytes};
  }
  BlockMemory& memory = *tree_.shared().memory;
  const uint64_t blocks = (version.size_bytes + memory.block_bytes() - 1) / memory.block_bytes();
  return memory.read_ahead(version, 0, blocks, BlockMemory::Ahead::kGuess) == blocks;
}

}  // namespace atl::fs
