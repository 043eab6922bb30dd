#include "storage/cache/block_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <vector>

#include "storage/cache/block_cache_parts.h"
#include "storage/cache/block_fetcher.h"
#include "storage/cache/block_shelf.h"

namespace atl::storage {
namespace {

Result<void> check_options(const BlockCacheOptions& options) {
  if (options.block_bytes < kMinBlockBytes || options.block_bytes > kMaxBlockBytes) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("blocks of {} bytes: they may have {} to {}",
                            options.block_bytes,
                            kMinBlockBytes,
                            kMaxBlockBytes));
  }
  if (options.directory.empty()) return fail(ErrorCode::kInvalidInput, "no directory is named");
  return {};
}

// Blocks of one read, collected.
class Gathering {
 public:
  Gathering(uint64_t first, uint64_t blocks) : first_(first), blocks_(blocks), left_(blocks) {}

  void add(uint64_t index, Result<Blob> block) {
    const std::lock_guard lock(mutex_);
    if (block) {
      blocks_[index - first_] = std::move(*block);
    } else if (!error_) {
      error_ = std::move(block).error();
    }
    if (--left_ == 0) changed_.notify_all();
  }
  Result<std::vector<Blob>> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return left_ == 0; });
    if (error_) return tl::unexpected(std::move(*error_));
    return std::move(blocks_);
  }

 private:
  const uint64_t first_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Blob> blocks_;
  uint64_t left_;
  std::optional<Error> error_;
};

// The bytes [offset, offset + size) of these blocks laid side by side.
Blob cut(const std::vector<Blob>& blocks, uint64_t offset, uint64_t size_bytes) {
  if (blocks.size() == 1) {
    const auto owner = std::make_shared<const Blob>(blocks.front());
    return Blob(owner, owner->bytes().subspan(offset, size_bytes));
  }
  const std::shared_ptr<std::byte[]> joined =
      std::make_shared_for_overwrite<std::byte[]>(size_bytes);
  uint64_t at = 0;
  for (const Blob& block : blocks) {
    const auto from = block.bytes().subspan(std::min<uint64_t>(offset, block.size()));
    offset -= std::min<uint64_t>(offset, block.size());
    const uint64_t size = std::min<uint64_t>(from.size(), size_bytes - at);
    std::memcpy(joined.get() + at, from.data(), size);
    at += size;
  }
  return Blob(joined, std::span<const std::byte>(joined.get(), size_bytes));
}

// Where the bytes [offset, offset + size) lie, as far as there are any.
struct Extent {
  Extent(const ObjectVersion& version, uint64_t offset, uint64_t size, uint64_t block_bytes) {
    offset = std::min(offset, version.size_bytes);
    size_bytes = std::min(size, version.size_bytes - offset);
    if (size_bytes == 0) return;
    first = offset / block_bytes;
    blocks = (offset + size_bytes - 1) / block_bytes - first + 1;
    begin = offset - first * block_bytes;
  }
  uint64_t size_bytes = 0;
  uint64_t first = 0;
  uint64_t blocks = 0;
  uint64_t begin = 0;  // in the first block
};

class SharedBlockCache : public BlockCache {
 public:
  SharedBlockCache(BlockCacheOptions options,
                   std::unique_ptr<BlockShelf> shelf,
                   const BlockCacheParts& parts)
      : options_(std::move(options)),
        shelf_(std::move(shelf)),
        leases_(shelf_->files(), parts.self, parts.host, parts.clock),
        fetcher_(*shelf_, leases_, options_, [this] { look_after(); }) {
    leases_.clean();
  }

  const BlockCacheOptions& options() const override { return options_; }

  void read_async(std::shared_ptr<Remote> remote,
                  const ObjectVersion& version,
                  uint64_t first_block,
                  uint64_t blocks,
                  Urgency urgency,
                  OnBlock done) override {
    auto object = std::make_shared<const CachedObject>(object_of(remote->identity(), version));
    const uint64_t there = object->blocks() - std::min(object->blocks(), first_block);
    fetcher_.read(remote, object, first_block, std::min(blocks, there), urgency, done);
    for (uint64_t i = there; i < blocks; ++i) {
      done(first_block + i,
           fail(ErrorCode::kInvalidInput,
                fmt::format("{}: block {} of {}", version.key, first_block + i, object->blocks())));
    }
  }

