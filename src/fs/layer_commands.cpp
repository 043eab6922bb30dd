// What `atoll fs` asks for: states, preload, release, export, import.
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "fs/layer.h"

namespace atl::fs {

using Visit = std::function<FsResult<bool>(const std::string&, const Entry&)>;

// The entry of a path from outside, relative to the top.
FsResult<Entry> Layer::entry_at(Tree::Lock& lock,
                                std::string_view path,
                                std::string& where,
                                NodePin& pin) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  where = path;
  pin = NodePin(tree_->nodes(), tree_->nodes().root());
  Entry entry = ATOLL_TRY(tree_->entry(lock, pin.node()));
  while (!path.empty()) {
    if (entry.row.kind != Kind::kDirectory) return fail_fs(ENOTDIR);
    const size_t slash = path.find('/');
    entry = ATOLL_TRY(tree_->child(lock, pin.node(), path.substr(0, slash)));
    pin = NodePin(tree_->nodes(), ATOLL_TRY(tree_->adopt(pin.node(), entry)));
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return entry;
}

FsResult<bool> Layer::walk(const NodePtr& directory,
                           const std::string& path,
                           bool recursive,
                           const Visit& visit) {
  std::string after;
  for (;;) {
    const auto entries = ATOLL_TRY(tree_->next_entries(directory, after));
    if (entries.empty()) return true;
    after = entries.back().row.name;
    for (const Entry& entry : entries) {
      const std::string here = join(path, entry.row.name);
      if (!ATOLL_TRY(visit(here, entry))) return false;
      if (!recursive || entry.row.kind != Kind::kDirectory) continue;
      NodePin pin;
      {
        const auto lock = tree_->lock();
        pin = NodePin(tree_->nodes(), ATOLL_TRY(tree_->adopt(directory, entry)));
      }
      const auto more = walk(pin.node(), here, true, visit);
      {
        const auto lock = tree_->lock();
        pin.release();
      }
      if (!ATOLL_TRY(FsResult<bool>(more))) return false;
    }
  }
}

FsResult<void> Layer::walk_from(std::string_view path, bool recursive, const Visit& visit) {
  std::string where;
  auto lock = tree_->lock();
  NodePin pin;
  const Entry entry = ATOLL_TRY(entry_at(lock, path, where, pin));
  lock.unlock();
  const auto walked = [&]() -> FsResult<bool> {
    if (entry.row.kind != Kind::kDirectory) return visit(where, entry);
    if (!where.empty() && !ATOLL_TRY(visit(where, entry))) return false;
    return walk(pin.node(), where, recursive, visit);
  }();
  lock.lock();
  pin.release();
  if (!walked) return tl::unexpected(walked.error());
  return {};
}

FileState Layer::state_of(const std::string& path, const Entry& entry) {
  const Row& row = entry.row;
  FileState state;
  state.path = path;
  state.is_directory = row.kind == Kind::kDirectory;
  state.exists = !row.known_etag.empty();
  state.dirty = entry.in_journal && row.dirty();
  state.archived = state.exists && !state.dirty;
  state.size_bytes = row.size_bytes;
  if (row.kind == Kind::kFile) {
    if (row.has_content) {
      // What lies beyond the base is here; below it, what has been written or fetched.
      const uint64_t limit = row.base.key.empty() ? 0 : row.base.limit;
      state.cached_bytes = row.present.bytes() + row.size_bytes - std::min(limit, row.size_bytes);
    }
    if (!row.base.key.empty()) {
      state.cached_bytes += tree_->shared().cache->cached_bytes(
          tree_->shared().remote->identity(), {row.base.key, row.base.etag, row.base.size_bytes});
    }
    state.cached_bytes = std::min(state.cached_bytes, state.size_bytes);
  }
  state.released = state.archived && !state.is_directory && state.cached_bytes == 0;
  return state;
}

Result<void> Layer::states(std::string_view path,
                           bool recursive,
                           const std::function<bool(const FileState&)>& visit) {
  return plain_result(walk_from(path,
                                recursive,
                                [&](const std::string& where, const Entry& entry) {
                                  return FsResult<bool>(visit(state_of(where, entry)));
                                }),
                      std::string(path));
}

namespace {

// Blocks on their way for a preload, at most so many at a time.
class Preload {
 public:
  explicit Preload(size_t most) : most_(most) {}
  // Waits for room. False: there has been a failure, and nothing more is to be begun.
  bool begin(uint64_t blocks) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return under_way_ == 0 || under_way_ + blocks <= most_; });
    if (failure_) return false;
    under_way_ += blocks;
    return true;
  }
  void end(const Result<storage::Blob>& result) {
    {
      const std::lock_guard lock(mutex_);
      --under_way_;
      if (result) {
        bytes_ += result->size();
      } else if (!failure_ && result.error().code != ErrorCode::kConflict &&
                 result.error().code != ErrorCode::kNotFound) {
        failure_ = result.error();  // an object that has changed meanwhile is no failure
      }
    }
    changed_.notify_all();
  }
  std::optional<Error> failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  uint64_t bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  std::optional<Error> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return under_way_ == 0; });
    return failure_;
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t under_way_ = 0;
  uint64_t bytes_ = 0;
  std::optional<Error> failure_;
};

// What follows `path` in `where`, which is it or lies below it.
std::string below(std::string_view path, std::string_view where) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  where.remove_prefix(std::min(path.size(), where.size()));
  if (where.starts_with('/')) where.remove_prefix(1);
  return std::string(where);
}

