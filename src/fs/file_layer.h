// A bucket as a POSIX file tree, with FSx for Lustre's behaviour: what is not there yet is read through
// the cache, what is changed is kept on the local disk, safe against crashes, and exported to the
// bucket by policy. Knows nothing of FUSE: fuse_server.h puts it into the kernel, tests call it.
//
// State lives in one directory: journal.db (SQLite, WAL), the tree's local changes, one transaction for
// each operation; and files/, the contents of files that are or were open for writing, sparse where
// the bucket's bytes have not been needed. What is not in the journal is as the namespace has it.
//
// States of a file, as `lfs hsm_state` tells them:
//   exists    the bucket has this file, perhaps an older content
//   archived  the bucket has exactly this content
//   dirty     the local content is newer; not archived
//   released  archived, and no byte of it is on the local disk
//
// Thread safe. Operations that need the network wait for it, up to the remote's deadline.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/namespace/namespace.h"
#include "storage/remote.h"

namespace atl::fs {

// An operation's answer to the kernel: a value or an errno. `reason` is for the log, where there is more
// to say than the number.
struct FsError {
  int error_number = 0;
  std::string reason;
};
template <typename T>
using FsResult = tl::expected<T, FsError>;
// The one place where an Error becomes an errno.
FsError to_fs_error(const Error& error);

using InodeNumber = uint64_t;
inline constexpr InodeNumber kRoot = 1;
using Handle = uint64_t;  // of an open file

struct Attributes {
  InodeNumber inode = 0;
  uint32_t mode = 0;  // type and permissions, as st_mode
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 1;
  uint64_t size_bytes = 0;
  timespec accessed{};
  timespec modified{};
  timespec changed{};
};

// What setattr() is to change; the rest stays.
struct AttributeChanges {
  std::optional<uint32_t> permissions;  // 07777
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<uint64_t> size_bytes;
  std::optional<Handle> through;  // of ftruncate(2): ESTALE where that file has given way
  std::optional<timespec> accessed;
  std::optional<timespec> modified;
};

struct NamedAttributes {
  std::string name;
  Attributes attributes;
};

// Bytes of a file: in memory, or a piece of a file on disk that can be spliced.
struct FileBytes {
  storage::Blob blob;
  int fd =
      -1;  // where >= 0: these bytes are [fd_offset, fd_offset + size_bytes) of it, and `owner` keeps it open
  uint64_t fd_offset = 0;
  uint64_t size_bytes = 0;
  std::shared_ptr<const void> owner;
};

enum class ExportPolicy { kOnClose, kOnDemand };
// What happens where an object was changed in the bucket and here: the local change is dropped; the
// bucket's is replaced; or the local content is kept beside it as "name.conflict-HOST-TIME".
enum class ConflictPolicy { kRemoteWins, kLocalWins, kKeepBoth };
// Whose mode, owner, times and type (a symlink is an object like others) are asked for, by a HEAD for
// each object, once for each version: of what lies in a directory whose own object carries such
// metadata, as every exported one does; of everything; of nothing. What is not asked for has defaults.
enum class PosixMetadata { kAuto, kAlways, kNever };

struct FileLayerOptions {
  std::string directory;  // of the journal and the local contents
  bool read_only = false;
  uint32_t uid = 0;  // of what carries no metadata
  uint32_t gid = 0;
  uint32_t umask = 0022;
  ExportPolicy exports = ExportPolicy::kOnClose;
  ConflictPolicy conflicts = ConflictPolicy::kKeepBoth;
  bool fsync_to_bucket = false;
  storage::ImportPolicy imports;
  std::chrono::seconds import_interval{60};
  uint64_t max_read_ahead_bytes = uint64_t{64} << 20;  // of all handles together
  PosixMetadata posix_metadata = PosixMetadata::kAuto;
  int export_workers = 8;
  // A write whose answer never came may still take effect so much later; a removal waits for it.
  std::chrono::milliseconds late_write{5'000};
  // Local contents that the bucket has, too, are kept up to so many bytes, the newest ones.
  uint64_t keep_exported_bytes = uint64_t{10} << 30;
  // A line for the log: conflicts, exports that are tried again, damage. From any thread; may be null.
  std::function<void(std::string_view line)> log;
  // For tests: asked before each system call on local contents ("pwrite", "ftruncate", …); a number other
  // than 0 is the errno it fails with.
  std::function<int(std::string_view call)> disk_fault;
};

struct LayerCounts {
  uint64_t exported_files = 0;  // contents and metadata; directories and links, too
  uint64_t exported_bytes = 0;
  uint64_t removed_objects = 0;
  uint64_t failed_exports = 0;  // attempts; they are tried again
  uint64_t conflicts = 0;
  uint64_t waiting_exports = 0;
  uint64_t hidden_keys = 0;  // of the bucket, which no path can show
};

struct FileState {
  std::string path;
  bool is_directory = false;
  bool exists = false;
  bool archived = false;
  bool dirty = false;
  bool released = false;
  uint64_t size_bytes = 0;
  uint64_t cached_bytes = 0;
};

struct Progress {
  uint64_t files = 0;
  uint64_t files_in_all = 0;
  uint64_t bytes = 0;
  uint64_t bytes_in_all = 0;
};
using OnProgress = std::function<void(const Progress&)>;

class FileLayer {
 public:
  // Replays the journal. kInvalidInput: another process has this directory; kPermission: it is another
  // user's.
  static Result<std::unique_ptr<FileLayer>> open(std::shared_ptr<storage::Remote> remote,
                                                 std::shared_ptr<storage::Namespace> names,
                                                 std::shared_ptr<storage::BlockCache> cache,
                                                 FileLayerOptions options);
  // Waits for what is being exported; what is not exported yet stays in the journal.
  virtual ~FileLayer() = default;

