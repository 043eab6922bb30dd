// What readers are told of fetches that fail.
#include "fs/block_memory.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>

#include "storage/cache/cache_fixture.h"

namespace atl::fs {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class BlockMemoryTest : public storage::CacheFixture {
 protected:
  BlockMemoryTest() {
    options_.max_bytes = uint64_t{64} << 20;
    cache_ = storage::BlockCache::open(options_).value();
    memory_ = std::make_unique<BlockMemory>(remote_, cache_, uint64_t{1} << 20, [this] {
      return steady_clock::time_point(now_.load());
    });
    version_ = put(*remote_, "k", 3 * kMinimumBlock);
    remote_->set_fault([this](std::string_view call) -> std::optional<Error> {
      if (!call.starts_with("read ")) return std::nullopt;
      ++asked_;
      if (works_) return std::nullopt;
      return Error{ErrorCode::kIo, "no answer", {}, {}};
    });
  }
  bool comes() {
    bool waited = false;
    const auto block = memory_->get(version_, 0, waited);
    return block && block->size() == kMinimumBlock;
  }
  // It is waited for so long.
  bool comes_after(seconds wait) {
    remote_->hold_reads();
    auto reader = std::async(std::launch::async, [this] { return comes(); });
    remote_->wait_for_reads(1);
    now_ = now_.load() + wait;
    remote_->release_reads();
    return reader.get();
  }

  std::atomic<int> asked_{0};
  std::atomic<bool> works_{false};
  std::atomic<seconds> now_{seconds(1'000'000)};
  storage::ObjectVersion version_;
  std::shared_ptr<storage::FakeRemote> remote_ = std::make_shared<storage::FakeRemote>();
  std::shared_ptr<storage::BlockCache> cache_;
  std::unique_ptr<BlockMemory> memory_;
};

TEST_F(BlockMemoryTest, what_has_failed_at_once_is_asked_for_again) {
  EXPECT_FALSE(comes());
  EXPECT_FALSE(comes());
  EXPECT_EQ(asked_, 2);
  works_ = true;
  EXPECT_TRUE(comes());
}

TEST_F(BlockMemoryTest, what_has_failed_after_long_is_the_answer_for_a_moment) {
  EXPECT_FALSE(comes_after(seconds(120)));
  works_ = true;
  EXPECT_FALSE(comes());  // as the kernel asks for a page again
  EXPECT_EQ(asked_, 1);
  now_ = now_.load() + seconds(1);
  EXPECT_TRUE(comes());
  EXPECT_EQ(asked_, 2);
}

TEST_F(BlockMemoryTest, what_comes_after_long_has_come) {
  works_ = true;
  EXPECT_TRUE(comes_after(seconds(120)));
  EXPECT_TRUE(comes());
  EXPECT_EQ(asked_, 1);
}

TEST_F(BlockMemoryTest, what_was_read_ahead_in_vain_is_asked_for_again) {
  memory_->read_ahead(version_, 0, 2);
  while (asked_ == 0 || memory_->held_bytes() > 0) std::this_thread::yield();
  works_ = true;
  EXPECT_TRUE(comes());
  EXPECT_EQ(asked_, 2);
}

TEST_F(BlockMemoryTest, what_is_read_apart_is_not_kept) {
  works_ = true;
  const auto bytes = memory_->read_apart(version_, kMinimumBlock - 10, 20);
  ASSERT_TRUE(bytes && *bytes);
  EXPECT_EQ((*bytes)->text(), remote_->content("k")->substr(kMinimumBlock - 10, 20));
  EXPECT_EQ(memory_->held_bytes(), 0);
}

TEST_F(BlockMemoryTest, what_is_here_or_on_its_way_is_not_read_apart) {
  works_ = true;
  EXPECT_TRUE(comes());
  EXPECT_FALSE(memory_->read_apart(version_, 10, 20));
  EXPECT_FALSE(memory_->read_apart(version_, kMinimumBlock - 10, 20));
  remote_->hold_reads();
  memory_->read_ahead(version_, 2, 1);
  EXPECT_FALSE(memory_->read_apart(version_, 2 * kMinimumBlock, 20));
  remote_->release_reads();
}

TEST_F(BlockMemoryTest, what_was_read_apart_and_failed_at_once_is_asked_for_again) {
  EXPECT_FALSE(*memory_->read_apart(version_, 10, 20));
  EXPECT_FALSE(*memory_->read_apart(version_, 10, 20));
  EXPECT_EQ(asked_, 2);
  works_ = true;
  EXPECT_TRUE(comes());
}

TEST_F(BlockMemoryTest, what_was_read_apart_and_failed_after_long_is_the_answer_for_a_moment) {
  remote_->hold_reads();
  auto reader = std::async(std::launch::async, [this] {
    return memory_->read_apart(version_, kMinimumBlock - 10, 20)->has_value();
  });
  remote_->wait_for_reads(1);
  now_ = now_.load() + seconds(120);
  remote_->release_reads();
  EXPECT_FALSE(reader.get());
  const int asked = asked_;
  works_ = true;
  EXPECT_FALSE(comes());  // as the kernel asks for a page again
  EXPECT_FALSE(*memory_->read_apart(version_, kMinimumBlock, 20));
  EXPECT_EQ(asked_, asked);
  now_ = now_.load() + seconds(1);
  EXPECT_TRUE(comes());
  EXPECT_TRUE(*memory_->read_apart(version_, kMinimumBlock, 20));
}

TEST_F(BlockMemoryTest, what_is_under_way_at_its_end_takes_no_cache_down) {
  works_ = true;
  remote_->hold_reads();
  memory_->read_ahead(version_, 0, 2);
  remote_->wait_for_reads(1);
  cache_.reset();
  std::thread end([this] {
    memory_.reset();
  });  // waits: the last fetch, which ends on a thread of the cache, is held
  remote_->release_reads();
  end.join();
  EXPECT_EQ(asked_, 1);
}

}  // namespace
}  // namespace atl::fs
