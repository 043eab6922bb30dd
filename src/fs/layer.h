// The FileLayer: handles and inode numbers on the outside, the tree, its changes and the exporter inside.
// Only file_layer.h is for others.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "fs/exporter.h"
#include "fs/file_layer.h"
#include "fs/sibling_reads.h"

namespace atl::fs {

class Layer final : public FileLayer {
 public:
  Layer(FileLayerOptions options, std::shared_ptr<const void> claim);
  FsResult<void> start(std::shared_ptr<const Content::Shared> shared,
                       std::shared_ptr<storage::Namespace> names);
  ~Layer() override;

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
  LayerCounts counts() const override;

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
  struct OpenFile;
  using OpenFilePtr = std::shared_ptr<OpenFile>;

  // ---- layer.cpp, layer_files.cpp
  FsResult<void> writable() const;
  FsResult<Attributes> make(InodeNumber parent, std::string_view name, Row like);
  // With the tree's lock.
  FsResult<Handle> add_handle(const NodePtr& node, const Row& row, int flags);
  FsResult<OpenFilePtr> open_file(Handle handle) const;
  std::shared_ptr<Content> content_of(Handle handle) const;
  void part_from_older(const Node& node, const Entry& entry);
  FsResult<void> set_size(const NodePtr& node,
                          uint64_t size_bytes,
                          const std::shared_ptr<Content>& through);
  FsResult<void> journal_size(const NodePtr& node, const Content::State& state, bool durable);
  enum class Writes { kItsOwn, kAnyones };
  static bool is_to_be_saved(const OpenFile& file, Writes whose);
  // Whether there was anything to save.
  FsResult<bool> save(OpenFile& file, Writes whose);
  void save_open(const std::vector<OpenFilePtr>& files);
  void note_access(const NodePtr& node);

  // ---- layer_background.cpp
  void tell(const Change& change);
  void tell_changes();
  void import_by_interval();
  void save_by_interval();
  void hear(std::string_view key);
  std::optional<Change> change_of(std::string_view key);
  FsResult<void> write_accesses();

  // ---- layer_commands.cpp
  FsResult<Entry> entry_at(Tree::Lock& lock,
                           std::string_view path,
                           std::string& where,
                           NodePin& pin);
  FsResult<bool> walk(const NodePtr& directory,
                      const std::string& path,
                      bool recursive,
                      const std::function<FsResult<bool>(const std::string&, const Entry&)>& visit);
  FsResult<void> walk_from(
      std::string_view path,
      bool recursive,
      const std::function<FsResult<bool>(const std::string&, const Entry&)>& visit);
  FileState state_of(const std::string& path, const Entry& entry);
  FsResult<uint64_t> release_entry(const std::string& path, const Entry& entry, int64_t before_s);

  const FileLayerOptions options_;
  const std::shared_ptr<const void> claim_;  // of the directory
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<Changes> changes_;
  std::unique_ptr<Exporter> exporter_;
  std::unique_ptr<SiblingReads> siblings_;

  mutable std::shared_mutex handles_mutex_;
  std::unordered_map<Handle, OpenFilePtr> handles_;
  Handle last_handle_ = 0;

  std::mutex accesses_mutex_;
  std::map<std::string, int64_t> accesses_;  // not in the journal yet

  std::mutex changes_mutex_;
  std::condition_variable_any changes_came_;
  std::deque<Change> waiting_changes_;
  std::deque<std::string> changed_keys_;
  OnChange on_change_;
  std::mutex telling_;  // held while on_change_ runs

  std::mutex stop_mutex_;
  std::condition_variable_any stopping_;
  std::stop_source stop_;
  std::vector<std::thread> threads_;
};

}  // namespace atl::fs
