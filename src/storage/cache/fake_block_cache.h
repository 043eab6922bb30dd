// A block cache in memory, for tests of what reads through one: fetches each block once, keeps all, and
// notes what it was asked for.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "storage/cache/block_cache.h"

namespace atl::storage {

class FakeBlockCache : public BlockCache {
 public:
  explicit FakeBlockCache(uint64_t block_bytes) {
    options_.block_bytes = block_bytes;
    options_.max_fetch_bytes = 4 * block_bytes;
  }
  ~FakeBlockCache() override {
    std::unique_lock lock(mutex_);
    all_came_.wait(lock, [&] { return on_their_way_ == 0; });
  }

  struct Asked {
    std::string key;
    uint64_t first = 0;
    uint64_t blocks = 0;
    Urgency urgency = Urgency::kNow;
  };
  std::vector<Asked> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  // How many of the blocks asked for so far were asked for ahead.
  uint64_t blocks_ahead() const {
    uint64_t blocks = 0;
    for (const Asked& asked : asked()) {
      if (asked.urgency == Urgency::kAhead) blocks += asked.blocks;
    }
    return blocks;
  }

  // Returns once it has been asked so many times and all of the answers have been delivered.
  void wait_for_answers(size_t asked) const {
    std::unique_lock lock(mutex_);
    all_came_.wait(lock, [&] { return asked_.size() >= asked && asking_ + on_their_way_ == 0; });
  }

  const BlockCacheOptions& options() const override { return options_; }

  void read_async(std::shared_ptr<Remote> remote,
                  const ObjectVersion& version,
                  uint64_t first_block,
                  uint64_t blocks,
                  Urgency urgency,
                  OnBlock done) override {
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back({version.key, first_block, blocks, urgency});
      ++asking_;
    }
    for (uint64_t block = first_block; block < first_block + blocks; ++block) {
      read_block(*remote, version, block, done);
    }
    const std::lock_guard lock(mutex_);
    --asking_;
    all_came_.notify_all();
  }

  std::optional<Blob> find(const std::string&,
                           const ObjectVersion& version,
                           uint64_t block) override {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find({version.key, version.etag, block});
    if (found == blocks_.end()) return std::nullopt;
    return found->second;
  }
  uint64_t cached_bytes(const std::string&, const ObjectVersion& version) const override {
    const std::lock_guard lock(mutex_);
    uint64_t bytes = 0;
    for (const auto& [id, blob] : blocks_) {
      if (std::get<0>(id) == version.key && std::get<1>(id) == version.etag) bytes += blob.size();
    }
    return bytes;
  }
  Result<void> release(const std::string&, const ObjectVersion&) override { return {}; }
  Result<void> release_all() override { return {}; }
  BlockCacheCounts counts() const override { return {}; }
  uint64_t used_bytes() const override { return 0; }

 private:
  using Id = std::tuple<std::string, std::string, uint64_t>;

  void read_block(Remote& remote,
                  const ObjectVersion& version,
                  uint64_t block,
                  const OnBlock& done) {
    const Id id{version.key, version.etag, block};
    std::optional<Blob> there;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = blocks_.find(id); found != blocks_.end()) there = found->second;
      if (!there) {
        auto& waiting = waiting_[id];
        waiting.push_back(done);
        if (waiting.size() > 1) return;
        ++on_their_way_;
      }
    }
    if (there) return done(block, *there);
    remote.read_async(
        {version.key, block * options_.block_bytes, options_.block_bytes, version.etag},
        [this, id](Result<RangeBytes> answer) { arrived(id, std::move(answer)); });
  }

  void arrived(const Id& id, Result<RangeBytes> answer) {
    std::vector<OnBlock> waiting;
    {
      const std::lock_guard lock(mutex_);
      if (answer) blocks_.emplace(id, answer->bytes);
      waiting = std::move(waiting_.extract(id).mapped());
    }
    for (const OnBlock& done : waiting) {
      done(std::get<2>(id), answer ? Result<Blob>(answer->bytes) : tl::unexpected(answer.error()));
    }
    const std::lock_guard lock(mutex_);
    --on_their_way_;
    all_came_.notify_all();
  }

  BlockCacheOptions options_;
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  std::map<Id, Blob> blocks_;
  std::map<Id, std::vector<OnBlock>> waiting_;
  int asking_ = 0;
  int on_their_way_ = 0;
  mutable std::condition_variable all_came_;
};

}  // namespace atl::storage
