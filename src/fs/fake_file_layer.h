// A file layer in memory, for tests of what stands above it: logs every call, fails or waits where told
// to, and counts the kernel's references. A plain POSIX tree; there is no bucket behind it.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "base/unique_fd.h"
#include "fs/file_layer.h"

namespace atl::fs {

class FakeFileLayer : public FileLayer {
 public:
  FakeFileLayer();

  // ---- the test's side --------------------------------------------------------------------------
  // Each call of this name from now on gives this errno; 0: none any more.
  void fail(const std::string& call, int error_number);
  // Calls of this name wait until release(); wait_for_held returns once there are n of them.
  void hold(const std::string& call);
  void release(const std::string& call);
  void wait_for_held(size_t n) const;
  // "read 2 0 4096", in order.
  std::vector<std::string> calls() const;
  size_t calls_of(std::string_view name) const;
  void forget_calls();
  uint64_t lookups(InodeNumber inode) const;
  void wait_until_forgotten(InodeNumber inode) const;
  size_t open_handles() const;
  // Whether reads answer with a descriptor to splice from, instead of bytes.
  void splice_reads(bool splice);
  // Puts a file or its new content there as an import would, telling nobody.
  InodeNumber put(std::string_view name, std::string_view content);
  void tell(const Change& change);

  // ---- FileLayer ----------------------------------------------------------------------------------
  FsResult<Attributes> lookup(InodeNumber parent, std::string_view name) override;
  void forget(InodeNumber inode, uint64_t lookups) override;
  FsResult<Attributes> attributes(InodeNumber inode) override;
  FsResult<Attributes> set_attributes(InodeNumber inode, const AttributeChanges& changes) override;
  FsResult<void> list(InodeNumber directory,
                      std::string_view after,
                      bool count_lookups,
                      const std::function<bool(const NamedAttributes&)>& visit) override;
  void on_change(OnChange changed) override;
  FsResult<Opened> open(InodeNumber inode, int flags) override;
  FsResult<Created> create(InodeNumber parent,
                           std::string_view name,
                           uint32_t permissions,
                           uint32_t uid,
                           uint32_t gid,
                           int flags) override;
  FsResult<FileBytes> read(Handle handle, uint64_t offset, uint64_t size_bytes) override;
  FsResult<uint64_t> write(Handle handle,
                           uint64_t offset,
                           std::span<const std::byte> bytes) override;
  FsResult<void> fsync(Handle handle) override;
  FsResult<void> sync_directories() override;
  FsResult<void> flush(Handle handle) override;
  void release_handle(Handle handle) override;
  FsResult<Attributes> make_directory(InodeNumber parent,
                                      std::string_view name,
                                      uint32_t permissions,
                                      uint32_t uid,
                                      uint32_t gid) override;
  FsResult<Attributes> make_symlink(InodeNumber parent,
                                    std::string_view name,
                                    std::string_view target,
                                    uint32_t uid,
                                    uint32_t gid) override;
  FsResult<std::string> read_symlink(InodeNumber inode) override;
  FsResult<void> unlink(InodeNumber parent, std::string_view name) override;
  FsResult<void> remove_directory(InodeNumber parent, std::string_view name) override;
  FsResult<void> rename(InodeNumber from,
                        std::string_view name,
                        InodeNumber to,
                        std::string_view new_name,
                        unsigned flags) override;
  FsResult<std::string> xattr(InodeNumber inode, std::string_view name) override;
  FsResult<std::vector<std::string>> xattrs(InodeNumber inode) override;
  FsResult<void> set_xattr(InodeNumber inode,
                           std::string_view name,
                           std::string_view value,
                           int flags) override;
  FsResult<void> remove_xattr(InodeNumber inode, std::string_view name) override;
  FsResult<struct statvfs> statistics() override;
  LayerCounts counts() const override { return {}; }
  // Every file is exists, archived and as large as it is; the jobs report one step for each.
  Result<void> states(std::string_view path,
                      bool recursive,
                      const std::function<bool(const FileState&)>& visit) override;
  Result<Progress> preload(std::string_view path,
                           std::string_view glob,
                           std::stop_token stop,
                           const OnProgress& progress) override;
  Result<Progress> release(std::string_view path,
                           std::chrono::seconds unused,
                           const OnProgress& progress) override;
  Result<Progress> export_now(std::string_view path,
                              std::stop_token stop,
                              const OnProgress& progress) override;
  Result<storage::ImportCounts> import_now(std::string_view path, std::stop_token stop) override;

 private:
  struct Node {
    Attributes attributes;
    std::shared_ptr<UniqueFd> content;  // a memfd, of a file
    std::string target;                 // of a symlink
    std::map<std::string, InodeNumber, std::less<>> children;
    std::map<std::string, std::string, std::less<>> xattrs;
    uint64_t lookups = 0;
    int64_t seen = 0;  // the time of the content that was opened last
  };

  // Logs the call, waits where it is held, fails where it is to fail. Takes the lock.
  FsResult<std::unique_lock<std::mutex>> enter(std::string call);
  // The rest with mutex_ held.
  FsResult<Node*> node(InodeNumber inode);
  FsResult<Node*> child(InodeNumber parent, std::string_view name);
  FsResult<Node*> add(InodeNumber parent, std::string_view name, uint32_t mode);
  void resize(Node& file, uint64_t size_bytes);
  void touch(Node& node);
  FsResult<void> take_out(InodeNumber parent, std::string_view name, bool directory);
  Result<Progress> walk(std::string call, const std::stop_token& stop, const OnProgress& progress);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<InodeNumber, Node> nodes_;
  std::map<Handle, InodeNumber> handles_;
  InodeNumber next_inode_ = kRoot + 1;
  Handle next_handle_ = 1;
  int64_t clock_ns_ = 0;  // never the same time twice
  std::vector<std::string> calls_;
  std::map<std::string, int> failures_;
  std::set<std::string> held_;
  size_t waiting_ = 0;
  bool splice_ = false;
  std::mutex told_mutex_;
  OnChange told_;
};

}  // namespace atl::fs
