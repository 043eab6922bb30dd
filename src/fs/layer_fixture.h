// A machine for the layer's tests: a state directory, a namespace and a cache over a bucket in memory,
// and the file operations by path, with the same few calls that the kernel would make.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fs/file_layer.h"
#include "storage/fake_remote.h"

namespace atl::fs {

class Machine {
 public:
  explicit Machine(std::shared_ptr<storage::FakeRemote> remote,
                   const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  FileLayerOptions options;  // for the next start()
  uint64_t block_bytes = 4096;
  storage::FakeRemote& bucket() { return *remote_; }
  FileLayer& layer() { return *layer_; }
  const std::filesystem::path& directory() const { return directory_; }
  void start();
  Result<void> try_start();
  void stop() { layer_.reset(); }
  // The state directory as it is at this moment becomes that of the next start, as after SIGKILL.
  void crash() {
    copy_state();
    crash_to_copy();
  }
  // The two halves of it. While it is copied nothing may end that changes it.
  void copy_state();
  void crash_to_copy();
  // What the bucket has is looked at again from now on.
  void age();
  std::vector<std::string> log();

  // ---- by path, "" for the top; 0 or an errno ---------------------------------------------------
  FsResult<Attributes> look(std::string_view path);
  int write(std::string_view path, std::string_view content);  // creates, replaces
  int write_at(std::string_view path,
               uint64_t offset,
               std::string_view bytes,
               int flags = O_WRONLY);
  FsResult<std::string> read(std::string_view path);
  FsResult<std::string> read(Handle handle, uint64_t offset, uint64_t size_bytes);
  FsResult<Handle> open(std::string_view path, int flags);
  void close(Handle handle);
  int make_directory(std::string_view path, uint32_t permissions = 0755);
  int make_symlink(std::string_view path, std::string_view target);
  int unlink(std::string_view path);
  int remove_directory(std::string_view path);
  int rename(std::string_view from, std::string_view to, unsigned flags = 0);
  int set_attributes(std::string_view path, const AttributeChanges& changes);
  std::vector<std::string> list(std::string_view path);
  // Everything below, "PATH TYPE MODE UID GID CONTENT" or the target; without the times.
  std::map<std::string, std::string> tree();
  // Waits until everything is in the bucket.
  void settle();
  // How many files hold local contents.
  ptrdiff_t local_files() const;

 private:
  FsResult<InodeNumber> parent_of(std::string_view path, std::string& name);
  void walk(const std::string& path, InodeNumber inode, std::map<std::string, std::string>& tree);

  std::shared_ptr<storage::FakeRemote> remote_;
  std::filesystem::path directory_;
  std::filesystem::path copy_;
  std::atomic<int64_t> age_s_{0};
  std::mutex log_mutex_;
  std::vector<std::string> log_;
  std::unique_ptr<FileLayer> layer_;
};

// A bucket with the files a ("alpha") and d/b ("beta"); exports on demand.
class LayerTest : public testing::Test {
 protected:
  LayerTest();
  // With a in the cache.
  void start(ConflictPolicy policy);
  // Everything gets into the bucket, with so many conflicts so far, none of them silent.
  void settle_with_conflicts(uint64_t conflicts);

  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
};

inline int error_of(const FsResult<void>& result) {
  return result ? 0 : result.error().error_number;
}
template <typename T>
int error_of(const FsResult<T>& result) {
  return result ? 0 : result.error().error_number;
}

}  // namespace atl::fs
