// The tree as the bucket has it: the namespace's entries as rows, with the attributes that the objects
// carry or the defaults.
//
// Asking for metadata takes a HEAD for each object, so it is asked for only where it is likely to be
// there (PosixMetadata): in a directory whose own object "dir/" carries FSx's keys, as every exported one
// does. The top has no object of its own; a few of the files in it are looked at instead.
//
// Thread safe. May wait for the network: never to be called with the tree's lock held.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fs/file_layer.h"
#include "fs/fs_error.h"
#include "fs/journal.h"
#include "storage/namespace/namespace.h"

namespace atl::fs {

struct BucketEntry {
  // Without inode and parent; base and known_etag are the object's. A directory that exists only by what lies in it has no
  // known_etag.
  Row row;
  std::optional<storage::Metadata> metadata;  // where it is known
};

class BucketView {
 public:
  BucketView(std::shared_ptr<storage::Remote> remote,
             std::shared_ptr<storage::Namespace> names,
             const FileLayerOptions& options,
             int64_t now_ns);

  // "" is the top. Nullopt: nothing is there.
  FsResult<std::optional<BucketEntry>> find(std::string_view path);
  FsResult<std::vector<BucketEntry>> children(std::string_view directory,
                                              std::string_view after,
                                              size_t limit);
  // An object that there should be, with its metadata. That it is not there is asked of the bucket itself: the namespace
  // may have heard it before somebody brought it back.
  Result<storage::RemoteObject> object(std::string_view key);
  // Attributes of a file made here that nobody gave any.
  Row defaults(Kind kind) const;

 private:
  FsResult<bool> asks_for_metadata_in(std::string_view directory);
  FsResult<bool> top_has_metadata();
  using Keys = std::set<std::string, std::less<>>;
  // Gives those that the bucket lists and does not find.
  FsResult<Keys> complete(std::vector<storage::DirectoryEntry>& entries);
  BucketEntry entry_of(storage::DirectoryEntry entry, const Keys& unfound) const;
  Row row_of(const storage::DirectoryEntry& entry) const;

  const std::shared_ptr<storage::Remote> remote_;
  const std::shared_ptr<storage::Namespace> names_;
  const PosixMetadata policy_;
  const uint32_t uid_;
  const uint32_t gid_;
  const uint32_t umask_;
  const int64_t now_ns_;
  std::mutex mutex_;
  std::optional<bool> top_has_metadata_;
};

}  // namespace atl::fs
