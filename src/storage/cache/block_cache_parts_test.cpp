// Reads of those who jump about: what is fetched for them, and what becomes of the parts.
#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "storage/cache/block_parts_fixture.h"
#include "storage/cache/read_ahead.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;
using Urgency = BlockCache::Urgency;

class BlockCachePartsTest : public PartsFixture {};

TEST_F(BlockCachePartsTest, a_jumping_read_fetches_only_the_part_that_holds_it) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + kPartBytes + 5, 1000));
  EXPECT_EQ(fetched_bytes(), kPartBytes);
  EXPECT_EQ(cache->counts().misses, 1);
  EXPECT_EQ(cached(*cache, version), kPartBytes);
}

TEST_F(BlockCachePartsTest, what_lies_over_two_parts_comes_by_one_get) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2 * kPartBytes - 700, kPartBytes));
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes);
  EXPECT_EQ(remote_->counts().gets, 1);
}

TEST_F(BlockCachePartsTest, what_lies_over_two_blocks_comes_by_one_get) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, 2 * kBlockBytes - 700, 1000));
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes);
  EXPECT_EQ(remote_->counts().gets, 1);
}

TEST_F(BlockCachePartsTest, blocks_that_are_wanted_whole_are_no_parts) {
  const auto version = put(*remote_, "k", 4 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes - 10, 2 * kBlockBytes + 20));
  EXPECT_EQ(fetched_bytes(), 2 * kBlockBytes + 2 * kPartBytes);
  EXPECT_THAT(block_files(), SizeIs(4));
}

TEST_F(BlockCachePartsTest, a_block_all_of_whose_parts_are_wanted_is_a_block) {
  const auto version = put(*remote_, "k", 4 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 10, kBlockBytes - 20));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
  EXPECT_THAT(block_files(), SizeIs(1));
}

TEST_F(BlockCachePartsTest, a_part_is_read_from_disk_from_then_on) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  {
    const auto cache = open();
    EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
    EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2000, 70'000));
    EXPECT_EQ(cache->counts().hits, 1);
  }
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2000, 70'000));
  EXPECT_EQ(cached(*cache, version), kPartBytes);
  EXPECT_EQ(fetched_bytes(), kPartBytes);
}

TEST_F(BlockCachePartsTest, a_block_is_put_together_from_what_is_there_and_the_rest) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + kPartBytes, 1000));
  EXPECT_TRUE(is_block(ask(*cache, version, 1).get(), version, 1));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
  EXPECT_EQ(remote_->counts().gets, 3);  // what lies on either side of the part by one each
  EXPECT_THAT(block_files(), SizeIs(kPartsInBlock));
  EXPECT_EQ(cached(*cache, version), kBlockBytes);
  EXPECT_TRUE(is_block(ask(*cache, version, 1, Urgency::kAhead).get(), version, 1));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
}

TEST_F(BlockCachePartsTest, a_reader_in_order_fetches_each_byte_once_after_any_jumps) {
  const auto version = put(*remote_, "k", 5 * kBlockBytes + kPartBytes + 1000);
  const auto cache = open();
  for (const uint64_t part : {6U, 1U, 16U, 21U}) {
    EXPECT_TRUE(reads(*cache, version, part * kPartBytes + 9, 100)) << part;
  }
  EXPECT_TRUE(gives_blocks(*cache, version));
  EXPECT_EQ(fetched_bytes(), version.size_bytes);
  EXPECT_EQ(cached(*cache, version), version.size_bytes);
  EXPECT_TRUE(reads(*cache, version, 0, version.size_bytes));
  EXPECT_EQ(fetched_bytes(), version.size_bytes);
}

TEST_F(BlockCachePartsTest, the_second_touch_of_a_block_brings_the_rest) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2 * kPartBytes, 1000));
  while (cached(*cache, version) < kBlockBytes) std::this_thread::yield();
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
  EXPECT_LE(remote_->counts().gets, 4);
  const auto found = cache->find(remote_->identity(), version, 1);
  ASSERT_TRUE(found);
  EXPECT_TRUE(is_block(*found, version, 1));
}

