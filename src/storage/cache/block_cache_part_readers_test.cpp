// Several at once who read parts of a block, or the block: what each of them waits for.
#include <gmock/gmock.h>

#include <mutex>
#include <thread>
#include <vector>

#include "storage/cache/block_parts_fixture.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;
using Urgency = BlockCache::Urgency;

class BlockCachePartReadersTest : public PartsFixture {};

TEST_F(BlockCachePartReadersTest, parts_on_their_way_are_not_fetched_again_with_their_block) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  remote_->hold_reads();
  auto reader =
      std::async(std::launch::async, [&] { return reads(*cache, version, kBlockBytes + 5, 1000); });
  remote_->wait_for_reads(1);
  auto block = ask(*cache, version, 1);
  remote_->wait_for_reads(2);
  remote_->release_reads();
  EXPECT_TRUE(reader.get());
  EXPECT_TRUE(is_block(block.get(), version, 1));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
}

TEST_F(BlockCachePartReadersTest, a_rest_that_fails_fails_nobody) {
  options_.max_fetches = 1;  // what is wanted goes first
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  {
    const auto cache = open();
    EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
    let_fail_after(1);
    EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2 * kPartBytes, 1000));
  }
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes);
  remote_->set_fault(nullptr);
  EXPECT_TRUE(gives_blocks(*open(), version));
  EXPECT_EQ(fetched_bytes(), version.size_bytes);
}

TEST_F(BlockCachePartReadersTest, a_block_on_its_way_is_waited_for_whoever_fetches_it) {
  const auto cache = open();
  const auto other = open();
  for (const auto& fetching : {cache, other}) {
    const auto version = put(*remote_, fetching == cache ? "own" : "other's", 3 * kBlockBytes);
    const auto before = remote_->counts().gets;
    const auto waits = cache->counts().waits;
    remote_->hold_reads();
    auto block = ask(*fetching, version, 1);
    remote_->wait_for_reads(1);
    auto reader = std::async(std::launch::async,
                             [&] { return reads(*cache, version, kBlockBytes + 5, 1000); });
    while (cache->counts().waits == waits) std::this_thread::yield();
    remote_->release_reads();
    EXPECT_TRUE(reader.get());
    EXPECT_TRUE(is_block(block.get(), version, 1));
    EXPECT_EQ(remote_->counts().gets, before + 1);
  }
  EXPECT_THAT(block_files(), SizeIs(2));
}

TEST_F(BlockCachePartReadersTest, two_caches_over_one_directory_fetch_each_part_once) {
  const auto version = put(*remote_, "k", 20 * kBlockBytes);
  auto a = open();
  auto b = open();
  std::atomic<int> wrong = 0;
  const auto read_all = [&](BlockCache& cache) {
    for (uint64_t i = 0; i < 20 * kPartsInBlock; ++i) {
      const uint64_t part = i * 37 % (20 * kPartsInBlock);
      if (!reads(cache, version, part * kPartBytes + 3, 5000)) ++wrong;
    }
  };
  std::thread other([&] { read_all(*b); });
  read_all(*a);
  other.join();
  EXPECT_EQ(wrong, 0);
  a.reset();
  b.reset();
  EXPECT_EQ(fetched_bytes(), version.size_bytes);
  EXPECT_THAT(files_in("leases"), IsEmpty());
}

TEST_F(BlockCachePartReadersTest,
       whoever_waits_for_a_block_that_is_put_together_ahead_comes_first) {
  options_.max_fetches = 1;
  const auto version = put(*remote_, "k", 3 * kBlockBytes, 1);
  const auto filler = put(*remote_, "filler", kBlockBytes, 2);
  const auto ahead = put(*remote_, "ahead", kBlockBytes, 3);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  std::mutex mutex;
  std::vector<std::string> order;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    const std::lock_guard lock(mutex);
    order.emplace_back(call);
    return std::nullopt;
  });
  remote_->hold_reads();
  auto first = ask(*cache, filler, 0, Urgency::kAhead);
  remote_->wait_for_reads(1);
  auto second = ask(*cache, ahead, 0, Urgency::kAhead);
  auto third = ask(*cache, version, 1, Urgency::kAhead);
  while (cache->counts().hits < 1) std::this_thread::yield();  // its part
  auto now = ask(*cache, version, 1, Urgency::kNow);
  remote_->release_reads();
  EXPECT_TRUE(is_block(now.get(), version, 1));
  EXPECT_TRUE(is_block(third.get(), version, 1));
  EXPECT_TRUE(first.get() && second.get());
  ASSERT_THAT(order, SizeIs(3));
  EXPECT_EQ(order[1], "read k");
}

