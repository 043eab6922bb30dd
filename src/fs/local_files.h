// The files that hold local contents, DIR/files/HEX of the inode, and the system calls on them. A file is
// there only where the journal says so; beside it, under a name of its own, what perhaps comes to be one. What a crash
// left of either is removed at the start.
//
// Thread safe. Errors are errno's own: ENOSPC, EDQUOT, EIO, …
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "fs/fs_error.h"

namespace atl::fs {

// Open for reading and writing. Shared by whoever still reads from it.
class OpenLocalFile {
 public:
  explicit OpenLocalFile(UniqueFd fd, std::string apart = {})
      : fd_(std::move(fd)), apart_(std::move(apart)) {}
  ~OpenLocalFile();
  OpenLocalFile(const OpenLocalFile&) = delete;
  OpenLocalFile& operator=(const OpenLocalFile&) = delete;

  int get() const { return fd_.get(); }

 private:
  friend class LocalFiles;
  UniqueFd fd_;
  mutable std::string apart_;  // its path until it is placed
  mutable bool place_unsynced_ = false;
};
using LocalFile = std::shared_ptr<const OpenLocalFile>;

class LocalFiles {
 public:
  using Fault = std::function<int(std::string_view call)>;
  // `directory` exists.
  LocalFiles(std::string directory, Fault fault)
      : directory_(std::move(directory)), fault_(std::move(fault)) {}

  // Empty, also where there was one.
  FsResult<LocalFile> create(InodeNumber inode) const;
  FsResult<LocalFile> open(InodeNumber inode) const;
  // One without a name, gone when it is closed.
  FsResult<LocalFile> create_nameless() const;
  // One that goes with its last holder unless it is placed.
  FsResult<LocalFile> create_apart() const;
  // The inode's from now on, also for the disk; one that was placed already stays where it is. Not two at a time of one
  // file.
  FsResult<void> place(const LocalFile& file, InodeNumber inode) const;
  // Gives the bytes that its end frees, once nobody has it open.
  uint64_t remove(InodeNumber inode) const;
  // Removes the files of which `keep` says no.
  FsResult<void> tidy(const std::function<bool(InodeNumber)>& keep) const;

  FsResult<uint64_t> size(const LocalFile& file) const;
  // Fewer bytes where the file ends.
  FsResult<uint64_t> read(const LocalFile& file, uint64_t offset, std::span<std::byte> into) const;
  // Fewer bytes where the disk is full in the middle; at least one.
  FsResult<uint64_t> write(const LocalFile& file,
                           uint64_t offset,
                           std::span<const std::byte> bytes) const;
  FsResult<void> set_size(const LocalFile& file, uint64_t size_bytes) const;
  // With the name of a new file: so ext4, XFS and Btrfs do it.
  FsResult<void> sync(const LocalFile& file) const;

  const std::string& directory() const { return directory_; }

 private:
  std::string path_of(InodeNumber inode) const;
  int fault(std::string_view call) const { return fault_ ? fault_(call) : 0; }
  FsResult<LocalFile> open_file(const std::string& path, int flags) const;
  FsResult<LocalFile> make_temporary(bool nameless) const;

  std::string directory_;
  Fault fault_;
};

}  // namespace atl::fs