  // ---- what the kernel asks for ---------------------------------------------------------------
  virtual FsResult<Attributes> lookup(InodeNumber parent, std::string_view name) = 0;
  // The kernel gives back `lookups` references; numbers without any may be used again.
  virtual void forget(InodeNumber inode, uint64_t lookups) = 0;
  virtual FsResult<Attributes> attributes(InodeNumber inode) = 0;
  virtual FsResult<Attributes> set_attributes(InodeNumber inode,
                                              const AttributeChanges& changes) = 0;
  // In byte order of the names, from the first after `after`, until the visitor returns false; without
  // "." and "..". Where `count_lookups`, every visited entry counts as one lookup() of it, as the
  // kernel's readdirplus wants; else the numbers are only for show.
  virtual FsResult<void> list(InodeNumber directory,
                              std::string_view after,
                              bool count_lookups,
                              const std::function<bool(const NamedAttributes&)>& visit) = 0;

  // What an import has changed under the kernel's eyes: the content or attributes of `inode` (0: none),
  // or what `parent` has as `name` ("": no entry). Only what has lookups, or has a parent that has, needs
  // to be told; anything untold is noticed when the kernel's timeouts are over.
  struct Change {
    InodeNumber inode = 0;
    InodeNumber parent = 0;
    std::string name;
  };
  using OnChange = std::function<void(const Change&)>;
  // Called from a thread that is no operation's, with no lock held: the kernel may call back meanwhile.
  // A null function ends it; when on_change returns, the one before is not running any more.
  virtual void on_change(OnChange changed) = 0;

  struct Opened {
    Handle handle = 0;
    bool keep_cache = false;  // what the kernel has of this inode's content is still right
    bool direct_io = false;   // it must not be looked at: others have another version open
  };
  struct Created {
    Attributes attributes;
    Opened opened;
  };
  // `flags` as in open(2). O_TRUNC and O_APPEND are honoured.
  virtual FsResult<Opened> open(InodeNumber inode, int flags) = 0;
  virtual FsResult<Created> create(InodeNumber parent,
                                   std::string_view name,
                                   uint32_t permissions,
                                   uint32_t uid,
                                   uint32_t gid,
                                   int flags) = 0;
  virtual FsResult<FileBytes> read(Handle handle, uint64_t offset, uint64_t size_bytes) = 0;
  virtual FsResult<uint64_t> write(Handle handle,
                                   uint64_t offset,
                                   std::span<const std::byte> bytes) = 0;
  virtual FsResult<void> fsync(Handle handle) = 0;
  // fsync(2) of a directory: what has been made, renamed and removed is on the disk.
  virtual FsResult<void> sync_directories() = 0;
  // close(2) of one descriptor; the content is in the journal when it returns.
  virtual FsResult<void> flush(Handle handle) = 0;
  virtual void release_handle(Handle handle) = 0;

  virtual FsResult<Attributes> make_directory(InodeNumber parent,
                                              std::string_view name,
                                              uint32_t permissions,
                                              uint32_t uid,
                                              uint32_t gid) = 0;
  virtual FsResult<Attributes> make_symlink(InodeNumber parent,
                                            std::string_view name,
                                            std::string_view target,
                                            uint32_t uid,
                                            uint32_t gid) = 0;
  virtual FsResult<std::string> read_symlink(InodeNumber inode) = 0;
  virtual FsResult<void> unlink(InodeNumber parent, std::string_view name) = 0;
  virtual FsResult<void> remove_directory(InodeNumber parent, std::string_view name) = 0;
  // `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE.
  virtual FsResult<void> rename(InodeNumber from,
                                std::string_view name,
                                InodeNumber to,
                                std::string_view new_name,
                                unsigned flags) = 0;
  virtual FsResult<std::string> xattr(InodeNumber inode, std::string_view name) = 0;
  virtual FsResult<std::vector<std::string>> xattrs(InodeNumber inode) = 0;
  // `flags`: XATTR_CREATE, XATTR_REPLACE.
  virtual FsResult<void> set_xattr(InodeNumber inode,
                                   std::string_view name,
                                   std::string_view value,
                                   int flags) = 0;
  virtual FsResult<void> remove_xattr(InodeNumber inode, std::string_view name) = 0;
  virtual FsResult<struct statvfs> statistics() = 0;
  virtual LayerCounts counts() const = 0;

  // ---- what `atoll fs` asks for (paths relative to the root, "" for all) ------------------------
  virtual Result<void> states(std::string_view path,
                              bool recursive,
                              const std::function<bool(const FileState&)>& visit) = 0;
  virtual Result<Progress> preload(std::string_view path,
                                   std::string_view glob,
                                   std::stop_token stop,
                                   const OnProgress& progress) = 0;
  // Exported files that nobody has read for `unused`.
  virtual Result<Progress> release(std::string_view path,
                                   std::chrono::seconds unused,
                                   const OnProgress& progress) = 0;
  // What is dirty, and waits for it.
  virtual Result<Progress> export_now(std::string_view path,
                                      std::stop_token stop,
                                      const OnProgress& progress) = 0;
  virtual Result<storage::ImportCounts> import_now(std::string_view path, std::stop_token stop) = 0;
};

}  // namespace atl::fs
