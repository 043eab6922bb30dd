// A directory as an object store.
//
// put() writes a temporary file in the target's own directory, syncs it, renames it over the target
// and syncs the directory: the only order in which a crash at any point leaves the old content or
// the new. What a killed process left behind is removed by a later put() into the same directory.
//
// Symbolic links that lie in the directory are followed, for they are the owner's (train2017 ->
// /data/coco/train2017); keys cannot leave it (storage/key.h). A put() over a link to a file
// replaces the link. Only regular files are objects: directories, pipes and devices are not.
//
// Unlike in a bucket, a file and a directory cannot have one name: put("a/b") fails where "a" is an
// object.
#pragma once

#include <functional>
#include <mutex>
#include <set>

#include "storage/storage.h"

namespace atl::storage {

class LocalStore : public ObjectStore {
 public:
  // The directory need not exist. `root` is what messages show.
  explicit LocalStore(std::string root);

  std::string uri() const override { return root_; }
  Result<ObjectInfo> head(std::string_view key) override;
  Result<Blob> get(std::string_view key) override;
  Result<Blob> get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) override;
  Result<void> put(std::string_view key,
                   std::span<const std::span<const std::byte>> parts) override;
  Result<void> append(std::string_view key, std::span<const std::byte> bytes) override;
  Result<void> list(std::string_view prefix,
                    const std::function<bool(const ObjectInfo&)>& visit) override;
  Result<void> remove(std::string_view key) override;
  Result<void> flush() override;
  // The directory must exist.
  Result<Claim> claim() override;

 private:
  std::string path_of(std::string_view key) const;  // for messages and for the system alike
  void remove_leftovers_once(const std::string& directory);

  std::string root_;
  std::mutex append_mutex_;
  std::set<std::string> appended_;  // keys; since the last flush()
  std::mutex cleaned_mutex_;
  std::set<std::string> cleaned_;  // directories whose leftovers this store has removed
};

// LocalStore::claim(); `lock` stands in for flock in tests of file systems that know no locks.
Result<Claim> claim_directory(const std::string& directory,
                              const std::function<int(int fd, int operation)>& lock);

// Makes the directory and its parents, durably.
Result<void> make_directories(const std::string& directory);

}  // namespace atl::storage
