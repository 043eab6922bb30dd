// Several processes over one cache. Each is forked before it has threads and has a bucket of its own, of
// the same content, that counts into memory that they share.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>

#include "storage/cache/block_cache.h"
#include "storage/cache/cache_fixture.h"
#include "storage/cache/leases.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;

struct Tally {
  std::atomic<uint64_t> fetched_bytes;
  std::atomic<uint64_t> evicted;
  std::atomic<uint64_t> reads;
  std::atomic<uint64_t> ready;
};

class BlockCacheProcessesTest : public CacheFixture {
 protected:
  BlockCacheProcessesTest() {
    void* shared =
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    tally_ = new (shared) Tally();
    options_.block_bytes = 16'384;
    options_.max_fetch_bytes = 65'536;
  }
  ~BlockCacheProcessesTest() override { ::munmap(tally_, sizeof(Tally)); }

  static constexpr size_t kObjects = 40;
  static constexpr size_t kObjectBytes = 250'000;
  static std::string key_of(size_t object) { return "images/" + std::to_string(object) + ".jpg"; }

  std::shared_ptr<FakeRemote> make_remote() {
    auto remote = std::make_shared<FakeRemote>();
    for (size_t i = 0; i < kObjects; ++i) {
      contents_.push_back(varied_bytes(kObjectBytes, i));
      remote->put(key_of(i), contents_.back());
    }
    return remote;
  }
  ObjectVersion version(FakeRemote& remote, size_t object) {
    const auto info = remote.stat(key_of(object)).value().info;
    return {info.key, info.etag, info.size_bytes};
  }

