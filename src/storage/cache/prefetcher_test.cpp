#include "storage/cache/prefetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/cache/fake_block_cache.h"
#include "storage/fake_remote.h"
#include "storage/namespace/fake_namespace.h"

namespace atl::storage {
namespace {

constexpr uint64_t kBlock = 1000;
constexpr size_t kObject = 1500;

class PrefetcherTest : public ::testing::Test {
 protected:
  std::vector<std::string> make_objects(int count, size_t size = kObject) {
    std::vector<std::string> keys;
    for (int i = 0; i < count; ++i) {
      keys.push_back("k" + std::to_string(i));
      remote_->put(keys.back(), std::string(size, static_cast<char>('a' + i % 26)));
    }
    return keys;
  }
  void open(PrefetchOptions options = {}) { prefetcher_.emplace(remote_, names_, cache_, options); }
  std::string take(const std::string& key) {
    const auto bytes = prefetcher_->take(key, remote_->stat(key)->info.etag);
    return bytes ? std::string(bytes->text()) : "not in memory";
  }

  std::string take(const ObjectRange& range) {
    const auto bytes = prefetcher_->take_range(
        range.key, remote_->stat(range.key)->info.etag, range.offset, range.size_bytes);
    return bytes ? std::string(bytes->text()) : "not in memory";
  }

  const std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
  const std::shared_ptr<FakeNamespace> names_ = std::make_shared<FakeNamespace>(remote_);
  const std::shared_ptr<FakeBlockCache> cache_ = std::make_shared<FakeBlockCache>(kBlock);
  std::optional<Prefetcher> prefetcher_;
};

TEST_F(PrefetcherTest, has_what_was_wanted_in_memory) {
  const auto keys = make_objects(30);
  open();
  prefetcher_->want(keys);
  prefetcher_->wait_until_idle();
  EXPECT_EQ(prefetcher_->counts().in_memory_bytes, 30 * kObject);
  const auto gets = remote_->counts().gets;
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(take(keys[static_cast<size_t>(i)]),
              std::string(kObject, static_cast<char>('a' + i % 26)));
  }
  EXPECT_EQ(remote_->counts().gets, gets);
  EXPECT_EQ(prefetcher_->counts().ahead_bytes, 0);
  EXPECT_EQ(prefetcher_->counts().in_memory_bytes, 0);
}

TEST_F(PrefetcherTest, keeps_to_its_bound_and_goes_on_when_something_is_taken) {
  const auto keys = make_objects(30);
  // One thread, so that nothing overtakes.
  open({.max_ahead_bytes = 10 * kObject + 1, .threads = 1});
  prefetcher_->want(keys);
  for (const auto& key : keys) {
    prefetcher_->wait_until_idle();
    EXPECT_LE(prefetcher_->counts().ahead_bytes, 10 * kObject);
    EXPECT_NE(take(key), "not in memory");
  }
}

TEST_F(PrefetcherTest, what_memory_does_not_hold_is_in_the_cache) {
  const auto keys = make_objects(30);
  open({.keep_in_memory_bytes = 5 * kObject});
  prefetcher_->want(keys);
  prefetcher_->wait_until_idle();
  EXPECT_LE(prefetcher_->counts().in_memory_bytes, 5 * kObject);
  for (const auto& key : keys) {
    EXPECT_EQ(cache_->cached_bytes("", {key, remote_->stat(key)->info.etag, kObject}), kObject);
  }
}

TEST_F(PrefetcherTest, everything_is_asked_for_behind_what_is_wanted_now) {
  open();
  prefetcher_->want(make_objects(10));
  prefetcher_->wait_until_idle();
  for (const auto& asked : cache_->asked()) EXPECT_EQ(asked.urgency, BlockCache::Urgency::kAhead);
}

TEST_F(PrefetcherTest, leaves_gets_for_what_is_wanted_now) {
  const auto keys = make_objects(100, kBlock);
  remote_->hold_reads();
  open();
  prefetcher_->want(keys);
  const auto most = static_cast<size_t>(cache_->options().max_fetches * 3 / 4);
  remote_->wait_for_reads(most);
  EXPECT_EQ(cache_->asked().size(), most);
  remote_->release_reads();
  prefetcher_->wait_until_idle();
  EXPECT_EQ(cache_->asked().size(), keys.size());
}

TEST_F(PrefetcherTest, a_key_that_comes_twice_is_held_for_both_times) {
  const auto keys = make_objects(3);
  open();
  const std::vector<std::string> order = {keys[0], keys[1], keys[0], keys[2]};
  prefetcher_->want(order);
  prefetcher_->wait_until_idle();
  for (const auto& key : order) EXPECT_NE(take(key), "not in memory");
  EXPECT_EQ(take(keys[0]), "not in memory");
}

TEST_F(PrefetcherTest, errors_are_nobody_s_and_take_no_room) {
  auto keys = make_objects(20);
  keys.insert(keys.begin() + 5, "missing");
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    if (call != "read k7") return std::nullopt;
    return Error{ErrorCode::kIo, "reset", {}, {}};
  });
  open({.max_ahead_bytes = 3 * kObject, .threads = 1});  // so that nothing overtakes
  prefetcher_->want(keys);
  int in_memory = 0;
  for (const auto& key : keys) {
    prefetcher_->wait_until_idle();
    in_memory +=
        prefetcher_->take(key, key == "missing" ? "" : remote_->stat(key)->info.etag) ? 1 : 0;
  }
  EXPECT_EQ(in_memory, 19);
  EXPECT_EQ(prefetcher_->counts().ahead_bytes, 0);
}

