// The exporter's queue: which row next, when again after a failure, and the threads that do it.
#include "fs/exporter.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/parallel.h"

namespace atl::fs {
namespace {

// A failed export waits so long, twice as long each time.
constexpr std::chrono::milliseconds kFirstPause{500};
constexpr std::chrono::milliseconds kLongestPause{60'000};
// For a file that another export is at, or whose turn has not come.
constexpr std::chrono::milliseconds kBusyPause{100};

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "host";
  constexpr size_t kShownBytes = 64;
  return std::string(name.data()).substr(0, kShownBytes);
}

}  // namespace

Exporter::Exporter(Tree& tree, Changes& changes)
    : tree_(tree),
      changes_(changes),
      remote_(*tree.shared().remote),
      options_(tree.options()),
      host_(host_name()),
      late_writes_(options_.late_write) {}

void Exporter::start() {
  {
    const auto lock = tree_.lock();
    if (auto rows = tree_.journal().dirty_rows()) {
      tried_.insert(rows->begin(), rows->end());
      note_dirty(*rows);
    }
    note_removals();
  }
  if (options_.read_only) return;
  if (const auto noted = note_late_writes(); !noted) log("journal: " + noted.error().reason);
  for (int i = 0; i < std::max(1, options_.export_workers); ++i) {
    threads_.emplace_back([this] { work(); });
  }
  threads_.emplace_back([this] { work_on_removals(); });
}

FsResult<void> Exporter::note_late_writes() {
  for (const Removal& removal : ATOLL_TRY(removals_below(""))) {
    late_writes_.note(removal.key, LateWrites::Kind::kAny);
  }
  const auto lock = tree_.lock();
  for (const InodeNumber inode : ATOLL_TRY(tree_.journal().dirty_rows())) {
    const auto row = ATOLL_TRY(tree_.journal().row(inode));
    late_writes_.note(key_of(row->kind, ATOLL_TRY(tree_.path_of(*row))),
                      LateWrites::Kind::kAny,
                      {},
                      row->attributes_dirty ? row->base.size_bytes : 0);  // then it may be a copy
  }
  return {};
}

void Exporter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_.request_stop();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Exporter::log(const std::string& line) { tree_.log(line); }

void Exporter::note_dirty(const std::vector<InodeNumber>& inodes) {
  if (options_.exports == ExportPolicy::kOnDemand) return;
  {
    const std::lock_guard lock(mutex_);
    for (const InodeNumber inode : inodes) {
      if (queued_.insert(inode).second) ready_.push_back(inode);
    }
  }
  changed_.notify_all();
}

void Exporter::note_removals() {
  if (options_.exports == ExportPolicy::kOnDemand) return;
  {
    const std::lock_guard lock(mutex_);
    removals_wanted_ = true;
  }
  changed_.notify_all();
}

bool Exporter::was_tried(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  return tried_.contains(inode);
}

// Null when it is over.
std::optional<InodeNumber> Exporter::take(std::unique_lock<std::mutex>& lock) {
  const auto stop = stop_.get_token();
  for (;;) {
    if (stop.stop_requested()) return std::nullopt;
    const auto now = Clock::now();
    while (!later_.empty() && later_.begin()->first <= now) {
      ready_.push_back(later_.begin()->second);
      later_.erase(later_.begin());
    }
    for (auto at = ready_.begin(); at != ready_.end(); ++at) {
      const InodeNumber inode = *at;
      if (running_.contains(inode)) continue;
      ready_.erase(at);
      queued_.erase(inode);
      running_.insert(inode);
      return inode;
    }
    if (later_.empty()) {
      changed_.wait(lock);
    } else {
      const auto next = later_.begin()->first;  // a copy: another thread may take the entry away
      changed_.wait_until(lock, next);
    }
  }
}

void Exporter::put_back(InodeNumber inode, FsResult<Outcome> outcome) {
  running_.erase(inode);
  if (outcome && *outcome == Outcome::kDone) {
    failures_.erase(inode);
    return;
  }
  std::chrono::milliseconds pause = kBusyPause;
  if (!outcome) {
    ++counts_.failed_exports;
    const int failures = std::min(failures_[inode]++, 16);
    pause = std::min(kFirstPause * (1 << failures), kLongestPause);
  }
  // An export that fails may have marked its file as changed on its way: that is no reason to hurry.
  if (!outcome && std::erase(ready_, inode) > 0) queued_.erase(inode);
  if (queued_.insert(inode).second) later_.emplace(Clock::now() + pause, inode);
}

void Exporter::work() {
  std::unique_lock lock(mutex_);
  while (const auto inode = take(lock)) {
    lock.unlock();
    std::vector<InodeNumber> above;
    const auto outcome = export_row(*inode, false, above);
    if (!outcome) log("export, to be tried again: " + outcome.error().reason);
    lock.lock();
    put_back(*inode, outcome);
    changed_.notify_all();
  }
}

void Exporter::work_on_removals() {
  std::unique_lock lock(mutex_);
  const auto stop = stop_.get_token();
  int failures = 0;
  while (!stop.stop_requested()) {
    if (!removals_wanted_) {
      changed_.wait(lock);
      continue;
    }
    removals_wanted_ = false;
    lock.unlock();
    FsResult<bool> more = true;
    bool any = false;
    RemovalWalk walk;
    while (more && *more && !stop.stop_requested()) more = remove_some("", walk);
    if (more && walk.failure) more = tl::unexpected(*walk.failure);
    {
      const auto tree_lock = tree_.lock();
      const auto left = tree_.journal().count_removals();
      any = !left || *left > 0;
    }
    if (!more) log("removing objects, to be tried again: " + more.error().reason);
    failures = more ? 0 : std::min(failures + 1, 16);
    lock.lock();
    if (!more) ++counts_.failed_exports;
    if (!any || removals_wanted_) continue;
    // What is left waits for exports that still need the objects, or for the server.
    const auto pause = more ? kBusyPause : std::min(kFirstPause * (1 << failures), kLongestPause);
    // After a failure, new ones shorten the pause, but not to nothing.
    const auto least = more ? kBusyPause : kFirstPause;
    changed_.wait_for(lock, least, [&] { return stop.stop_requested(); });
    changed_.wait_for(
        lock, pause - least, [&] { return stop.stop_requested() || removals_wanted_; });
    removals_wanted_ = true;
  }
}

FsResult<void> Exporter::export_file(InodeNumber inode, const std::stop_token& stop) {
  // A writer that never pauses may keep the file from being whole; it waits after a few tries.
  constexpr int kTries = 100;
  for (int tries = 0; tries < kTries;) {
    std::vector<InodeNumber> above;
    const auto outcome = export_row(inode, true, above);
    if (!outcome) return tl::unexpected(outcome.error());
    {
      const auto tree_lock = tree_.lock();
      const auto row = ATOLL_TRY(tree_.journal().row(inode));
      if (!row || !row->dirty()) return {};
    }
    if (*outcome == Outcome::kDone) {
      ++tries;
      continue;
    }
    // Another export is at it. That one ends, however long a large file takes.
    std::unique_lock lock(mutex_);
    if (stop.stop_requested() || stop_.stop_requested()) {
      return fail_fs(EINTR, "the export was stopped");
    }
    changed_.wait_for(lock, kBusyPause);
  }
  return fail_fs(EBUSY, "the file is being written to all the time");
}

Result<Progress> Exporter::export_below(std::string_view path,
                                        std::stop_token stop,
                                        const OnProgress& report) {
  std::vector<std::pair<InodeNumber, uint64_t>> rows;
  Progress progress;
  {
    const auto lock = tree_.lock();
    const auto dirty = ATOLL_TRY(plain_result(tree_.journal().dirty_rows(), "journal"));
    for (const InodeNumber inode : dirty) {
      const auto row = ATOLL_TRY(plain_result(tree_.journal().row(inode), "journal"));
      if (!row || !is_below(ATOLL_TRY(plain_result(tree_.path_of(*row), "journal")), path))
        continue;
      rows.emplace_back(inode, row->size_bytes);
      progress.bytes_in_all += row->size_bytes;
    }
  }
  progress.files_in_all = rows.size();
  std::mutex mutex;
  std::optional<FsError> failure;
  parallel_for(rows.size(), std::max(1, options_.export_workers), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (stop.stop_requested()) return;
      const auto done = export_file(rows[i].first, stop);
      const std::lock_guard lock(mutex);
      if (!done) {
        if (!failure) failure = done.error();
        continue;
      }
      ++progress.files;
      progress.bytes += rows[i].second;
      if (report) report(progress);
    }
  });
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "the export was stopped");
  if (failure) return tl::unexpected(to_error(*failure, "exporting"));
  // One of a file that has been unlinked or moved since leaves an object that is to go.
  wait_for_writes(path, stop);
  const auto removed = remove_below(path, stop);
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "the export was stopped");
  if (!removed) return tl::unexpected(to_error(removed.error(), "removing objects"));
  return progress;
}

void Exporter::wait_for_writes(std::string_view path, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  BusyKeys before;
  for (const auto& claim : busy_keys_) {
    if (is_below(claim.first, path)) before.insert(claim);
  }
  const auto goes_on = [&](const auto& claim) {
    const auto now = busy_keys_.find(claim.first);
    return now != busy_keys_.end() && now->second == claim.second;
  };
  while (!stop.stop_requested() && std::ranges::any_of(before, goes_on)) {
    changed_.wait_for(lock, kBusyPause);
  }
}

LayerCounts Exporter::counts() {
  uint64_t waiting = 0;
  {
    const auto lock = tree_.lock();
    if (const auto rows = tree_.journal().dirty_rows()) waiting += rows->size();
    if (const auto removals = tree_.journal().count_removals()) waiting += *removals;
  }
  const std::lock_guard lock(mutex_);
  LayerCounts counts = counts_;
  counts.waiting_exports = waiting;
  return counts;
}

}  // namespace atl::fs
