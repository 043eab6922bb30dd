// Objects that are to go, up to a thousand by one request. Deleting knows no condition on the version, so
// the versions are looked at just before: by one LIST where the keys lie close to each other.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <set>

#include "fs/export_job.h"
#include "fs/posix_metadata.h"

namespace atl::fs {

using storage::ObjectInfo;

namespace {

constexpr size_t kBatchKeys = 1000;  // of one DeleteObjects
constexpr size_t kFewKeys = 4;       // are asked for one by one

// Without its last character: everything from the key on comes after it.
std::string before(std::string_view key) {
  size_t end = key.size() - 1;
  while (end > 0 && (static_cast<unsigned char>(key[end]) & 0xc0) == 0x80) --end;
  return std::string(key.substr(0, end));
}

}  // namespace

FsResult<std::vector<Removal>> Exporter::removable(std::vector<Removal> removals,
                                                   RemovalWalk& walk) {
  std::vector<std::pair<std::shared_ptr<Content>, std::string>>
      orphans;  // and the key that each is based on
  {
    const auto lock = tree_.lock();
    std::vector<Removal> free;
    for (Removal& removal : removals) {
      // One that has been taken back since it was read.
      if (ATOLL_TRY(tree_.journal().removal(removal.key)) != removal.etag) continue;
      if (!ATOLL_TRY(tree_.journal().rows_based_on(removal.key)).empty()) continue;
      for (auto& reader : tree_.orphans_based_on(removal.key)) {
        orphans.emplace_back(std::move(reader), removal.key);
      }
      free.push_back(std::move(removal));
    }
    removals = std::move(free);
  }
  for (const auto& [content, key] : orphans) {
    const auto detached = detach_orphan(content, key);
    if (detached) continue;
    walk.failure = detached.error();
    walk.failure->reason = fmt::format(
        "{}: the file is open, and its bytes cannot be fetched: {}", key, detached.error().reason);
    std::erase_if(removals, [gone = key](const Removal& removal) { return removal.key == gone; });
  }
  return removals;
}

// What the bucket has of each. What it lists and does not find is still to go.
Result<std::vector<std::optional<ObjectInfo>>> Exporter::found(
    const std::vector<Removal>& removals) {
  std::vector<std::optional<ObjectInfo>> found(removals.size());
  const auto ask = [&](size_t i) -> Result<void> {
    auto object = remote_.stat(removals[i].key);
    if (object) found[i] = std::move(object->info);
    if (object) return {};
    if (object.error().code == ErrorCode::kIo) return tl::unexpected(object.error());
    auto page = ATOLL_TRY(page_after(remote_, removals[i].key));
    const bool is_there = !page.objects.empty() && page.objects.front().key == removals[i].key;
    if (is_there) found[i] = std::move(page.objects.front());
    return {};
  };
  for (size_t i = 0; i < removals.size();) {
    if (removals.size() <= kFewKeys) {
      ATOLL_TRY(ask(i++));
      continue;
    }
    const auto page = ATOLL_TRY(page_after(remote_, "", before(removals[i].key)));
    const size_t first = i;
    auto object = page.objects.begin();
    for (; i < removals.size(); ++i) {
      const std::string& key = removals[i].key;
      while (object != page.objects.end() && object->key < key) ++object;
      if (object == page.objects.end() && !page.next.empty()) break;  // it lies behind this page
      if (object != page.objects.end() && object->key == key) found[i] = *object;
    }
    if (i == first) ATOLL_TRY(ask(i++));
  }
  return found;
}

// The ones whose object is still the one that was removed here; for the others the policy decides. Those of which the
// bucket does not say whose they are wait for another time, and are taken out of `removals`.
Result<std::vector<Removal>> Exporter::unchanged(std::vector<Removal>& removals,
                                                 RemovalWalk& walk) {
  const auto found = ATOLL_TRY(this->found(removals));
  std::string journal;
  {
    const auto lock = tree_.lock();
    journal = ATOLL_TRY(plain_result(tree_.journal().name(), "journal"));
  }
  std::vector<Removal> same;
  std::set<std::string> unclear;
  for (size_t i = 0; i < removals.size(); ++i) {
    const Removal& removal = removals[i];
    const std::optional<ObjectInfo>& info = found[i];
    if (!info) {  // it has gone already
      ATOLL_TRY(tree_.names().forget(removal.key));
      continue;
    }
    if (info->etag == removal.etag) {
      same.push_back(removal);
      continue;
    }
    // A write of ours whose answer never came is to go, too.
    const auto object = look_for(remote_, removal.key);
    if (!object && object.error().code != ErrorCode::kNotFound) {
      walk.failure = to_fs_error(object.error());
      unclear.insert(removal.key);
      continue;
    }
    if (!object) {
      ATOLL_TRY(tree_.names().forget(removal.key));
      continue;
    }
    if (is_written_by(object->metadata, journal, removal.key)) {
      same.push_back(removal);
      continue;
    }
    if (removal.etag.empty()) {  // somebody else's from the beginning
      ATOLL_TRY(tree_.names().record(*info, nullptr));
      continue;
    }
    const bool local_wins = options_.conflicts == ConflictPolicy::kLocalWins;
    tell_conflict(fmt::format("{} was removed here and changed in the bucket: it {}",
                              removal.key,
                              local_wins ? "is removed" : "stays"));
    if (local_wins) {
      same.push_back(removal);
    } else {
      ATOLL_TRY(tree_.names().record(*info, nullptr));
    }
  }
  std::erase_if(removals, [&](const Removal& removal) { return unclear.contains(removal.key); });
  return same;
}

FsResult<void> Exporter::finish_removals(const std::vector<Removal>& all,
                                         const std::vector<Removal>& gone) {
  const auto lock = tree_.lock();
  for (const Removal& removal : gone) ATOLL_TRY(fs_result(tree_.names().forget(removal.key)));
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  for (const Removal& removal : all) {
    const auto now = ATOLL_TRY(tree_.journal().removal(removal.key));
    if (now && *now == removal.etag) ATOLL_TRY(tree_.journal().erase_removal(removal.key));
    if (now) continue;
    // A new file has come to the place meanwhile and means to replace what is gone by now.
    std::string_view path = removal.key;
    if (path.ends_with('/')) path.remove_suffix(1);
    auto row = ATOLL_TRY(tree_.row_at(path));
    if (row && row->known_etag == removal.etag && key_of(row->kind, path) == removal.key) {
      row->known_etag.clear();
      ATOLL_TRY(tree_.journal().update(*row));
    }
  }
  for (const Removal& removal : all) ATOLL_TRY(tree_.fold_above(removal.key));
  ATOLL_TRY(edit.commit());
  const std::lock_guard counts_lock(mutex_);
  counts_.removed_objects += gone.size();
  return {};
}

FsResult<bool> Exporter::remove_some(std::string_view prefix, RemovalWalk& walk) {
  const std::lock_guard one_at_a_time(removing_);
  std::vector<Removal> removals;
  std::vector<std::unique_ptr<KeyClaim>> claims;
  {
    // The keys are ours before the lock is let go of, as in prepare(): otherwise a removal that is taken back
    // meanwhile, by a new file that is exported at once, would remove that file's object.
    const auto lock = tree_.lock();
    removals = ATOLL_TRY(tree_.journal().removals(walk.after, kBatchKeys));
    if (removals.empty()) return false;
    walk.after = removals.back().key;
    std::erase_if(removals, [&](const Removal& removal) {
      if (!is_below(removal.key, prefix)) return true;
      claims.push_back(std::make_unique<KeyClaim>(mutex_, busy_keys_, removal.key));
      return !claims.back()->held();
    });
  }
  // An object that is not there yet must not come when its removal is forgotten.
  std::erase_if(removals,
                [&](const Removal& removal) { return late_writes_.hold_up_removal(removal.key); });
  removals = ATOLL_TRY(removable(std::move(removals), walk));
  if (removals.empty()) return true;
  const auto same = ATOLL_TRY(fs_result(unchanged(removals, walk)));
  if (!same.empty()) {
    std::vector<std::string> keys;
    keys.reserve(same.size());
    for (const Removal& removal : same) keys.push_back(removal.key);
    bool sent_again = false;
    const auto removed = remote_.remove(keys, &sent_again);
    if (!removed || sent_again) {
      for (const std::string& key : keys) late_writes_.note(key, LateWrites::Kind::kRemoval);
    }
    ATOLL_TRY(fs_result(removed));
  }
  ATOLL_TRY(finish_removals(removals, same));
  return true;
}

FsResult<std::vector<Removal>> Exporter::removals_below(std::string_view path) {
  std::vector<Removal> below;
  for (std::string after;;) {
    const auto lock = tree_.lock();
    auto removals = ATOLL_TRY(tree_.journal().removals(after, kBatchKeys));
    if (removals.empty()) return below;
    after = removals.back().key;
    std::erase_if(removals, [&](const Removal& removal) { return !is_below(removal.key, path); });
    below.insert(below.end(), removals.begin(), removals.end());
  }
}

FsResult<void> Exporter::remove_below(std::string_view path, const std::stop_token& stop) {
  constexpr std::chrono::seconds kPatience{
      10};  // in which nothing gets less, and nobody writes what is to go
  constexpr std::chrono::milliseconds kPause{100};
  size_t least = std::numeric_limits<size_t>::max();
  for (auto since = Clock::now(); !stop.stop_requested() && Clock::now() - since < kPatience;) {
    RemovalWalk walk;
    while (!stop.stop_requested() && ATOLL_TRY(remove_some(path, walk))) {
    }
    if (walk.failure) return tl::unexpected(*walk.failure);
    const auto left = ATOLL_TRY(removals_below(path));
    if (left.empty()) return {};
    const auto is_busy = [&](const Removal& removal) {
      return busy_keys_.contains(removal.key) || late_writes_.hold_up_removal(removal.key);
    };
    {
      const std::lock_guard lock(mutex_);
      if (left.size() < least || std::ranges::any_of(left, is_busy)) since = Clock::now();
    }
    least = std::min(least, left.size());
    // A file that was moved away from there, perhaps to a place that is not below the path, still reads from it.
    for (const Removal& removal : left) {
      std::vector<InodeNumber> based;
      {
        const auto lock = tree_.lock();
        based = ATOLL_TRY(tree_.journal().rows_based_on(removal.key));
      }
      for (const InodeNumber inode : based) ATOLL_TRY(export_file(inode, stop));
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPause);
  }
  return fail_fs(EBUSY, fmt::format("{} objects cannot go yet", least));
}

}  // namespace atl::fs
