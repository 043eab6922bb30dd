// Two machines over one directory: two caches with another boot, bucket and clock each. That a machine has died is that
// its clock stands still: nothing of it is renewed any more.
#include <gmock/gmock.h>

#include <array>
#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "storage/cache/block_cache.h"
#include "storage/cache/block_cache_parts.h"
#include "storage/cache/cache_fixture.h"
#include "storage/cache/faulty_files.h"

namespace atl::storage {
namespace {

using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;

constexpr seconds kPatience{60};  // a hang is a failure

// Until it holds; false where it never does.
template <typename Condition>
bool comes_true(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

struct Machine {
  Machine(const BlockCacheOptions& options, char name) {
    parts.files = &files;
    parts.self = {std::string(32, name), 4026531836, 100, 5000};
    parts.host = std::string(1, name);
    parts.clock = [this] { return std::chrono::steady_clock::time_point(now.load()); };
    files.set_fault([this](FaultyFiles::Call call, uint64_t) {
      reads += call == FaultyFiles::Call::kRead ? 1 : 0;
      return 0;
    });
    cache = open_block_cache(options, parts).value();
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { remote->release_reads(); }  // for which the cache waits

  bool reads_right(const ObjectVersion& version) const {
    const auto blob = cache->read(remote, version, 0, version.size_bytes);
    return blob && blob->text() == *remote->content(version.key);
  }
  // The whole object; what has come right is counted.
  void begin_reading(const ObjectVersion& version) {
    const uint64_t size = options().block_bytes;
    const uint64_t blocks = (version.size_bytes + size - 1) / size;
    const std::string content = *remote->content(version.key);
    cache->read_async(remote,
                      version,
                      0,
                      blocks,
                      BlockCache::Urgency::kNow,
                      [this, content, size](uint64_t index, const Result<Blob>& block) {
                        const bool right =
                            block &&
                            block->text() == std::string_view(content).substr(index * size, size);
                        ++(right ? come : failed);
                      });
  }
  // Returns when who waits here for another machine has looked at each of so many leases since this was called. A look
  // reads them all, and one may be half done.
  bool looks_again(uint64_t leases) const {
    const uint64_t before = reads;
    return comes_true([&] { return reads >= before + 3 * leases; });
  }
  uint64_t fetched_bytes() const { return remote->counts().bytes_read; }
  const BlockCacheOptions& options() const { return cache->options(); }

  FaultyFiles files;
  std::atomic<uint64_t> reads{0};
  std::atomic<seconds> now{seconds(1'000'000)};
  BlockCacheParts parts;
  std::shared_ptr<FakeRemote> remote = std::make_shared<FakeRemote>();
  std::atomic<uint64_t> come{0};
  std::atomic<uint64_t> failed{0};
  std::shared_ptr<BlockCache> cache;
};

class BlockCacheMachinesTest : public CacheFixture {
 protected:
  // The same object in both machines' buckets, which are one.
  ObjectVersion put_in_both(const std::string& key, size_t size, uint64_t seed = 0) {
    auto version = put(*b_.remote, key, size, seed);
    EXPECT_EQ(put(*a_.remote, key, size, seed).etag, version.etag);
    return version;
  }
  uint64_t bytes_on_disk() const {
    uint64_t bytes = 0;
    for (const auto& file : block_files()) bytes += disk_bytes_of(std::filesystem::file_size(file));
    return bytes;
  }
  // The one file of a machine that says that it lives.
  std::string lease_of(const Machine& machine) const {
    for (const auto& file : files_in("temporary")) {
      if (!file.filename().string().starts_with(machine.parts.self.boot)) continue;
      std::ifstream stream(file);
      return {std::istreambuf_iterator<char>(stream), {}};
    }
    return {};
  }
  // A has begun to fetch and gets no answer; B wants the same.
  void let_b_wait_for_a(const ObjectVersion& version, uint64_t blocks) {
    a_.remote->hold_reads();
    a_.begin_reading(version);
    a_.remote->wait_for_reads(1);
    b_.begin_reading(version);
    ASSERT_TRUE(comes_true([&] { return b_.cache->counts().waits == blocks; }));
  }

  // Tables of a few pages.
  const BlockCacheOptions& small_options() {
    options_.max_bytes = uint64_t{64} << 20;
    return options_;
  }

  Machine a_{small_options(), 'a'};
  Machine b_{options_, 'b'};
};

TEST_F(BlockCacheMachinesTest, what_one_has_fetched_the_other_reads_from_disk) {
  const auto version = put_in_both("k", 50'000);
  EXPECT_TRUE(a_.reads_right(version));
  EXPECT_TRUE(b_.reads_right(version));
  EXPECT_EQ(a_.fetched_bytes(), 50'000);
  EXPECT_EQ(b_.fetched_bytes(), 0);
  EXPECT_EQ(b_.cache->cached_bytes(b_.remote->identity(), version), 50'000);
}

TEST_F(BlockCacheMachinesTest, what_one_is_fetching_the_other_waits_for) {
  const auto version = put_in_both("k", 4 * kMinimumBlock);
  ASSERT_NO_FATAL_FAILURE(let_b_wait_for_a(version, 4));
  ASSERT_TRUE(b_.looks_again(4));
  EXPECT_EQ(b_.come, 0);
  a_.remote->release_reads();
  EXPECT_TRUE(comes_true([&] { return a_.come == 4 && b_.come == 4; }));
  EXPECT_EQ(b_.remote->counts().gets, 0);
  EXPECT_THAT(files_in("leases"), IsEmpty());
}

TEST_F(BlockCacheMachinesTest, both_at_once_fetch_each_block_once) {
  std::vector<ObjectVersion> versions;
  for (uint64_t i = 0; i < 20; ++i) {
    versions.push_back(put_in_both(std::to_string(i), 10 * kMinimumBlock, i));
  }
  std::thread other([&] {
    for (const auto& version : versions) EXPECT_TRUE(b_.reads_right(version));
  });
  for (const auto& version : versions) EXPECT_TRUE(a_.reads_right(version));
  other.join();
  EXPECT_EQ(a_.fetched_bytes() + b_.fetched_bytes(), versions.size() * 10 * kMinimumBlock);
  EXPECT_THAT(files_in("leases"), IsEmpty());
}

TEST_F(BlockCacheMachinesTest, one_that_has_died_is_waited_for_until_its_lease_has_run_out) {
  const auto version = put_in_both("k", 4 * kMinimumBlock);
  ASSERT_NO_FATAL_FAILURE(let_b_wait_for_a(version, 4));
  b_.now = b_.now.load() + Leases::kDeadAfter - seconds(1);
  ASSERT_TRUE(b_.looks_again(4));
  EXPECT_EQ(b_.remote->counts().gets, 0);
  b_.now = b_.now.load() + seconds(1);
  EXPECT_TRUE(comes_true([&] { return b_.come == 4; }));
  EXPECT_EQ(b_.fetched_bytes(), 4 * kMinimumBlock);
  // It was only slow: its readers have their bytes, and what it brings is the same.
  a_.remote->release_reads();
  EXPECT_TRUE(comes_true([&] { return a_.come == 4; }));
  EXPECT_EQ(a_.failed + b_.failed, 0);
  EXPECT_THAT(files_in("leases"), IsEmpty());
  EXPECT_THAT(block_files(), SizeIs(4));
  EXPECT_TRUE(b_.reads_right(version));
  EXPECT_EQ(b_.fetched_bytes(), 4 * kMinimumBlock);
  EXPECT_EQ(a_.cache->counts().corrupt + b_.cache->counts().corrupt, 0);
}

TEST_F(BlockCacheMachinesTest, one_that_lives_is_waited_for_however_long_it_takes) {
  const auto version = put_in_both("k", 2 * kMinimumBlock);
  ASSERT_NO_FATAL_FAILURE(let_b_wait_for_a(version, 2));
  for (int beat = 0; beat < 2; ++beat) {
    const std::string before = lease_of(a_);
    ASSERT_FALSE(before.empty());
    a_.now = a_.now.load() + Leases::kBeat;
    ASSERT_TRUE(comes_true([&] { return lease_of(a_) != before; }));
    ASSERT_TRUE(b_.looks_again(2));  // and so has seen it
    b_.now = b_.now.load() + Leases::kDeadAfter - seconds(1);
    ASSERT_TRUE(b_.looks_again(2));
    ASSERT_EQ(b_.remote->counts().gets, 0) << beat;
  }
  a_.remote->release_reads();
  EXPECT_TRUE(comes_true([&] { return b_.come == 2; }));
  EXPECT_EQ(b_.remote->counts().gets, 0);
}

TEST_F(BlockCacheMachinesTest, what_the_fetching_one_is_refused_the_waiting_one_asks_for_itself) {
  const auto version = put_in_both("k", 2 * kMinimumBlock);
  a_.remote->set_fault([](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read ")) return std::nullopt;
    return Error{ErrorCode::kPermission, "not for this machine", {}, {}};
  });
  ASSERT_NO_FATAL_FAILURE(let_b_wait_for_a(version, 2));
  a_.remote->release_reads();
  EXPECT_TRUE(comes_true([&] { return a_.failed == 2 && b_.come == 2; }));
  EXPECT_EQ(b_.fetched_bytes(), 2 * kMinimumBlock);
}

TEST_F(BlockCacheMachinesTest, what_one_releases_the_other_fetches_again) {
  const auto version = put_in_both("k", 50'000);
  EXPECT_TRUE(a_.reads_right(version));
  EXPECT_TRUE(b_.reads_right(version));
  ASSERT_TRUE(b_.cache->release(b_.remote->identity(), version));
  EXPECT_THAT(block_files(), IsEmpty());
  EXPECT_TRUE(a_.reads_right(version));
  EXPECT_EQ(a_.fetched_bytes(), 100'000);
  EXPECT_EQ(a_.cache->counts().corrupt, 0);
}

TEST_F(BlockCacheMachinesTest, who_opens_later_counts_what_is_there_and_keeps_the_bound) {
  options_.max_bytes = 80 * kMinimumBlock;  // a block and its header take two pages
  const auto first = put_in_both("first", 40 * kMinimumBlock, 1);
  EXPECT_TRUE(a_.reads_right(first));
  EXPECT_EQ(bytes_on_disk(), options_.max_bytes);
  Machine later(options_, 'c');
  EXPECT_EQ(later.cache->used_bytes(), options_.max_bytes);
  later.remote->put("other", "");
  const auto second = put(*later.remote, "second", 30 * kMinimumBlock, 2);
  EXPECT_TRUE(later.reads_right(second));
  EXPECT_EQ(later.cache->counts().evicted, 30);
  EXPECT_LE(bytes_on_disk(), options_.max_bytes);
  // What A takes for there is not: it finds out.
  EXPECT_TRUE(a_.reads_right(first));
  EXPECT_GT(a_.fetched_bytes(), first.size_bytes);
  EXPECT_EQ(a_.cache->counts().corrupt, 0);
}

TEST_F(BlockCacheMachinesTest, what_one_adds_the_other_counts_before_long) {
  const auto version = put_in_both("k", 8 * kMinimumBlock);
  EXPECT_TRUE(a_.reads_right(version));
  EXPECT_TRUE(comes_true([&] { return b_.cache->used_bytes() == a_.cache->used_bytes(); }));
  EXPECT_EQ(b_.cache->cached_bytes(b_.remote->identity(), version), version.size_bytes);
}

}  // namespace
}  // namespace atl::storage
