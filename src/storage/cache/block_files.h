// The cache's directory and the files in it:
//   DIR/blocks/0 … f/…   the blocks, by the first digit of their name (storage/cache/block_header.h)
//   DIR/leases/…         who is fetching what (storage/cache/lease.h)
//   DIR/temporary/…      blocks that are being written
//   DIR/usage-…          what is there and when it was last used (storage/cache/usage_table.h)
//
// Everything found here is held against what should be here: links are not followed, what is no regular
// file of ours with the right size, header and checksums is removed or, where it cannot be, left out.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "storage/cache/block_buffers.h"
#include "storage/cache/block_header.h"
#include "storage/cache/file_operations.h"
#include "storage/storage.h"

namespace atl::storage {

// What a block takes on disk, counted in pages.
uint64_t disk_bytes_of(uint64_t file_bytes);
uint64_t disk_bytes_of(const CachedObject& object, uint64_t index);
// As a file is named: 16 hexadecimal digits.
std::string block_name(uint64_t id);

// Thread safe.
class BlockFiles {
 public:
  static constexpr int kShards = 16;
  static int shard_of(uint64_t id) { return static_cast<int>(id >> 60); }

  // Makes what is missing. `writer` names this process; temporary files begin with it.
  // kPermission: the directory is another user's, or others may write to it. kIo: it cannot be made or
  // written to.
  // Blocks of `block_bytes` are read into memory that is used again.
  static Result<std::unique_ptr<BlockFiles>> open(const std::string& directory,
                                                  std::string writer,
                                                  uint64_t block_bytes,
                                                  FileOperations& files);

  enum class Found { kNo, kYes, kDamaged };
  // kDirect: past the page cache, unless that has the block: for bytes that somebody else keeps in memory.
  enum class By { kPageCache, kDirect };
  struct Read {
    Found found = Found::kNo;
    Blob bytes;
  };
  // The bytes [offset, offset + size) of the block, checked. A damaged block is removed.
  Read read(const CachedObject& object,
            uint64_t index,
            uint64_t offset,
            uint64_t size_bytes,
            By by = By::kPageCache);
  bool is_there(uint64_t id);
  // Whole or not at all; false: the disk did not take it.
  bool write(const CachedObject& object, uint64_t index, std::span<const std::byte> data);
  // True: the block is not there any more.
  bool remove(uint64_t id);
  // Every block of a shard with what it takes on disk; what has no block's name is removed.
  void list(int shard, const std::function<void(uint64_t id, uint64_t disk_bytes)>& visit);
  // Temporary files whose writer `is_gone` says has ended.
  void remove_leftovers(const std::function<bool(const std::string& name)>& is_gone);
  // For a file in temporary/: says who made it, "WRITER-NUMBER".
  std::string unique_name();
  // What the file system has left for us; nullopt where it does not say.
  std::optional<uint64_t> free_bytes();

  int directory() const { return directory_.get(); }
  int leases() const { return leases_.get(); }
  int temporary() const { return temporary_.get(); }
  FileOperations& files() { return files_; }

 private:
  BlockFiles(FileOperations& files, std::string writer, uint64_t block_bytes);
  Result<void> open_all(const std::string& directory);
  Result<UniqueFd> open_folder(int parent, const std::string& name, const std::string& path);
  Result<void> check_writable(const std::string& directory);
  bool write_temporary(const std::string& name,
                       const std::string& header,
                       std::span<const std::byte> data);
  struct Place;
  Read read_open(int fd, const Place& place, By by);
  bool read_direct(int fd, const Place& place, BlockBuffers::Buffer& buffer);
  bool read_by_page_cache(int fd, const Place& place, BlockBuffers::Buffer& buffer);

  FileOperations& files_;
  BlockBuffers buffers_;
  const std::string writer_;
  std::atomic<uint64_t> written_{0};
  UniqueFd directory_;
  UniqueFd leases_;
  UniqueFd temporary_;
  std::array<UniqueFd, kShards> shards_;
};

// The names in an open directory, without "." and "..", in no order; nothing where it cannot be read.
void for_each_name(int directory, const std::function<void(const std::string& name)>& visit);

}  // namespace atl::storage
