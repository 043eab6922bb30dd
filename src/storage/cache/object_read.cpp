#include "storage/cache/object_read.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>

#include "base/check.h"
#include "storage/nameless_file.h"

namespace atl::storage {
namespace {

// Of a long object, so much is on its way at a time: enough for 20 ms of latency at 3 GB/s.
constexpr uint64_t kInFlightBytes = uint64_t{64} << 20;

// Blocks that come together in one buffer. Each callback writes to its own place; the last one hands
// over.
struct Assembly {
  std::shared_ptr<std::byte[]> buffer;
  uint64_t offset = 0;  // in the object
  uint64_t size_bytes = 0;
  uint64_t block_bytes = 0;
  std::atomic<uint64_t> missing = 0;
  std::function<void(Result<Blob>)> done;
  std::mutex mutex;
  std::optional<Error> failure;

  void take(uint64_t index, Result<Blob> block) {
    if (block) {
      const uint64_t begin = index * block_bytes;
      const uint64_t skip = offset > begin ? offset - begin : 0;
      ATOLL_CHECK(skip <= block->size()) << "block " << index << " is too short";
      const auto bytes = block->bytes().subspan(skip);
      const uint64_t place = begin + skip - offset;
      const uint64_t size = std::min<uint64_t>(bytes.size(), size_bytes - place);
      std::memcpy(buffer.get() + place, bytes.data(), size);
    } else {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::move(block).error();
    }
    if (--missing > 0) return;
    const std::lock_guard lock(mutex);
    if (failure) {
      done(tl::unexpected(std::move(*failure)));
    } else {
      done(Blob(buffer, std::span<const std::byte>(buffer.get(), size_bytes)));
    }
  }
};

// Blocks on their way to the one thread that asked for them.
struct Arrivals {
  struct Block {
    uint64_t index = 0;
    Result<Blob> bytes;
  };
  std::mutex mutex;
  std::condition_variable came;
  std::deque<Block> blocks;

  void add(uint64_t index, Result<Blob> bytes) {
    const std::lock_guard lock(mutex);
    blocks.push_back({index, std::move(bytes)});
    came.notify_one();  // under the lock: the waiter may be gone as soon as it is released
  }
  Block next() {
    std::unique_lock lock(mutex);
    came.wait(lock, [&] { return !blocks.empty(); });
    Block block = std::move(blocks.front());
    blocks.pop_front();
    return block;
  }
};

Result<Blob> read_long_object(BlockCache& cache,
                              const std::shared_ptr<Remote>& remote,
                              const ObjectVersion& version) {
  NamelessFile file = ATOLL_TRY(NamelessFile::create());
  const uint64_t block_bytes = cache.options().block_bytes;
  const uint64_t blocks = block_count(cache, version.size_bytes);
  // As much as one GET of the cache brings.
  const uint64_t piece = std::max<uint64_t>(cache.options().max_fetch_bytes / block_bytes, 1);
  const uint64_t most_in_flight = std::max(kInFlightBytes / block_bytes, piece);
  const auto arrivals = std::make_shared<Arrivals>();
  std::optional<Error> failure;
  uint64_t asked = 0;
  uint64_t in_flight = 0;
  while (in_flight > 0 || (asked < blocks && !failure)) {
    while (!failure && asked < blocks && in_flight + piece <= most_in_flight) {
      const uint64_t count = std::min(piece, blocks - asked);
      cache.read_async(remote,
                       version,
                       asked,
                       count,
                       BlockCache::Urgency::kNow,
                       [arrivals](uint64_t index, Result<Blob> bytes) {
                         arrivals->add(index, std::move(bytes));
                       });
      asked += count;
      in_flight += count;
    }
    const Arrivals::Block block = arrivals->next();
    --in_flight;
    auto written = block.bytes ? file.write_at(block.index * block_bytes, block.bytes->bytes())
                               : tl::unexpected(block.bytes.error());
    if (!written && !failure) failure = std::move(written).error();
  }
  if (failure) return tl::unexpected(std::move(*failure));
  return file.map(version.size_bytes);
}

}  // namespace

uint64_t block_count(const BlockCache& cache, uint64_t size_bytes) {
  const uint64_t block_bytes = cache.options().block_bytes;
  return (size_bytes + block_bytes - 1) / block_bytes;
}

BlockRange blocks_of(const BlockCache& cache, uint64_t offset, uint64_t size_bytes) {
  if (size_bytes == 0) return {};
  const uint64_t first = offset / cache.options().block_bytes;
  return {first, block_count(cache, offset + size_bytes) - first};
}

void read_object_async(BlockCache& cache,
                       const std::shared_ptr<Remote>& remote,
                       const ObjectVersion& version,
                       BlockCache::Urgency urgency,
                       std::function<void(Result<Blob>)> done) {
  read_range_async(cache, remote, version, 0, version.size_bytes, urgency, std::move(done));
}

void read_range_async(BlockCache& cache,
                      const std::shared_ptr<Remote>& remote,
                      const ObjectVersion& version,
                      uint64_t offset,
                      uint64_t size_bytes,
                      BlockCache::Urgency urgency,
                      std::function<void(Result<Blob>)> done) {
  ATOLL_CHECK(size_bytes <= kMaxInMemoryBytes) << size_bytes;
  const BlockRange blocks = blocks_of(cache, offset, size_bytes);
  if (blocks.count == 0) {
    done(Blob());
    return;
  }
  if (offset == 0 && size_bytes == version.size_bytes && blocks.count == 1) {
    cache.read_async(
        remote, version, 0, 1, urgency, [done = std::move(done)](uint64_t, Result<Blob> bytes) {
          done(std::move(bytes));
        });
    return;
  }
  const auto assembly = std::make_shared<Assembly>();
  assembly->buffer.reset(new std::byte[size_bytes]);  // not zeroed first
  assembly->offset = offset;
  assembly->size_bytes = size_bytes;
  assembly->block_bytes = cache.options().block_bytes;
  assembly->missing = blocks.count;
  assembly->done = std::move(done);
  cache.read_async(
      remote,
      version,
      blocks.first,
      blocks.count,
      urgency,
      [assembly](uint64_t index, Result<Blob> bytes) { assembly->take(index, std::move(bytes)); });
}

Result<Blob> read_object(BlockCache& cache,
                         const std::shared_ptr<Remote>& remote,
                         const ObjectVersion& version) {
  if (version.size_bytes > kMaxInMemoryBytes) return read_long_object(cache, remote, version);
  const auto promise = std::make_shared<std::promise<Result<Blob>>>();
  auto future = promise->get_future();
  read_object_async(
      cache, remote, version, BlockCache::Urgency::kNow, [promise](Result<Blob> bytes) {
        promise->set_value(std::move(bytes));
      });
  return future.get();
}

}  // namespace atl::storage