// Of each block the second part is there, so each needs two GETs, of which one in all is under way.
// The block waits for its turn while somebody else, who sees no lease of it, jumps about in it.
TEST_F(BlockCachePartReadersTest, a_queued_block_takes_the_parts_that_have_come_meanwhile) {
  options_.max_fetches = 1;
  const auto cache = open();
  const auto first = put(*remote_, "first", 2 * kBlockBytes);
  const auto second = put(*remote_, "second", 2 * kBlockBytes);
  remote_->hold_reads();
  auto before = ask(*cache, first, 0);
  remote_->wait_for_reads(1);
  auto block = ask(*cache, second, 0);
  const auto other_remote = std::make_shared<FakeRemote>();
  other_remote->put("first", *remote_->content("first"));
  other_remote->put("second", *remote_->content("second"));
  const auto other = open();
  ASSERT_TRUE(other->read(other_remote, second, kPartBytes, 100));
  remote_->release_reads();
  EXPECT_TRUE(is_block(before.get(), first, 0));
  EXPECT_TRUE(is_block(block.get(), second, 0));
  EXPECT_EQ(fetched_bytes() + other_remote->counts().bytes_read, 2 * kBlockBytes);
}

TEST_F(BlockCachePartReadersTest, closing_ends_what_is_being_put_together) {
  options_.max_fetches = 1;
  const auto version = put(*remote_, "k", 8 * kBlockBytes);
  for (const Urgency urgency : {Urgency::kNow, Urgency::kAhead}) {
    fs::remove_all(options_.directory);
    auto cache = open();
    for (uint64_t block = 0; block < 8; ++block) {
      EXPECT_TRUE(reads(*cache, version, block * kBlockBytes + kPartBytes, 1000));
    }
    remote_->hold_reads();
    std::atomic<int> cancelled = 0;
    const auto count = [&](uint64_t, const Result<Blob>& block) {
      cancelled += !block && block.error().code == ErrorCode::kCancelled ? 1 : 0;
    };
    cache->read_async(remote_, version, 0, 8, urgency, count);
    remote_->wait_for_reads(1);
    std::thread closing([&] { cache.reset(); });
    while (cancelled == 0) std::this_thread::yield();
    remote_->release_reads();
    closing.join();
    EXPECT_EQ(cancelled, 8);
    EXPECT_THAT(files_in("leases"), IsEmpty());
  }
}

// Jumping and sequential readers at the same time, with room for a part of what they read.
TEST_F(BlockCachePartReadersTest, random_reads_by_several_threads_give_the_right_bytes) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    fs::remove_all(options_.directory);
    KeyedRandom setting({seed, 7});
    options_.max_bytes = (6 + setting.below(30)) * kPartBytes;
    options_.max_fetches = 1 + static_cast<int>(setting.below(6));
    options_.direct_read_ahead = seed % 2 == 0;
    std::vector<ObjectVersion> versions;
    std::vector<std::string> contents;
    for (uint64_t i = 0; i < 3; ++i) {
      versions.push_back(put(
          *remote_, "object-" + std::to_string(i), 1 + setting.below(5 * kBlockBytes), seed + i));
      contents.push_back(*remote_->content(versions.back().key));
    }
    auto cache = open();
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (uint64_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        KeyedRandom random({seed, thread});
        for (int step = 0; step < 60; ++step) {
          const size_t object = random.below(versions.size());
          const ObjectVersion& version = versions[object];
          const uint64_t block = random.below((version.size_bytes - 1) / kBlockBytes + 1);
          const uint64_t offset = random.below(version.size_bytes);
          switch (random.below(8)) {
            case 0:
              if (!cache->release(remote_->identity(), version)) ++wrong;
              break;
            case 1:
            case 2: {
              const auto urgency = random.below(2) == 0 ? Urgency::kNow : Urgency::kAhead;
              if (!is_block(ask(*cache, version, block, urgency).get(), version, block)) ++wrong;
              break;
            }
            case 3:
              if (const auto found = cache->find(remote_->identity(), version, block)) {
                if (!is_block(*found, version, block)) ++wrong;
              }
              break;
            default: {
              const uint64_t size =
                  1 + random.below(random.below(4) == 0 ? 2 * kBlockBytes : kPartBytes);
              const auto bytes = cache->read(remote_, version, offset, size);
              const auto right = std::string_view(contents[object]).substr(offset, size);
              if (!bytes || bytes->text() != right) ++wrong;
            }
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << seed;
    EXPECT_LE(cache->used_bytes(), options_.max_bytes) << seed;
    cache.reset();
    EXPECT_THAT(files_in("leases"), IsEmpty());
  }
}

}  // namespace
}  // namespace atl::storage
