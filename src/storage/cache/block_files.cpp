#include "storage/cache/block_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <vector>

#include "storage/file_bytes.h"

namespace atl::storage {
namespace {

constexpr uint64_t kPageBytes = 4096;
// What a mount reads ahead at the most, and what is being read besides.
constexpr uint64_t kBufferBytes = uint64_t{72} << 20;
// Of names of usual lengths, rounded up to pages.
constexpr uint64_t kMostHeaderBytes = 2 * kPageBytes;
constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY;

std::optional<uint64_t> id_of(int shard, const std::string& name) {
  if (name.size() != 15) return std::nullopt;
  uint64_t low = 0;
  const auto end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, low, 16);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  const uint64_t id = uint64_t{static_cast<unsigned>(shard)} << 60 | low;
  // The one spelling that block_name() gives.
  if (id == 0 || block_name(id).substr(1) != name) return std::nullopt;
  return id;
}

// Reads or writes until everything is through; false on an error or the end of the file.
template <typename Call>
bool transfer(std::vector<iovec> parts, const Call& call) {
  uint64_t offset = 0;
  size_t first = 0;
  while (first < parts.size()) {
    const ssize_t n = call(parts.data() + first, static_cast<int>(parts.size() - first), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    offset += static_cast<uint64_t>(n);
    auto left = static_cast<size_t>(n);
    while (first < parts.size() && left >= parts[first].iov_len) left -= parts[first++].iov_len;
    if (first < parts.size()) {
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
  return true;
}

iovec part_of(const void* data, size_t size) { return {const_cast<void*>(data), size}; }

}  // namespace

uint64_t disk_bytes_of(uint64_t file_bytes) {
  return (file_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

uint64_t disk_bytes_of(const CachedObject& object, uint64_t index) {
  return disk_bytes_of(block_header_bytes(object, index) + object.data_bytes(index));
}

std::string block_name(uint64_t id) { return fmt::format("{:016x}", id); }

void for_each_name(int directory, const std::function<void(const std::string& name)>& visit) {
  // A descriptor of its own: the position in the directory belongs to it.
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const std::unique_ptr<DIR, void (*)(DIR*)> stream(::fdopendir(fd),
                                                    [](DIR* open) { ::closedir(open); });
  if (stream == nullptr) {
    ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") visit(name);
  }
}

BlockFiles::BlockFiles(FileOperations& files, std::string writer, uint64_t block_bytes)
    : files_(files),
      buffers_(block_bytes + kMostHeaderBytes, kBufferBytes / (block_bytes + kMostHeaderBytes)),
      writer_(std::move(writer)) {}

Result<std::unique_ptr<BlockFiles>> BlockFiles::open(const std::string& directory,
                                                     std::string writer,
                                                     uint64_t block_bytes,
                                                     FileOperations& files) {
  std::unique_ptr<BlockFiles> opened(new BlockFiles(files, std::move(writer), block_bytes));
  ATOLL_TRY_CONTEXT(opened->open_all(directory), "opening the block cache");
  return opened;
}

Result<void> BlockFiles::open_all(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), error);
  if (files_.make_directory(AT_FDCWD, directory) != 0 && errno != EEXIST) {
    return fail_on("making", directory);
  }
  directory_ = UniqueFd(::open(directory.c_str(), kFolderFlags | O_CLOEXEC));
  if (!directory_) return fail_on("opening", directory);
  struct stat status {};
  if (files_.status(directory_.get(), &status) != 0) return fail_on("opening", directory);
  if (status.st_uid != ::geteuid()) {
    return fail(ErrorCode::kPermission,
                fmt::format("{}: belongs to another user ({})", directory, status.st_uid),
                "name a directory of your own");
  }
  if ((status.st_mode & 022) != 0) {
    return fail(ErrorCode::kPermission,
                fmt::format("{}: others may write to it (mode {:o})",
                            directory,
                            static_cast<unsigned>(status.st_mode & 07777)),
                fmt::format("chmod 700 {}", directory));
  }
  const UniqueFd blocks = ATOLL_TRY(open_folder(directory_.get(), "blocks", directory));
  for (int shard = 0; shard < kShards; ++shard) {
    shards_[static_cast<size_t>(shard)] =
        ATOLL_TRY(open_folder(blocks.get(), fmt::format("{:x}", shard), directory + "/blocks"));
  }
  leases_ = ATOLL_TRY(open_folder(directory_.get(), "leases", directory));
  temporary_ = ATOLL_TRY(open_folder(directory_.get(), "temporary", directory));
  return check_writable(directory);
}

Result<UniqueFd> BlockFiles::open_folder(int parent,
                                         const std::string& name,
                                         const std::string& path) {
  if (files_.make_directory(parent, name) != 0 && errno != EEXIST) {
    return fail_on("making", path + "/" + name);
  }
  UniqueFd fd(files_.open(parent, name, kFolderFlags));
  if (!fd && (errno == ELOOP || errno == ENOTDIR)) {
    // A link or a file in our folder's place; what it points to is none of our business.
    if (files_.remove(parent, name) != 0 || files_.make_directory(parent, name) != 0) {
      return fail_on("making", path + "/" + name);
    }
    fd = UniqueFd(files_.open(parent, name, kFolderFlags));
  }
  struct stat status {};
  if (!fd || files_.status(fd.get(), &status) != 0) return fail_on("opening", path + "/" + name);
  if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) {
    return fail(ErrorCode::kPermission, fmt::format("{}/{}: not only ours", path, name));
  }
  return fd;
}

// A full disk is no reason to refuse: what is cached already can still be read.
Result<void> BlockFiles::check_writable(const std::string& directory) {
  const std::string name = unique_name();
  const UniqueFd fd(files_.open(temporary_.get(), name, O_WRONLY | O_CREAT | O_EXCL));
  if (!fd && (errno == EACCES || errno == EPERM || errno == EROFS)) {
    return fail_on("writing to", directory);
  }
  if (fd) files_.remove(temporary_.get(), name);
  return {};
}

// What of a block's file is to be read: the header, and whole pieces, because only those can be checked.
struct BlockFiles::Place {
  const CachedObject& object;
  uint64_t index = 0;
  uint64_t from = 0;  // of the block's bytes
  uint64_t to = 0;
  uint64_t header_bytes = 0;

  uint64_t bytes() const { return header_bytes + to - from; }
};

BlockFiles::Read BlockFiles::read(
    const CachedObject& object, uint64_t index, uint64_t offset, uint64_t size_bytes, By by) {
  const uint64_t data_bytes = object.data_bytes(index);
  const uint64_t begin = std::min(offset, data_bytes);
  const uint64_t end = begin + std::min(size_bytes, data_bytes - begin);
  const uint64_t from = begin / kPieceBytes * kPieceBytes;
  const uint64_t to = std::min(data_bytes, (end + kPieceBytes - 1) / kPieceBytes * kPieceBytes);
  const uint64_t id = object.block_id(index);
  const auto folder = shards_[static_cast<size_t>(shard_of(id))].get();
  const std::string name = block_name(id).substr(1);
  const UniqueFd fd(files_.open(folder, name, O_RDONLY));
  if (!fd) {
    if (errno == ELOOP) files_.remove(folder, name);
    return {};
  }
  const Place place{object, index, from, to, block_header_bytes(object, index)};
  Read result = read_open(fd.get(), place, by);
  if (result.found == Found::kDamaged) files_.remove(folder, name);
  if (result.found == Found::kYes && (from != begin || to != end)) {
    const auto owner = std::make_shared<const Blob>(std::move(result.bytes));
    result.bytes = Blob(owner, owner->bytes().subspan(begin - from, end - begin));
  }
  return result;
}

BlockFiles::Read BlockFiles::read_open(int fd, const Place& place, By by) {
  Read damaged{Found::kDamaged, {}};
  struct stat status {};
  if (files_.status(fd, &status) != 0) return {};
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() ||
      static_cast<uint64_t>(status.st_size) !=
          place.header_bytes + place.object.data_bytes(place.index)) {
    return damaged;
  }
  BlockBuffers::Buffer buffer;
  const bool direct = by == By::kDirect && read_direct(fd, place, buffer);
  if (!direct && !read_by_page_cache(fd, place, buffer)) return damaged;
  const auto bytes = buffer.bytes.subspan(place.header_bytes, place.to - place.from);
  const auto header = parse_block_header(buffer.bytes.first(place.header_bytes));
  if (!header || !header->is_of(place.object, place.index) ||
      !pieces_hold(*header, place.from, bytes)) {
    return damaged;
  }
  return {Found::kYes, Blob(std::move(buffer.owner), bytes)};
}

// False: it is to be read in the other way.
bool BlockFiles::read_direct(int fd, const Place& place, BlockBuffers::Buffer& buffer) {
  // Of a part, more would be read than is wanted.
  if (place.from > 0 || files_.is_in_page_cache(fd, place.bytes())) return false;
  if (files_.set_direct(fd, true) != 0) return false;
  buffer = buffers_.take(disk_bytes_of(place.bytes()));
  const iovec part = part_of(buffer.bytes.data(), buffer.bytes.size());
  const ssize_t n = files_.read(fd, &part, 1, 0);
  if (n >= 0 && static_cast<uint64_t>(n) >= place.bytes()) return true;
  files_.set_direct(fd, false);
  return false;
}

bool BlockFiles::read_by_page_cache(int fd, const Place& place, BlockBuffers::Buffer& buffer) {
  buffer = buffers_.take(place.bytes());
  const auto header = buffer.bytes.first(place.header_bytes);
  const auto bytes = buffer.bytes.subspan(place.header_bytes);
  const auto read_at = [&](uint64_t base) {
    return [this, fd, base](const iovec* parts, int count, uint64_t offset) {
      return files_.read(fd, parts, count, base + offset);
    };
  };
  if (place.from == 0)
    return transfer({part_of(buffer.bytes.data(), buffer.bytes.size())}, read_at(0));
  return transfer({part_of(header.data(), header.size())}, read_at(0)) &&
         transfer({part_of(bytes.data(), bytes.size())}, read_at(place.header_bytes + place.from));
}

bool BlockFiles::is_there(uint64_t id) {
  struct stat status {};
  return files_.status_at(shards_[static_cast<size_t>(shard_of(id))].get(),
                          block_name(id).substr(1),
                          &status) == 0;
}

bool BlockFiles::write(const CachedObject& object,
                       uint64_t index,
                       std::span<const std::byte> data) {
  const uint64_t id = object.block_id(index);
  const std::string temporary = unique_name();
  if (write_temporary(temporary, encode_block_header(object, index, data), data) &&
      files_.rename(temporary_.get(),
                    temporary,
                    shards_[static_cast<size_t>(shard_of(id))].get(),
                    block_name(id).substr(1)) == 0) {
    return true;
  }
  files_.remove(temporary_.get(), temporary);
  return false;
}

bool BlockFiles::write_temporary(const std::string& name,
                                 const std::string& header,
                                 std::span<const std::byte> data) {
  UniqueFd fd(files_.open(temporary_.get(), name, O_WRONLY | O_CREAT | O_EXCL));
  if (!fd) return false;
  const bool written =
      transfer({part_of(header.data(), header.size()), part_of(data.data(), data.size())},
               [&](const iovec* parts, int count, uint64_t offset) {
                 return files_.write(fd.get(), parts, count, offset);
               });
  return files_.close(fd.release()) == 0 && written;
}

bool BlockFiles::remove(uint64_t id) {
  return files_.remove(shards_[static_cast<size_t>(shard_of(id))].get(),
                       block_name(id).substr(1)) == 0 ||
         errno == ENOENT;
}

void BlockFiles::list(int shard,
                      const std::function<void(uint64_t id, uint64_t disk_bytes)>& visit) {
  const int folder = shards_[static_cast<size_t>(shard)].get();
  for_each_name(folder, [&](const std::string& name) {
    const auto id = id_of(shard, name);
    struct stat status {};
    if (files_.status_at(folder, name, &status) != 0) return;
    if (!id || !S_ISREG(status.st_mode)) {
      files_.remove(folder, name);
      return;
    }
    visit(*id, disk_bytes_of(static_cast<uint64_t>(status.st_size)));
  });
}

std::string BlockFiles::unique_name() {
  return fmt::format("{}-{}", writer_, written_.fetch_add(1));
}

void BlockFiles::remove_leftovers(const std::function<bool(const std::string& name)>& is_gone) {
  for_each_name(temporary_.get(), [&](const std::string& name) {
    if (is_gone(name)) files_.remove(temporary_.get(), name);
  });
}

std::optional<uint64_t> BlockFiles::free_bytes() {
  struct statvfs status {};
  if (files_.file_system(directory_.get(), &status) != 0) return std::nullopt;
  return uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace atl::storage