TEST_F(BlockCachePartsTest, the_last_block_and_its_last_part_are_shorter) {
  const auto version = put(*remote_, "k", 2 * kBlockBytes + kPartBytes + 1000);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, version.size_bytes - 10, 10));
  EXPECT_EQ(fetched_bytes(), 1000);
  EXPECT_EQ(cached(*cache, version), 1000);
  EXPECT_TRUE(is_block(ask(*cache, version, 2).get(), version, 2));
  EXPECT_EQ(fetched_bytes(), kPartBytes + 1000);
  EXPECT_TRUE(reads(*cache, version, version.size_bytes - 2000, 2000));
  EXPECT_EQ(cache->read(remote_, version, version.size_bytes - 10, 99)->size(), 10);
  EXPECT_EQ(cache->read(remote_, version, version.size_bytes, 99)->size(), 0);
  EXPECT_EQ(fetched_bytes(), kPartBytes + 1000);
}

TEST_F(BlockCachePartsTest, a_last_block_of_one_part_is_a_block) {
  const auto version = put(*remote_, "k", 2 * kBlockBytes + 500);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, 2 * kBlockBytes + 100, 10));
  EXPECT_EQ(fetched_bytes(), 500);
  EXPECT_TRUE(is_block(ask(*cache, version, 2).get(), version, 2));
  EXPECT_EQ(cache->counts().hits, 1);
  EXPECT_THAT(block_files(), SizeIs(1));
}

TEST_F(BlockCachePartsTest, an_object_of_one_block_comes_whole) {
  const auto version = put(*remote_, "k", kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kPartBytes + 5, 1000));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
  EXPECT_THAT(block_files(), SizeIs(1));
}

TEST_F(BlockCachePartsTest, blocks_that_are_no_multiple_of_parts_come_whole) {
  options_.block_bytes = kPartBytes + 4096;
  const auto version = put(*remote_, "k", 3 * options_.block_bytes);
  EXPECT_TRUE(reads(*open(), version, options_.block_bytes + 5, 1000));
  EXPECT_EQ(fetched_bytes(), options_.block_bytes);
}

TEST_F(BlockCachePartsTest, a_damaged_part_is_fetched_again) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  const auto damage = [&] {
    std::fstream stream(block_files().at(0), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(1000);
    stream << "damage";
  };
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  damage();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  EXPECT_EQ(cache->counts().corrupt, 1);
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes);
  damage();
  EXPECT_TRUE(is_block(ask(*cache, version, 1).get(), version, 1));
  EXPECT_EQ(cache->counts().corrupt, 2);
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes + kBlockBytes);
}

TEST_F(BlockCachePartsTest, release_removes_parts_and_blocks) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes, 1);
  const auto kept = put(*remote_, "kept", 3 * kBlockBytes, 2);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, kept, 5, 1000));
  const uint64_t before = cache->used_bytes();
  EXPECT_TRUE(reads(*cache, version, 5, 1000));
  EXPECT_TRUE(is_block(ask(*cache, version, 1).get(), version, 1));
  EXPECT_EQ(cached(*cache, version), kPartBytes + kBlockBytes);
  ASSERT_TRUE(cache->release(remote_->identity(), version));
  EXPECT_EQ(cached(*cache, version), 0);
  EXPECT_EQ(cache->used_bytes(), before);
  EXPECT_THAT(block_files(), SizeIs(1));
  EXPECT_TRUE(reads(*cache, kept, 5, 1000));
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes + kBlockBytes);
  ASSERT_TRUE(cache->release_all());
  EXPECT_THAT(block_files(), IsEmpty());
  EXPECT_EQ(cache->used_bytes(), 0);
}