  // In a child: `body` says whether all was well.
  template <typename Body>
  pid_t start(const Body& body) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::alarm(120);  // a hang is a failure
    ::_exit(body() ? 0 : 1);
  }
  static int end_of(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
  }
  // Not for one that has died.
  void wait_for_ready(uint64_t count, pid_t child) {
    siginfo_t info{};
    while (tally_->ready < count) {
      ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT), 0);
      ASSERT_EQ(info.si_pid, 0) << "the process has ended";
      ::usleep(100);
    }
  }
  // All at the same time.
  void wait_for_all(uint64_t processes) {
    ++tally_->ready;
    while (tally_->ready < processes) ::usleep(100);
  }
  // Reads every object in an order of its own, in pieces, and compares.
  bool read_all(uint64_t process) {
    const auto remote = make_remote();
    const auto cache = BlockCache::open(options_).value();
    wait_for_all(processes_);
    bool right = true;
    for (size_t i = 0; i < kObjects; ++i) {
      const size_t object = order_[process % order_.size()](i);
      for (uint64_t at = 0; at < kObjectBytes; at += 100'000) {
        const auto blob = cache->read(remote, version(*remote, object), at, 100'000);
        right = right && blob &&
                blob->text() == std::string_view(contents_[object]).substr(at, 100'000);
      }
    }
    tally_->fetched_bytes += remote->counts().bytes_read;
    tally_->evicted += cache->counts().evicted;
    return right;
  }

  uint64_t processes_ = 1;
  std::vector<std::string> contents_;
  // Together in order, in the other direction, from the middle.
  std::array<size_t (*)(size_t), 4> order_ = {
      [](size_t i) { return i; },
      [](size_t i) { return i; },
      [](size_t i) { return kObjects - 1 - i; },
      [](size_t i) { return (i + kObjects / 2) % kObjects; }};
  Tally* tally_ = nullptr;
};

TEST_F(BlockCacheProcessesTest, eight_of_them_fetch_each_byte_once) {
  processes_ = 8;
  std::vector<pid_t> children;
  for (uint64_t i = 0; i < processes_; ++i) {
    children.push_back(start([&] { return read_all(i); }));
  }
  for (const pid_t child : children) EXPECT_EQ(end_of(child), 0);
  EXPECT_LE(tally_->fetched_bytes, kObjects * kObjectBytes * 102 / 100);
  EXPECT_GE(tally_->fetched_bytes, kObjects * kObjectBytes);
  EXPECT_TRUE(files_in("leases").empty());
  EXPECT_TRUE(files_in("temporary").empty());
}

TEST_F(BlockCacheProcessesTest, keep_to_one_bound_together) {
  processes_ = 2;
  options_.max_bytes = kObjects * kObjectBytes / 3;
  std::vector<pid_t> children;
  for (uint64_t i = 0; i < processes_; ++i) {
    children.push_back(start([&] { return read_all(2 * i); }));
  }
  const uint64_t in_flight = processes_ * 4 * options_.max_fetch_bytes;
  uint64_t most = 0;
  size_t looks = 0;
  while (!children.empty()) {
    ::usleep(1000);
    // While it is counted nothing comes and goes, or what was removed and what came for it would count both.
    std::erase_if(children, [](pid_t child) {
      ::kill(child, SIGSTOP);
      int status = 0;
      ::waitpid(child, &status, WUNTRACED);
      if (WIFSTOPPED(status)) return false;
      EXPECT_EQ(status, 0);
      return true;
    });
    uint64_t bytes = 0;
    std::error_code error;
    auto entry = fs::recursive_directory_iterator(options_.directory + "/blocks", error);
    while (!error && entry != fs::recursive_directory_iterator()) {
      std::error_code gone;
      const uint64_t size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
      if (!gone) bytes += size;
      entry.increment(error);
    }
    most = std::max(most, bytes);
    ++looks;
    for (const pid_t child : children) ::kill(child, SIGCONT);
  }
  EXPECT_LE(most, options_.max_bytes + in_flight) << looks;
  EXPECT_GT(tally_->evicted, 0);
  const auto cache = BlockCache::open(options_).value();
  EXPECT_LE(cache->used_bytes(), options_.max_bytes);
}

TEST_F(BlockCacheProcessesTest, a_killed_one_holds_nobody_up) {
  uint64_t killed = 0;
  for (uint64_t nth = 1; nth < 40; nth += 3) {
    const pid_t child = start([&] {
      const auto remote = make_remote();
      std::atomic<uint64_t> reads{0};
      remote->set_fault([&](std::string_view call) -> std::optional<Error> {
        if (call.starts_with("read") && ++reads == nth) ::kill(::getpid(), SIGKILL);
        return std::nullopt;
      });
      const auto cache = BlockCache::open(options_).value();
      const auto before = std::chrono::steady_clock::now();
      for (size_t i = 0; i < kObjects; ++i) {
        if (!cache->read(remote, version(*remote, i), 0, kObjectBytes)) return false;
      }
      return std::chrono::steady_clock::now() - before < Leases::kDeadAfter;
    });
    const int status = end_of(child);
    if (WIFSIGNALED(status)) {
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
      ++killed;
    } else {
      EXPECT_EQ(status, 0);
    }
  }
  EXPECT_GT(killed, 3);
  const pid_t last = start([&] { return read_all(0); });
  EXPECT_EQ(end_of(last), 0);
  EXPECT_TRUE(files_in("leases").empty());
  EXPECT_TRUE(files_in("temporary").empty());
}

TEST_F(BlockCacheProcessesTest, waiting_ones_go_on_when_the_one_who_fetches_is_killed) {
  const pid_t holder = start([&] {
    const auto remote = make_remote();
    const auto cache = BlockCache::open(options_).value();
    remote->hold_reads();
    cache->read_async(
        remote, version(*remote, 0), 0, 4, BlockCache::Urgency::kNow, [](uint64_t, auto) {});
    remote->wait_for_reads(1);
    ++tally_->ready;
    for (;;) ::pause();
    return true;
  });
  wait_for_ready(1, holder);
  EXPECT_EQ(files_in("leases").size(), 4);
  const pid_t waiter = start([&] {
    const auto remote = make_remote();
    const auto cache = BlockCache::open(options_).value();
    std::atomic<int> come{0};
    cache->read_async(remote,
                      version(*remote, 0),
                      0,
                      4,
                      BlockCache::Urgency::kNow,
                      [&](uint64_t, const Result<Blob>& block) { come += block ? 1 : 0; });
    while (cache->counts().waits < 4) ::usleep(100);
    if (come != 0 || remote->counts().gets != 0) return false;
    ++tally_->ready;
    while (come < 4) ::usleep(100);
    return true;
  });
  wait_for_ready(2, waiter);
  ::kill(holder, SIGKILL);
  EXPECT_TRUE(WIFSIGNALED(end_of(holder)));
  EXPECT_EQ(end_of(waiter), 0);
}

}  // namespace
}  // namespace atl::storage
