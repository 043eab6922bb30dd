#include "storage/cache/block_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <utility>

#include "storage/cache/block_cache_parts.h"
#include "storage/cache/block_fetcher.h"
#include "storage/cache/block_gathering.h"
#include "storage/cache/block_parts.h"
#include "storage/cache/block_shelf.h"
#include "storage/cache/jumping_read.h"

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

// Where the bytes [offset, offset + size) lie, as far as there are any.
struct Extent {
  Extent(const ObjectVersion& version, uint64_t from, uint64_t size, uint64_t block_bytes)
      : offset(std::min(from, version.size_bytes)),
        size_bytes(std::min(size, version.size_bytes - offset)) {
    if (size_bytes == 0) return;
    first = offset / block_bytes;
    blocks = (offset + size_bytes - 1) / block_bytes - first + 1;
  }
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  uint64_t first = 0;
  uint64_t blocks = 0;
};

// The one answer that a thread waits for.
class Answer {
 public:
  BlockGathering::Done taker() const {
    return [promise = promise_](Result<Blob> bytes) { promise->set_value(std::move(bytes)); };
  }
  Result<Blob> wait() { return promise_->get_future().get(); }

 private:
  // Not this thread's alone: it may have gone on before the other one is done with it.
  const std::shared_ptr<std::promise<Result<Blob>>> promise_ =
      std::make_shared<std::promise<Result<Blob>>>();
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
    if (extent.blocks == 0) return Blob();
    JumpingRead read(*shelf_,
                     fetcher_,
                     object_of(remote->identity(), version),
                     extent.offset,
                     extent.size_bytes);
    hits_.fetch_add(read.hits());
    Answer answer;
    std::move(read).bring(remote, answer.taker());
    return answer.wait();
  }

  std::optional<Blob> find(const std::string& remote_identity,
                           const ObjectVersion& version,
                           uint64_t block) override {
    const CachedObject object = object_of(remote_identity, version);
    if (block >= object.blocks()) return std::nullopt;
    auto found = shelf_->find(object, block, 0, object.block_bytes);
    if (!found) return find_parts(object, block);
    hits_.fetch_add(1);
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

  // The block, where all of its parts are there.
  std::optional<Blob> find_parts(const CachedObject& object, uint64_t block) {
    const auto parts = parts_of(object);
    if (!parts) return std::nullopt;
    const PartRange in_block = parts_of_block(object, block);
    const uint64_t end = in_block.first + in_block.count;
    for (uint64_t part = in_block.first; part < end; ++part) {
      if (!shelf_->holds(*parts, part)) return std::nullopt;
    }
    std::optional<Blob> whole;
    BlockGathering gathering(block * object.block_bytes,
                             object.data_bytes(block),
                             in_block.count,
                             [&](Result<Blob> bytes) { whole = std::move(*bytes); });
    for (uint64_t part = in_block.first; part < end; ++part) {
      auto found = shelf_->find(*parts, part, 0, kPartBytes);
      if (!found) return std::nullopt;
      hits_.fetch_add(1);
      gathering.add(part * kPartBytes, std::move(*found));
    }
    return whole;
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
  const uint64_t block_bytes = options().block_bytes;
  const Extent extent(version, offset, size_bytes, block_bytes);
  if (extent.blocks == 0) return Blob();
  Answer answer;
  const auto gathering = std::make_shared<BlockGathering>(
      extent.offset, extent.size_bytes, extent.blocks, answer.taker());
  read_async(std::move(remote),
             version,
             extent.first,
             extent.blocks,
             Urgency::kNow,
             [gathering, block_bytes](uint64_t index, Result<Blob> block) {
               gathering->add(index * block_bytes, std::move(block));
             });
  return answer.wait();
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