TEST_F(BlockCachePartsTest, a_block_that_is_there_counts_once_whatever_parts_of_it_there_are) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(is_block(ask(*cache, version, 1).get(), version, 1));
  const fs::path block = block_files().at(0);
  const fs::path aside = folder_ / "aside";
  fs::rename(block, aside);
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  fs::rename(aside, block);
  EXPECT_EQ(cached(*cache, version), kPartBytes);
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));  // out of the block
  EXPECT_EQ(cached(*cache, version), kBlockBytes);
}

TEST_F(BlockCachePartsTest, nothing_is_found_while_a_part_is_missing) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  EXPECT_FALSE(cache->find(remote_->identity(), version, 1));
  EXPECT_EQ(fetched_bytes(), kPartBytes);
}

TEST_F(BlockCachePartsTest, an_error_is_delivered_and_the_next_read_tries_anew) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  let_fail_after(0);
  const auto failed = cache->read(remote_, version, kBlockBytes + 5, 1000);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  remote_->set_fault(nullptr);
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
}

TEST_F(BlockCachePartsTest, a_block_fails_with_one_of_its_parts_and_comes_the_next_time) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 2 * kPartBytes, 1000));
  let_fail_after(1);  // the parts before that one come by one GET, the one behind it by another
  const auto failed = ask(*cache, version, 1).get();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  remote_->set_fault(nullptr);
  EXPECT_TRUE(is_block(ask(*cache, version, 1).get(), version, 1));
  EXPECT_EQ(fetched_bytes(), kBlockBytes);
}

TEST_F(BlockCachePartsTest, an_object_that_has_changed_is_a_conflict) {
  const auto version = put(*remote_, "k", 3 * kBlockBytes, 1);
  const auto cache = open();
  EXPECT_TRUE(reads(*cache, version, kBlockBytes + 5, 1000));
  put(*remote_, "k", 3 * kBlockBytes, 2);
  EXPECT_EQ(ask(*cache, version, 1).get().error().code, ErrorCode::kConflict);
  EXPECT_EQ(cache->read(remote_, version, 5, 9).error().code, ErrorCode::kConflict);
}

TEST_F(BlockCachePartsTest, a_store_s_reader_that_jumps_gets_parts_and_goes_on_in_order) {
  const auto version = put(*remote_, "k", 8 * kBlockBytes);
  const auto cache = open();
  const std::string content = *remote_->content("k");
  ObjectReader reader(std::make_shared<ReadAhead>(cache, 1 << 20), remote_, version);
  for (const uint64_t block : {5U, 2U, 7U}) {
    const uint64_t offset = block * kBlockBytes + kPartBytes + 9;
    EXPECT_TRUE(reader.read(offset, 1000)->text() == content.substr(offset, 1000));
  }
  EXPECT_EQ(fetched_bytes(), 3 * kPartBytes);
  for (uint64_t offset = 3 * kBlockBytes + 9; offset < version.size_bytes; offset += 50'000) {
    ASSERT_TRUE(reader.read(offset, 50'000)->text() == content.substr(offset, 50'000)) << offset;
  }
  // The blocks from the third on, and a part of the second.
  EXPECT_EQ(fetched_bytes(), 5 * kBlockBytes + kPartBytes);
}

TEST_F(BlockCachePartsTest, a_header_and_what_it_tells_of_come_by_parts) {
  const auto version = put(*remote_, "k", 8 * kBlockBytes);
  const auto cache = open();
  const std::string content = *remote_->content("k");
  ObjectReader reader(std::make_shared<ReadAhead>(cache, 1 << 20), remote_, version);
  for (const uint64_t block : {5U, 2U}) {
    const uint64_t offset = block * kBlockBytes + kPartBytes;
    EXPECT_TRUE(reader.read(offset, 16)->text() == content.substr(offset, 16));
    EXPECT_TRUE(reader.read(offset + 16, 100'000)->text() == content.substr(offset + 16, 100'000));
  }
  EXPECT_EQ(fetched_bytes(), 2 * kPartBytes);
}

}  // namespace
}  // namespace atl::storage
