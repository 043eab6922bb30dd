#include "storage/cache/block_cache.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "storage/cache/cache_fixture.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using Urgency = BlockCache::Urgency;

class BlockCacheTest : public CacheFixture {
 protected:
  std::shared_ptr<BlockCache> open() { return BlockCache::open(options_).value(); }
  std::string read(BlockCache& cache, const ObjectVersion& version, uint64_t from, uint64_t size) {
    auto blob = cache.read(remote_, version, from, size);
    EXPECT_TRUE(blob.has_value()) << blob.error().to_string();
    return blob ? std::string(blob->text()) : "";
  }
  std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
};

TEST_F(BlockCacheTest, gives_the_bytes_of_the_object_and_fetches_them_once) {
  const auto version = put(*remote_, "a/b.jpg", 50'000);
  const std::string content = *remote_->content("a/b.jpg");
  const auto cache = open();
  EXPECT_TRUE(read(*cache, version, 0, 50'000) == content);
  EXPECT_TRUE(read(*cache, version, 0, 99'999) == content);
  EXPECT_TRUE(read(*cache, version, 4'000, 200) == content.substr(4'000, 200));
  EXPECT_TRUE(read(*cache, version, 49'990, 100) == content.substr(49'990));
  EXPECT_EQ(read(*cache, version, 50'000, 1), "");
  EXPECT_EQ(remote_->counts().bytes_read, 50'000);
  EXPECT_EQ(cache->counts().fetched_bytes, 50'000);
  EXPECT_EQ(cache->counts().misses, 13);
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), version), 50'000);
  EXPECT_GE(cache->used_bytes(), 50'000);
}

TEST_F(BlockCacheTest, is_still_filled_after_a_restart) {
  const auto version = put(*remote_, "k", 50'000);
  read(*open(), version, 0, 50'000);
  const auto cache = open();
  EXPECT_TRUE(read(*cache, version, 0, 50'000) == *remote_->content("k"));
  EXPECT_EQ(remote_->counts().bytes_read, 50'000);
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), version), 50'000);
}

TEST_F(BlockCacheTest, fetches_adjacent_blocks_by_one_get) {
  const auto version = put(*remote_, "k", 16 * kMinimumBlock);
  read(*open(), version, 0, 16 * kMinimumBlock);
  EXPECT_EQ(remote_->counts().gets, 2);
}

TEST_F(BlockCacheTest, never_mixes_versions_keys_or_buckets) {
  const auto old_version = put(*remote_, "k", 10'000, 1);
  const auto cache = open();
  const std::string old_content = read(*cache, old_version, 0, 10'000);
  const auto new_version = put(*remote_, "k", 10'000, 2);
  EXPECT_TRUE(read(*cache, new_version, 0, 10'000) == *remote_->content("k"));
  EXPECT_TRUE(read(*cache, old_version, 0, 10'000) == old_content);

  const auto other = std::make_shared<FakeRemote>("fake/other");
  other->put("filler", "");
  const auto there = put(*other, "k", 10'000, 3);
  EXPECT_EQ(there.etag, new_version.etag);
  EXPECT_TRUE(cache->read(other, there, 0, 10'000).value().text() == *other->content("k"));
}

TEST_F(BlockCacheTest, an_object_that_changed_during_the_fetch_is_a_conflict) {
  const auto version = put(*remote_, "k", 10'000, 1);
  remote_->put("k", varied_bytes(10'000, 2));
  const auto cache = open();
  const auto result = cache->read(remote_, version, 0, 10);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kConflict);
  EXPECT_EQ(cache->used_bytes(), 0);
}

TEST_F(BlockCacheTest, release_gives_the_space_back_at_once) {
  const auto kept = put(*remote_, "kept", 20'000, 1);
  const auto version = put(*remote_, "k", 50'000, 2);
  const auto cache = open();
  read(*cache, kept, 0, 20'000);
  const uint64_t before = cache->used_bytes();
  read(*cache, version, 0, 50'000);
  ASSERT_TRUE(cache->release(remote_->identity(), version));
  EXPECT_EQ(cache->used_bytes(), before);
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), version), 0);
  EXPECT_EQ(block_files().size(), 5);
  ASSERT_TRUE(cache->release_all());
  EXPECT_EQ(cache->used_bytes(), 0);
  EXPECT_TRUE(block_files().empty());
}

TEST_F(BlockCacheTest, stays_within_its_bound) {
  options_.max_bytes = 40 * 2 * kMinimumBlock;  // a block and its header take two pages
  const auto cache = open();
  for (uint64_t i = 0; i < 30; ++i) {
    const auto version = put(*remote_, std::to_string(i), 5 * kMinimumBlock, i);
    EXPECT_TRUE(read(*cache, version, 0, 5 * kMinimumBlock) == *remote_->content(version.key));
    EXPECT_LE(cache->used_bytes(), options_.max_bytes);
    EXPECT_EQ(block_files().size() * 2 * kMinimumBlock, cache->used_bytes());
  }
  EXPECT_EQ(cache->counts().evicted, 110);
}

TEST_F(BlockCacheTest, a_smaller_bound_holds_from_the_opening_on) {
  const auto version = put(*remote_, "k", 40 * kMinimumBlock);
  read(*open(), version, 0, version.size_bytes);
  options_.max_bytes = 10 * 2 * kMinimumBlock;
  const auto cache = open();
  EXPECT_LE(cache->used_bytes(), options_.max_bytes);
  EXPECT_LE(block_files().size(), 10);
}

TEST_F(BlockCacheTest, a_flipped_bit_is_fetched_again) {
  const auto version = put(*remote_, "k", 3 * kMinimumBlock);
  const std::string content = *remote_->content("k");
  auto cache = open();
  read(*cache, version, 0, version.size_bytes);
  uint64_t corrupt = 0;
  const auto file = block_files().front();
  for (uintmax_t at = 0; at < fs::file_size(file); at += 61) {
    {
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(static_cast<std::streamoff>(at));
      const char flipped = static_cast<char>(stream.get() ^ 4);
      stream.seekp(static_cast<std::streamoff>(at));
      stream.put(flipped);
    }
    ASSERT_TRUE(read(*cache, version, 0, version.size_bytes) == content) << at;
    ASSERT_EQ(cache->counts().corrupt, ++corrupt) << at;
  }
  EXPECT_EQ(remote_->counts().bytes_read, version.size_bytes + corrupt * kMinimumBlock);
}

TEST_F(BlockCacheTest, what_is_wanted_now_overtakes_what_is_read_ahead) {
  options_.max_fetches = 1;
  const auto ahead = put(*remote_, "ahead", 64 * kMinimumBlock, 1);
  const auto now = put(*remote_, "now", 100, 2);
  const auto cache = open();
  std::mutex mutex;
  std::vector<std::string> order;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    const std::lock_guard lock(mutex);
    order.emplace_back(call);
    return std::nullopt;
  });
  remote_->hold_reads();
  cache->read_async(remote_, ahead, 0, 64, Urgency::kAhead, [](uint64_t, const Result<Blob>&) {});
  remote_->wait_for_reads(1);
  cache->read_async(remote_, now, 0, 1, Urgency::kNow, [](uint64_t, const Result<Blob>&) {});
  remote_->release_reads();
  read(*cache, ahead, 0, ahead.size_bytes);
  ASSERT_GE(order.size(), 2);
  EXPECT_EQ(order[1], "read now");
}

TEST_F(BlockCacheTest, readers_of_one_block_share_a_fetch) {
  const auto version = put(*remote_, "k", kMinimumBlock);
  const auto cache = open();
  remote_->hold_reads();
  std::atomic<int> done{0};
  const auto count = [&](uint64_t, const Result<Blob>& block) {
    done += block.has_value() ? 1 : 0;
  };
  for (int i = 0; i < 5; ++i) cache->read_async(remote_, version, 0, 1, Urgency::kNow, count);
  remote_->wait_for_reads(1);
  remote_->release_reads();
  read(*cache, version, 0, 1);
  EXPECT_EQ(remote_->counts().gets, 1);
  while (done < 5) std::this_thread::yield();
}

TEST_F(BlockCacheTest, adjacent_blocks_that_several_asked_for_come_by_one_get) {
  options_.max_fetches = 1;
  const auto first = put(*remote_, "first", 100, 1);
  const auto version = put(*remote_, "k", 4 * kMinimumBlock, 2);
  const auto cache = open();
  std::atomic<int> right{0};
  const std::string content = *remote_->content("k");
  const auto compare = [&](uint64_t index, const Result<Blob>& block) {
    const auto expected = std::string_view(content).substr(index * kMinimumBlock, kMinimumBlock);
    right += block && block->text() == expected ? 1 : 0;
  };
  remote_->hold_reads();
  cache->read_async(remote_, first, 0, 1, Urgency::kNow, [](uint64_t, const Result<Blob>&) {});
  remote_->wait_for_reads(1);
  for (uint64_t block = 0; block < 4; ++block) {
    cache->read_async(remote_, version, block, 1, Urgency::kNow, compare);
  }
  remote_->release_reads();
  while (right < 4) std::this_thread::yield();
  EXPECT_EQ(remote_->counts().gets, 2);
}

TEST_F(BlockCacheTest, files_are_the_users_own) {
  const auto version = put(*remote_, "k", 3 * kMinimumBlock);
  const auto cache = open();
  read(*cache, version, 0, version.size_bytes);
  struct stat status {};
  for (const auto& entry : fs::recursive_directory_iterator(options_.directory)) {
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, entry.is_directory() ? 0700U : 0600U) << entry.path();
  }
  ASSERT_EQ(::stat(options_.directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
}

TEST_F(BlockCacheTest, a_directory_that_others_may_write_to_is_refused) {
  fs::create_directory(options_.directory);
  fs::permissions(options_.directory, fs::perms::all);
  const auto cache = BlockCache::open(options_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kPermission);
}

TEST_F(BlockCacheTest, another_users_directory_is_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make one";
  fs::create_directory(options_.directory);
  ASSERT_EQ(::chown(options_.directory.c_str(), 12345, 12345), 0);
  const auto cache = BlockCache::open(options_);
  ASSERT_FALSE(cache.has_value());
  EXPECT_EQ(cache.error().code, ErrorCode::kPermission);
}

}  // namespace
}  // namespace atl::storage