TEST_F(PrefetcherTest, another_version_than_the_reader_s_is_not_given) {
  open();
  prefetcher_->want(make_objects(1));
  prefetcher_->wait_until_idle();
  remote_->put("k0", "newer");
  EXPECT_EQ(take("k0"), "not in memory");
  EXPECT_EQ(prefetcher_->counts().ahead_bytes, 0);
}

TEST_F(PrefetcherTest, places_that_the_reader_has_passed_by_take_no_room) {
  const auto keys = make_objects(1000);
  open({.max_ahead_bytes = 20 * kObject});
  prefetcher_->want(keys);
  prefetcher_->wait_until_idle();
  // The reader began anew somewhere else: the first twenty are never asked for.
  for (size_t i = 500; i < keys.size(); ++i) take(keys[i]);
  prefetcher_->wait_until_idle();
  EXPECT_EQ(prefetcher_->counts().waiting, 0);
  for (const auto& key : make_objects(10)) prefetcher_->want(std::span(&key, 1));
  EXPECT_LE(prefetcher_->counts().ahead_bytes, 20 * kObject);
}

TEST_F(PrefetcherTest, can_go_while_things_are_on_their_way) {
  const auto keys = make_objects(50);
  remote_->hold_reads();
  open();
  prefetcher_->want(keys);
  remote_->wait_for_reads(10);
  prefetcher_.reset();
  remote_->release_reads();
}

TEST_F(PrefetcherTest, of_an_object_only_the_ranges_that_were_wanted_are_fetched_and_held) {
  std::string content(100 * kBlock, ' ');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>('!' + i % 89);
  remote_->put("records", content);
  // Longer than what may be ahead in all.
  open({.max_ahead_bytes = 10 * kBlock});
  const std::vector<ObjectRange> order = {
      {"records", 50'500, 2600},  // over four blocks
      {"records", 7100, 300},     // within one
      {"records", 99'900, 500},   // longer than the object
      {"records", 7100, 300},     // once more
  };
  prefetcher_->want_ranges(order);
  prefetcher_->wait_until_idle();
  EXPECT_EQ(prefetcher_->counts().in_memory_bytes, 2600 + 300 + 100 + 300);
  EXPECT_EQ(remote_->counts().gets, 6);
  for (const ObjectRange& range : order) {
    EXPECT_EQ(take(range), content.substr(range.offset, range.size_bytes));
  }
  EXPECT_EQ(remote_->counts().gets, 6);
  EXPECT_EQ(prefetcher_->counts().ahead_bytes, 0);
  EXPECT_EQ(take(order[1]), "not in memory");
}

TEST_F(PrefetcherTest, a_place_is_used_up_only_by_who_asks_for_just_that) {
  remote_->put("k", std::string(4 * kBlock, 'x'));
  open();
  const ObjectRange range{"k", kBlock, kBlock};
  prefetcher_->want_ranges(std::span(&range, 1));
  const std::string key = "k";
  prefetcher_->want(std::span(&key, 1));
  prefetcher_->wait_until_idle();
  EXPECT_EQ(take(ObjectRange{"k", kBlock, kBlock - 1}), "not in memory");
  EXPECT_EQ(take(ObjectRange{"k", 0, kBlock}), "not in memory");
  EXPECT_EQ(prefetcher_->counts().in_memory_bytes, 5 * kBlock);
  EXPECT_EQ(take(key), std::string(4 * kBlock, 'x'));
  EXPECT_EQ(prefetcher_->counts().in_memory_bytes, kBlock);
  EXPECT_EQ(take(range), std::string(kBlock, 'x'));
}

TEST_F(PrefetcherTest, ranges_that_memory_does_not_hold_are_in_the_cache) {
  remote_->put("k", std::string(20 * kBlock, 'x'));
  open({.keep_in_memory_bytes = 0});
  const std::vector<ObjectRange> order = {{"k", 1500, 1000}, {"k", 10'000, 10}, {"k", 30'000, 10}};
  prefetcher_->want_ranges(order);
  prefetcher_->wait_until_idle();
  const ObjectVersion version{"k", remote_->stat("k")->info.etag, 20 * kBlock};
  EXPECT_EQ(cache_->cached_bytes("", version), 3 * kBlock);
  EXPECT_TRUE(cache_->find("", version, 1) && cache_->find("", version, 2) &&
              cache_->find("", version, 10));
  EXPECT_EQ(prefetcher_->counts().ahead_bytes, 1010);  // the one behind the end takes no room
}

TEST_F(PrefetcherTest, objects_too_long_to_be_held_are_left_to_their_readers) {
  const auto keys = make_objects(3, 9000);
  open({.max_ahead_bytes = 10'000});
  prefetcher_->want(keys);
  prefetcher_->wait_until_idle();
  EXPECT_EQ(remote_->counts().gets, 0);
}

}  // namespace
}  // namespace atl::storage