// A pattern without '/' is for names, as in a shell; one with it for paths below `path`, whose '/' no * stands for.
bool fits(const std::string& pattern,
          std::string_view path,
          std::string_view where,
          const std::string& name) {
  if (pattern.empty()) return true;
  const bool whole = pattern.find('/') != std::string::npos;
  const std::string text = whole ? below(path, where) : name;
  return ::fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0;
}

}  // namespace

Result<Progress> Layer::preload(std::string_view path,
                                std::string_view glob,
                                std::stop_token stop,
                                const OnProgress& report) {
  const std::string pattern(glob);
  std::vector<storage::ObjectVersion> versions;
  Progress progress;
  ATOLL_TRY(
      plain_result(walk_from(path,
                             true,
                             [&](const std::string& where, const Entry& entry) -> FsResult<bool> {
                               if (stop.stop_requested()) return fail_fs(EINTR);
                               if (entry.row.kind != Kind::kFile) return true;
                               if (!fits(pattern, path, where, entry.row.name)) return true;
                               ++progress.files_in_all;
                               progress.bytes_in_all += entry.row.size_bytes;
                               const Base& base = entry.row.base;
                               if (!base.key.empty())
                                 versions.push_back({base.key, base.etag, base.size_bytes});
                               return true;
                             }),
                   std::string(path)));
  constexpr uint64_t kBlocksUnderWay = 128;
  const uint64_t block_bytes = tree_->shared().cache->options().block_bytes;
  const uint64_t step =
      std::max<uint64_t>(1, tree_->shared().cache->options().max_fetch_bytes / block_bytes);
  const auto under_way = std::make_shared<Preload>(kBlocksUnderWay);
  const uint64_t local = progress.bytes_in_all;  // minus what lies in the bucket
  uint64_t remote = 0;
  for (const auto& version : versions) remote += version.size_bytes;
  progress.files = progress.files_in_all - versions.size();
  for (const auto& version : versions) {
    const uint64_t blocks = (version.size_bytes + block_bytes - 1) / block_bytes;
    for (uint64_t first = 0; first < blocks && !stop.stop_requested(); first += step) {
      const uint64_t n = std::min(step, blocks - first);
      if (!under_way->begin(n)) break;
      tree_->shared().cache->read_async(
          tree_->shared().remote,
          version,
          first,
          n,
          storage::BlockCache::Urgency::kAhead,
          [under_way](uint64_t, const Result<storage::Blob>& result) { under_way->end(result); });
    }
    if (under_way->failure() || stop.stop_requested()) break;
    ++progress.files;
    progress.bytes = std::min(local, local - std::min(local, remote) + under_way->bytes());
    if (report) report(progress);
  }
  auto failure = under_way->wait();
  if (failure) return tl::unexpected(std::move(*failure).with_context("preloading"));
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "the preload was stopped");
  progress.bytes = std::min(local, local - std::min(local, remote) + under_way->bytes());
  if (report) report(progress);
  return progress;
}

FsResult<uint64_t> Layer::release_entry(const std::string& path,
                                        const Entry& entry,
                                        int64_t before_s) {
  const Row& row = entry.row;
  if (row.kind != Kind::kFile || (entry.in_journal && row.dirty())) return 0;
  uint64_t freed = 0;
  {
    const auto lock = tree_->lock();
    const auto accessed = ATOLL_TRY(tree_->journal().last_access(path));
    if (accessed && *accessed > before_s) return 0;
    if (entry.in_journal) {
      ATOLL_TRY(tree_->release_kept(row.inode));
      if (tree_->has_to_remove(row.inode)) freed += row.size_bytes;
    }
  }
  if (row.base.key.empty()) return freed;
  const storage::ObjectVersion version{row.base.key, row.base.etag, row.base.size_bytes};
  const std::string identity = tree_->shared().remote->identity();
  freed += tree_->shared().cache->cached_bytes(identity, version);
  ATOLL_TRY(fs_result(tree_->shared().cache->release(identity, version)));
  return freed;
}

Result<Progress> Layer::release(std::string_view path,
                                std::chrono::seconds unused,
                                const OnProgress& report) {
  ATOLL_TRY(plain_result(write_accesses(), "journal"));
  const int64_t now_s = std::chrono::duration_cast<std::chrono::seconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
  Progress progress;
  ATOLL_TRY(
      plain_result(walk_from(path,
                             true,
                             [&](const std::string& where, const Entry& entry) -> FsResult<bool> {
                               if (entry.row.kind != Kind::kFile) return true;
                               ++progress.files_in_all;
                               const uint64_t freed =
                                   ATOLL_TRY(release_entry(where, entry, now_s - unused.count()));
                               if (freed > 0) ++progress.files;
                               progress.bytes += freed;
                               progress.bytes_in_all += freed;
                               if (report) report(progress);
                               return true;
                             }),
                   std::string(path)));
  // The space comes back at once.
  const auto lock = tree_->lock();
  if (tree_->has_to_remove()) ATOLL_TRY(plain_result(tree_->sync_journal(), "journal"));
  return progress;
}

Result<Progress> Layer::export_now(std::string_view path,
                                   std::stop_token stop,
                                   const OnProgress& report) {
  std::vector<OpenFilePtr> files;
  {
    const std::shared_lock lock(handles_mutex_);
    for (const auto& [handle, file] : handles_) files.push_back(file);
  }
  save_open(files);
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return exporter_->export_below(path, std::move(stop), report);
}

Result<storage::ImportCounts> Layer::import_now(std::string_view path, std::stop_token stop) {
  while (path.starts_with('/')) path.remove_prefix(1);
  return tree_->names().import(path, {}, std::move(stop), nullptr);
}

}  // namespace atl::fs