  Result<Blob> read(std::shared_ptr<Remote> remote,
                    const ObjectVersion& version,
                    uint64_t offset,
                    uint64_t size_bytes) override {
    const Extent extent(version, offset, size_bytes, options_.block_bytes);
    if (extent.blocks == 1) {
      // No more of the block is read and checked than is wanted.
      const CachedObject object = object_of(remote->identity(), version);
      if (auto found = shelf_->find(object, extent.first, extent.begin, extent.size_bytes)) {
        hits_.fetch_add(1);
        return std::move(*found);
      }
    }
    return BlockCache::read(std::move(remote), version, offset, size_bytes);
  }

  std::optional<Blob> find(const std::string& remote_identity,
                           const ObjectVersion& version,
                           uint64_t block) override {
    const CachedObject object = object_of(remote_identity, version);
    if (block >= object.blocks()) return std::nullopt;
    auto found = shelf_->find(object, block, 0, object.block_bytes);
    if (found) hits_.fetch_add(1);
    return found;
  }

  uint64_t cached_bytes(const std::string& remote_identity,
                        const ObjectVersion& version) const override {
    return shelf_->held_bytes(object_of(remote_identity, version));
  }

  Result<void> release(const std::string& remote_identity, const ObjectVersion& version) override {
    if (shelf_->release(object_of(remote_identity, version))) return {};
    return fail(ErrorCode::kIo,
                fmt::format("{}: could not be removed from the cache", version.key));
  }

  Result<void> release_all() override {
    if (shelf_->release_all()) return {};
    return fail(ErrorCode::kIo,
                fmt::format("{}: not every block could be removed", options_.directory));
  }

  BlockCacheCounts counts() const override {
    const FetcherCounts& fetched = fetcher_.counts();
    BlockCacheCounts counts;
    counts.hits = hits_.load() + fetched.hits.load();
    counts.misses = fetched.misses.load();
    counts.waits = fetched.waits.load();
    counts.corrupt = shelf_->corrupt();
    counts.evicted = shelf_->evicted();
    counts.not_kept = shelf_->not_kept();
    counts.fetched_bytes = fetched.fetched_bytes.load();
    return counts;
  }
  uint64_t used_bytes() const override { return shelf_->used_bytes(); }

 private:
  CachedObject object_of(const std::string& identity, const ObjectVersion& version) const {
    return {identity, version.key, version.etag, version.size_bytes, options_.block_bytes};
  }

  void look_after() {
    leases_.beat();
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    if (!shelf_->recount_is_due(static_cast<uint64_t>(now_ms))) return;
    leases_.clean();
    shelf_->recount([this](uint64_t id) { return leases_.is_held(id); });
  }

  const BlockCacheOptions options_;
  std::unique_ptr<BlockShelf> shelf_;
  Leases leases_;
  std::atomic<uint64_t> hits_{0};
  BlockFetcher fetcher_;
};

}  // namespace

Result<Blob> BlockCache::read(std::shared_ptr<Remote> remote,
                              const ObjectVersion& version,
                              uint64_t offset,
                              uint64_t size_bytes) {
  const Extent extent(version, offset, size_bytes, options().block_bytes);
  if (extent.blocks == 0) return Blob();
  const auto gathering = std::make_shared<Gathering>(extent.first, extent.blocks);
  read_async(
      std::move(remote),
      version,
      extent.first,
      extent.blocks,
      Urgency::kNow,
      [gathering](uint64_t index, Result<Blob> block) { gathering->add(index, std::move(block)); });
  return cut(ATOLL_TRY(gathering->wait()), extent.begin, extent.size_bytes);
}

Result<std::shared_ptr<BlockCache>> BlockCache::open(BlockCacheOptions options) {
  static FileOperations files;  // the system's; holds nothing
  BlockCacheParts parts;
  parts.files = &files;
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) parts.host = host.data();
  return open_block_cache(std::move(options), parts);
}

Result<std::shared_ptr<BlockCache>> open_block_cache(BlockCacheOptions options,
                                                     const BlockCacheParts& parts) {
  ATOLL_TRY(check_options(options));
  // A process may have a cache open twice.
  const auto instance = std::chrono::steady_clock::now().time_since_epoch().count();
  const BlockShelfOptions shelf_options{options.directory,
                                        options.block_bytes,
                                        options.max_bytes,
                                        options.min_free_bytes,
                                        parts.self.boot,
                                        fmt::format("{}-{:x}", parts.self.text(), instance)};
  auto shelf = ATOLL_TRY(BlockShelf::open(shelf_options, *parts.files));
  return std::make_shared<SharedBlockCache>(std::move(options), std::move(shelf), parts);
}

}  // namespace atl::storage
