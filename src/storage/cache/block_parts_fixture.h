// For tests of parts of blocks: a cache with four to a block, and a bucket.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>

#include "storage/cache/block_parts.h"
#include "storage/cache/cache_fixture.h"

namespace atl::storage {

inline constexpr uint64_t kPartsInBlock = 4;
inline constexpr uint64_t kBlockBytes = kPartsInBlock * kPartBytes;

class PartsFixture : public CacheFixture {
 protected:
  PartsFixture() {
    options_.block_bytes = kBlockBytes;
    options_.max_fetch_bytes = 4 * kBlockBytes;
    options_.max_bytes = uint64_t{64} << 20;
  }

  std::shared_ptr<BlockCache> open() { return BlockCache::open(options_).value(); }
  // Whether these bytes come and are right.
  bool reads(BlockCache& cache, const ObjectVersion& version, uint64_t offset, uint64_t size) {
    const auto bytes = cache.read(remote_, version, offset, size);
    return bytes && bytes->text() == remote_->content(version.key)->substr(offset, size);
  }
  // A block, whole, as a sequential reader asks for it.
  std::future<Result<Blob>> ask(BlockCache& cache,
                                const ObjectVersion& version,
                                uint64_t block,
                                BlockCache::Urgency urgency = BlockCache::Urgency::kNow) {
    const auto promise = std::make_shared<std::promise<Result<Blob>>>();
    cache.read_async(remote_, version, block, 1, urgency, [promise](uint64_t, Result<Blob> bytes) {
      promise->set_value(std::move(bytes));
    });
    return promise->get_future();
  }
  bool is_block(const Result<Blob>& bytes, const ObjectVersion& version, uint64_t block) const {
    return bytes &&
           bytes->text() == remote_->content(version.key)->substr(block * kBlockBytes, kBlockBytes);
  }
  bool gives_blocks(BlockCache& cache, const ObjectVersion& version) {
    bool right = true;
    for (uint64_t block = 0; block * kBlockBytes < version.size_bytes; ++block) {
      right = is_block(ask(cache, version, block).get(), version, block) && right;
    }
    return right;
  }
  uint64_t cached(const BlockCache& cache, const ObjectVersion& version) const {
    return cache.cached_bytes(remote_->identity(), version);
  }
  uint64_t fetched_bytes() const { return remote_->counts().bytes_read; }
  // Every read of the bucket from here on fails but the first so many.
  void let_fail_after(int reads) {
    remote_->set_fault([left = std::make_shared<std::atomic<int>>(reads)](
                           std::string_view call) -> std::optional<Error> {
      if (!call.starts_with("read ") || (*left)-- > 0) return std::nullopt;
      return Error{ErrorCode::kIo, "reset", {}, {}};
    });
  }

  std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
};

}  // namespace atl::storage
