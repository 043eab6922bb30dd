#include "fs/bucket_view.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/parallel.h"
#include "fs/posix_metadata.h"

namespace atl::fs {

using storage::DirectoryEntry;
using storage::Metadata;

namespace {

// HEADs under way at a time for one listing: at 20 ms of latency 3,200 a second.
constexpr int kHeadsAtATime = 64;
// Files of the top that tell whether it carries metadata.
constexpr size_t kSampledFiles = 16;

std::string_view parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

int64_t nanoseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

BucketView::BucketView(std::shared_ptr<storage::Remote> remote,
                       std::shared_ptr<storage::Namespace> names,
                       const FileLayerOptions& options,
                       int64_t now_ns)
    : remote_(std::move(remote)),
      names_(std::move(names)),
      policy_(options.posix_metadata),
      uid_(options.uid),
      gid_(options.gid),
      umask_(options.umask),
      now_ns_(now_ns) {}

Row BucketView::defaults(Kind kind) const {
  Row row;
  row.kind = kind;
  const uint32_t type = kind == Kind::kDirectory ? S_IFDIR
                        : kind == Kind::kSymlink ? S_IFLNK
                                                 : S_IFREG;
  row.mode = type | (kind == Kind::kSymlink ? 0777 : 0777 & ~umask_);
  row.uid = uid_;
  row.gid = gid_;
  row.accessed_ns = row.modified_ns = row.changed_ns = now_ns_;
  return row;
}

Row BucketView::row_of(const DirectoryEntry& entry) const {
  const PosixFacts facts = entry.metadata ? read_posix(*entry.metadata) : PosixFacts{};
  Kind kind = entry.is_directory ? Kind::kDirectory : Kind::kFile;
  if (!entry.is_directory && facts.mode && S_ISLNK(*facts.mode)) kind = Kind::kSymlink;
  Row row = defaults(kind);
  row.name = entry.name;
  if (!entry.has_object) return row;
  row.accessed_ns = row.modified_ns = row.changed_ns = nanoseconds(entry.info.modified);
  // The place says whether it is a directory; of the object's word only a link's is taken.
  if (facts.mode && kind != Kind::kSymlink) {
    row.mode = (row.mode & S_IFMT) | (*facts.mode & 07777);
  }
  row.uid = facts.uid.value_or(row.uid);
  row.gid = facts.gid.value_or(row.gid);
  row.accessed_ns = facts.accessed_ns.value_or(row.accessed_ns);
  row.modified_ns = facts.modified_ns.value_or(row.modified_ns);
  row.changed_ns = row.modified_ns;
  row.known_etag = entry.info.etag;
  const uint64_t size_bytes = kind == Kind::kDirectory ? 0 : entry.info.size_bytes;
  row.size_bytes = size_bytes;
  row.base = {entry.info.key, entry.info.etag, size_bytes, size_bytes};
  return row;
}

BucketEntry BucketView::entry_of(DirectoryEntry entry, const Keys& unfound) const {
  Row row = row_of(entry);
  // It may be anything: nobody but the owner gets at it, and it is not to be changed.
  row.guessed = entry.has_object && unfound.contains(entry.info.key);
  if (row.guessed) row.mode &= ~static_cast<uint32_t>(S_IRWXG | S_IRWXO);
  return {std::move(row), std::move(entry.metadata)};
}

FsResult<bool> BucketView::top_has_metadata() {
  {
    const std::lock_guard lock(mutex_);
    if (top_has_metadata_) return *top_has_metadata_;
  }
  std::vector<std::string> keys;
  const auto listed = names_->children("", "", [&](const DirectoryEntry& entry) {
    if (entry.has_object) keys.push_back(entry.info.key);
    return keys.size() < kSampledFiles;
  });
  if (!listed && listed.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(to_fs_error(listed.error()));
  }
  bool found = false;
  bool unclear = false;
  for (const std::string& key : keys) {
    const auto object = names_->stat(key);
    if (!object && object.error().code == ErrorCode::kNotFound) continue;
    if (!object && object.error().code == ErrorCode::kInconsistent) {
      unclear = true;
      continue;
    }
    if (!object) return tl::unexpected(to_fs_error(object.error()));
    if (has_posix(object->metadata)) {
      found = true;
      break;
    }
  }
  if (unclear && !found) return true;
  // An empty top may yet become anything.
  if (!keys.empty()) {
    const std::lock_guard lock(mutex_);
    top_has_metadata_ = found;
  }
  return found;
}

FsResult<bool> BucketView::asks_for_metadata_in(std::string_view directory) {
  if (policy_ != PosixMetadata::kAuto) return policy_ == PosixMetadata::kAlways;
  if (directory.empty()) return top_has_metadata();
  auto entry = names_->lookup_path(directory);
  if (!entry && entry.error().code == ErrorCode::kNotFound) return false;
  if (!entry) return tl::unexpected(to_fs_error(entry.error()));
  if (!entry->has_object) return false;
  if (entry->metadata) return has_posix(*entry->metadata);
  const auto object = names_->stat(entry->info.key);
  if (!object && object.error().code == ErrorCode::kNotFound) return false;
  // Then each of them says for itself.
  if (!object && object.error().code == ErrorCode::kInconsistent) return true;
  if (!object) return tl::unexpected(to_fs_error(object.error()));
  return has_posix(object->metadata);
}

FsResult<BucketView::Keys> BucketView::complete(std::vector<DirectoryEntry>& entries) {
  std::vector<DirectoryEntry*> incomplete;
  for (DirectoryEntry& entry : entries) {
    if (entry.has_object && !entry.metadata) incomplete.push_back(&entry);
  }
  std::mutex mutex;
  std::optional<FsError> failure;
  Keys unfound;
  parallel_for(incomplete.size(), kHeadsAtATime, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      auto object = names_->stat(incomplete[i]->info.key);
      if (object) {
        incomplete[i]->info = std::move(object->info);
        incomplete[i]->metadata = std::move(object->metadata);
        continue;
      }
      const std::lock_guard lock(mutex);
      if (object.error().code == ErrorCode::kInconsistent) {
        unfound.insert(incomplete[i]->info.key);
      } else if (object.error().code != ErrorCode::kNotFound) {
        failure = to_fs_error(object.error());
      }
    }
  });
  if (failure) return tl::unexpected(*failure);
  return unfound;
}

