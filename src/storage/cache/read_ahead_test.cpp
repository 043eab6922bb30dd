#include "storage/cache/read_ahead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <thread>

#include "base/keyed_random.h"
#include "storage/cache/fake_block_cache.h"
#include "storage/fake_remote.h"

namespace atl::storage {
namespace {

using namespace std::chrono_literals;
using Urgency = BlockCache::Urgency;

constexpr uint64_t kBlock = 1 << 10;
constexpr uint64_t kBlocks = 64;

std::string numbered_text() {
  std::string text;
  while (text.size() < kBlock * kBlocks - 100) text += std::to_string(text.size()) + ",";
  return text;
}

class ReadAheadTest : public ::testing::Test {
 protected:
  ReadAheadTest() { remote_->put("k", text_); }

  ObjectReader reader(uint64_t max_bytes = 1 << 20) {
    ahead_ = std::make_shared<ReadAhead>(cache_, max_bytes);
    return ObjectReader(ahead_, remote_, {"k", remote_->stat("k")->info.etag, text_.size()});
  }
  std::string read(ObjectReader& reader, uint64_t offset, uint64_t size) {
    const auto bytes = reader.read(offset, size);
    return bytes ? std::string(bytes->text()) : bytes.error().to_string();
  }

  const std::string text_ = numbered_text();
  const std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
  const std::shared_ptr<FakeBlockCache> cache_ = std::make_shared<FakeBlockCache>(kBlock);
  std::shared_ptr<ReadAhead> ahead_;
};

TEST_F(ReadAheadTest, a_sequential_reader_finds_the_next_blocks_asked_for) {
  auto reader = this->reader();
  EXPECT_EQ(read(reader, 0, kBlock), text_.substr(0, kBlock));
  EXPECT_EQ(reader.window_bytes(), 2 * kBlock);
  EXPECT_EQ(cache_->blocks_ahead(), 2);
  EXPECT_EQ(read(reader, kBlock, kBlock), text_.substr(kBlock, kBlock));
  EXPECT_EQ(reader.window_bytes(), 4 * kBlock);
  EXPECT_GE(cache_->blocks_ahead(), 4);
}

TEST_F(ReadAheadTest, the_whole_object_in_order_is_right_and_fetched_once) {
  for (const uint64_t step : {100U, 777U, 1024U, 3000U}) {
    auto reader = this->reader();
    std::string got;
    while (got.size() < text_.size()) got += read(reader, got.size(), step);
    EXPECT_TRUE(got == text_) << step;
    EXPECT_EQ(remote_->counts().gets, kBlocks);
    EXPECT_LE(ahead_->ahead_bytes(), kBlock);  // the one it stands in
  }
}

TEST_F(ReadAheadTest, a_reader_that_jumps_gets_what_it_asks_for_and_no_more) {
  auto reader = this->reader();
  for (const uint64_t block : {40U, 7U, 22U, 50U, 3U}) {
    EXPECT_EQ(read(reader, block * kBlock + 5, 100), text_.substr(block * kBlock + 5, 100));
  }
  EXPECT_EQ(remote_->counts().gets, 5);
  EXPECT_EQ(cache_->blocks_ahead(), 0);
}

TEST_F(ReadAheadTest, after_a_jump_the_window_begins_anew) {
  auto reader = this->reader();
  for (uint64_t block = 0; block < 8; ++block) read(reader, block * kBlock, kBlock);
  EXPECT_EQ(reader.window_bytes(), 16 * kBlock);
  read(reader, 60 * kBlock, kBlock);
  EXPECT_EQ(reader.window_bytes(), 0);
  EXPECT_EQ(ahead_->ahead_bytes(), 0);
}

TEST_F(ReadAheadTest, all_readers_together_keep_to_the_bound) {
  auto first = this->reader(10 * kBlock);
  ObjectReader second(ahead_, remote_, first.version());
  for (uint64_t block = 0; block < kBlocks / 2; ++block) {
    EXPECT_EQ(read(first, block * kBlock, kBlock), text_.substr(block * kBlock, kBlock));
    EXPECT_LE(ahead_->ahead_bytes(), 10 * kBlock);
    EXPECT_EQ(read(second, block * kBlock, kBlock), text_.substr(block * kBlock, kBlock));
    EXPECT_LE(ahead_->ahead_bytes(), 10 * kBlock);
  }
}

TEST_F(ReadAheadTest, readers_that_have_gone_far_leave_room_for_the_next_one) {
  const uint64_t bound = 64 * kBlock;
  std::list<ObjectReader> readers;
  ahead_ = std::make_shared<ReadAhead>(cache_, bound);
  const ObjectVersion version{"k", remote_->stat("k")->info.etag, text_.size()};
  for (int i = 0; i < 8; ++i) readers.emplace_back(ahead_, remote_, version);
  for (uint64_t block = 0; block < 20; ++block) {
    for (ObjectReader& reader : readers) read(reader, block * kBlock, kBlock);
  }
  const uint64_t held = ahead_->ahead_bytes();
  EXPECT_GE(held, 8 * 4 * kBlock);  // they have their shares, too
  ObjectReader& ninth = readers.emplace_back(ahead_, remote_, version);
  for (uint64_t block = 0; block < 5; ++block) read(ninth, block * kBlock, kBlock);
  EXPECT_GE(ahead_->ahead_bytes(), held + 4 * kBlock);
  EXPECT_LE(ahead_->ahead_bytes(), bound);
}

TEST_F(ReadAheadTest, a_reader_that_is_alone_again_has_the_room_of_the_others) {
  ahead_ = std::make_shared<ReadAhead>(cache_, 40 * kBlock);
  const ObjectVersion version{"k", remote_->stat("k")->info.etag, text_.size()};
  ObjectReader reader(ahead_, remote_, version);
  uint64_t block = 0;
  {
    ObjectReader other(ahead_, remote_, version);
    for (; block < 12; ++block) {
      read(reader, block * kBlock, kBlock);
      read(other, block * kBlock, kBlock);
    }
    EXPECT_LE(reader.window_bytes(), 40 * kBlock / 3);
  }
  for (; block < 16; ++block) read(reader, block * kBlock, kBlock);
  EXPECT_EQ(reader.window_bytes(), 20 * kBlock);
  EXPECT_GE(ahead_->ahead_bytes(), 15 * kBlock);
}

TEST_F(ReadAheadTest, a_failure_ahead_fails_nobody_and_is_tried_again) {
  auto reader = this->reader();
  // What is read ahead at the end outlives this function.
  const auto failures = std::make_shared<std::atomic<int>>(3);
  read(reader, 0, 10);  // block 0
  remote_->set_fault([failures](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read") || *failures <= 0) return std::nullopt;
    --*failures;
    return Error{ErrorCode::kIo, "reset", {}, {}};
  });
  read(reader, 10, kBlock - 10);  // asks for the blocks 1 and 2, which fail
  remote_->hold_reads();          // both have been answered when a third read is answered
  remote_->release_reads();
  const RangeRequest sentinel{"k", 0, 1, ""};
  while (remote_->read(sentinel)) {
    if (*failures <= 0) break;
  }
  *failures = 0;
  EXPECT_EQ(read(reader, kBlock, 2 * kBlock), text_.substr(kBlock, 2 * kBlock));
}

TEST_F(ReadAheadTest, an_error_is_the_reader_s_and_a_later_read_tries_anew) {
  auto reader = this->reader();
  remote_->set_fault([&](std::string_view) -> std::optional<Error> {
    return Error{ErrorCode::kIo, "reset", {}, {}};
  });
  EXPECT_EQ(reader.read(0, 10).error().code, ErrorCode::kIo);
  EXPECT_EQ(reader.read(5000, 3000).error().code, ErrorCode::kIo);
  remote_->set_fault(nullptr);
  EXPECT_EQ(read(reader, 5000, 3000), text_.substr(5000, 3000));
}

TEST_F(ReadAheadTest, threads_that_share_a_reader_read_the_same_bytes) {
  auto reader = this->reader(8 * kBlock);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      KeyedRandom random({thread});
      uint64_t offset = 0;
      for (int i = 0; i < 200; ++i) {
        if (random.below(4) == 0) offset = random.below(text_.size());
        const uint64_t size = random.below(3 * kBlock);
        if (read(reader, offset, size) != text_.substr(offset, size)) ++wrong;
        offset = std::min<uint64_t>(offset + size, text_.size());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TransferEstimateTest, the_window_is_twice_latency_times_bandwidth) {
  TransferEstimate estimate;
  EXPECT_EQ(estimate.window_bytes(), TransferEstimate::kLeastWindowBytes);
  const TransferEstimate::Clock::time_point begin(1000s);
  // 200 MiB/s for a second, each piece 100 ms on its way.
  for (int i = 0; i < 200; ++i) {
    const auto came = begin + i * 5ms;
    estimate.add(1 << 20, came - 100ms, came);
  }
  EXPECT_NEAR(static_cast<double>(estimate.window_bytes()), 2 * 0.1 * 200 * (1 << 20), 1 << 20);
}

TEST(TransferEstimateTest, what_came_from_disk_tells_nothing) {
  TransferEstimate estimate;
  const TransferEstimate::Clock::time_point begin(1000s);
  for (int i = 0; i < 1000; ++i) estimate.add(1 << 20, begin, begin + 100us);
  EXPECT_EQ(estimate.window_bytes(), TransferEstimate::kLeastWindowBytes);
}

TEST(TransferEstimateTest, what_is_long_past_is_forgotten) {
  TransferEstimate estimate;
  const TransferEstimate::Clock::time_point begin(1000s);
  for (int i = 0; i < 1000; ++i) estimate.add(10 << 20, begin - 20ms, begin);
  EXPECT_EQ(estimate.window_bytes(), TransferEstimate::kMostWindowBytes);
  estimate.add(1000, begin + 60s - 1ms, begin + 60s);
  EXPECT_EQ(estimate.window_bytes(), TransferEstimate::kLeastWindowBytes);
}

}  // namespace
}  // namespace atl::storage