FsResult<std::optional<BucketEntry>> BucketView::find(std::string_view path) {
  auto entry = names_->lookup_path(path);
  if (!entry && entry.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!entry) return tl::unexpected(to_fs_error(entry.error()));
  if (entry->has_object && !entry->metadata &&
      (entry->is_directory ? policy_ != PosixMetadata::kNever
                           : ATOLL_TRY(asks_for_metadata_in(parent_path(path))))) {
    std::vector<DirectoryEntry> one{std::move(*entry)};
    const Keys unfound = ATOLL_TRY(complete(one));
    return entry_of(std::move(one[0]), unfound);
  }
  return entry_of(std::move(*entry), {});
}

FsResult<std::vector<BucketEntry>> BucketView::children(std::string_view directory,
                                                        std::string_view after,
                                                        size_t limit) {
  std::vector<DirectoryEntry> entries;
  const auto listed = names_->children(directory, after, [&](const DirectoryEntry& entry) {
    entries.push_back(entry);
    return entries.size() < limit;
  });
  // A directory that has only been made here.
  if (!listed && listed.error().code == ErrorCode::kNotFound) return std::vector<BucketEntry>{};
  if (!listed) return tl::unexpected(to_fs_error(listed.error()));
  Keys unfound;
  if (policy_ != PosixMetadata::kNever) {
    if (ATOLL_TRY(asks_for_metadata_in(directory))) {
      unfound = ATOLL_TRY(complete(entries));
    } else {
      // Directories with an object of their own are few, and what they say decides on their files.
      std::vector<DirectoryEntry> directories;
      std::vector<size_t> places;
      for (size_t i = 0; i < entries.size(); ++i) {
        if (!entries[i].is_directory || !entries[i].has_object) continue;
        directories.push_back(entries[i]);
        places.push_back(i);
      }
      unfound = ATOLL_TRY(complete(directories));
      for (size_t i = 0; i < places.size(); ++i) entries[places[i]] = std::move(directories[i]);
    }
  }
  std::vector<BucketEntry> found;
  found.reserve(entries.size());
  for (DirectoryEntry& entry : entries) found.push_back(entry_of(std::move(entry), unfound));
  return found;
}

Result<storage::RemoteObject> BucketView::object(std::string_view key) {
  auto known = names_->stat(key);
  if (known || known.error().code != ErrorCode::kNotFound) return known;
  return look_for(*remote_, key);
}

}  // namespace atl::fs
