// What a disk that fails, a directory that somebody tampered with and a sequence of anything do to reads:
// nothing.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <future>

#include "storage/cache/block_cache.h"
#include "storage/cache/block_cache_parts.h"
#include "storage/cache/cache_fixture.h"
#include "storage/cache/faulty_files.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;

class BlockCacheFaultsTest : public CacheFixture {
 protected:
  std::shared_ptr<BlockCache> open() { return try_open().value(); }
  Result<std::shared_ptr<BlockCache>> try_open() {
    BlockCacheParts parts;
    parts.files = &files_;
    return open_block_cache(options_, parts);
  }
  bool reads_right(BlockCache& cache, const ObjectVersion& version) {
    const auto blob = cache.read(remote_, version, 0, version.size_bytes);
    return blob && blob->text() == *remote_->content(version.key);
  }
  // The same as a reader that is ahead of itself asks for it.
  bool reads_ahead_right(BlockCache& cache, const ObjectVersion& version) {
    const uint64_t block_bytes = options_.block_bytes;
    const uint64_t blocks = (version.size_bytes + block_bytes - 1) / block_bytes;
    std::string bytes(version.size_bytes, '?');
    std::promise<void> all;
    std::atomic<uint64_t> left = blocks;
    std::atomic<bool> failed = false;
    cache.read_async(remote_,
                     version,
                     0,
                     blocks,
                     BlockCache::Urgency::kAhead,
                     [&](uint64_t index, const Result<Blob>& block) {
                       if (block) {
                         bytes.replace(index * block_bytes, block->size(), block->text());
                       } else {
                         failed = true;
                       }
                       if (--left == 0) all.set_value();
                     });
    all.get_future().wait();
    return !failed && bytes == *remote_->content(version.key);
  }
  // What a look at the directory says is held, against the account.
  uint64_t bytes_on_disk() const {
    uint64_t bytes = 0;
    for (const auto& file : block_files()) bytes += disk_bytes_of(fs::file_size(file));
    return bytes;
  }

  FaultyFiles files_;
  std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
};

class BlockCacheReadsTest : public BlockCacheFaultsTest,
                            public ::testing::WithParamInterface<bool> {
 protected:
  BlockCacheReadsTest() { options_.direct_read_ahead = GetParam(); }
  bool reads_right(BlockCache& cache, const ObjectVersion& version) {
    return GetParam() ? reads_ahead_right(cache, version)
                      : BlockCacheFaultsTest::reads_right(cache, version);
  }
};

INSTANTIATE_TEST_SUITE_P(DirectOrNot, BlockCacheReadsTest, ::testing::Bool());

TEST_P(BlockCacheReadsTest, any_call_may_fail_and_every_read_is_right) {
  options_.max_bytes = 3 * 2 * kMinimumBlock;
  std::vector<ObjectVersion> versions;
  for (uint64_t i = 0; i < 2; ++i) {
    versions.push_back(put(*remote_, std::to_string(i), kMinimumBlock + 100, i));
  }
  uint64_t failures = 0;
  for (const int error : {ENOSPC, EIO}) {
    bool reached = true;
    for (uint64_t nth = 0; reached; ++nth) {
      fs::remove_all(options_.directory);
      files_.set_fault(nullptr);
      {
        const auto cache = open();
        files_.set_fault(
            [&](FaultyFiles::Call, uint64_t before) { return before == nth ? error : 0; });
        for (int round = 0; round < 2; ++round) {
          for (const auto& version : versions) {
            ASSERT_TRUE(reads_right(*cache, version)) << nth << ' ' << error;
          }
        }
        reached = files_.calls() > nth;
        failures += reached ? 1 : 0;
      }
      files_.set_fault(nullptr);
      ASSERT_LE(bytes_on_disk(), options_.max_bytes + 2 * kMinimumBlock) << nth;
      const auto cache = open();
      for (const auto& version : versions) ASSERT_TRUE(reads_right(*cache, version)) << nth;
      ASSERT_EQ(cache->counts().corrupt, 0) << nth;
    }
  }
  EXPECT_GT(failures, 100);
}

// Files that the page cache never has, and what was asked of them.
class ColdFiles : public FileOperations {
 public:
  std::atomic<int> direct{0};
  bool can_be_direct = true;

  bool is_in_page_cache(int /*fd*/, uint64_t /*bytes*/) override { return false; }
  int set_direct(int fd, bool on) override {
    if (on) ++direct;
    if (can_be_direct) return FileOperations::set_direct(fd, on);
    errno = EINVAL;
    return -1;
  }
};

class BlockCacheDirectTest : public BlockCacheFaultsTest {
 protected:
  BlockCacheDirectTest() {
    options_.direct_read_ahead = true;
    reads_right(*open(), version_);
  }
  std::shared_ptr<BlockCache> open_cold() {
    BlockCacheParts parts;
    parts.files = &cold_;
    return open_block_cache(options_, parts).value();
  }
  ColdFiles cold_;
  const ObjectVersion version_ = put(*remote_, "k", 7 * kMinimumBlock + 1234);
};

TEST_F(BlockCacheDirectTest, what_is_read_ahead_comes_past_the_page_cache) {
  const auto cache = open_cold();
  EXPECT_TRUE(reads_ahead_right(*cache, version_));
  EXPECT_EQ(cold_.direct, 8);
  EXPECT_TRUE(reads_right(*cache, version_));
  EXPECT_EQ(cold_.direct, 8);
  EXPECT_EQ(cache->counts().hits, 16);
  EXPECT_EQ(remote_->counts().bytes_read, version_.size_bytes);
}

TEST_F(BlockCacheDirectTest, where_it_cannot_be_done_it_is_read_as_ever) {
  cold_.can_be_direct = false;
  const auto cache = open_cold();
  EXPECT_TRUE(reads_ahead_right(*cache, version_));
  EXPECT_EQ(cold_.direct, 8);
  EXPECT_EQ(remote_->counts().bytes_read, version_.size_bytes);
}

TEST_F(BlockCacheDirectTest, damage_is_found) {
  const auto damaged = block_files().front();
  {
    std::fstream stream(damaged, std::ios::in | std::ios::out | std::ios::binary);
    const auto last = static_cast<std::streamoff>(fs::file_size(damaged)) - 1;
    stream.seekg(last);
    const int other = ~stream.get();
    stream.seekp(last);
    stream.put(static_cast<char>(other));
  }
  const auto cache = open_cold();
  EXPECT_TRUE(reads_ahead_right(*cache, version_));
  EXPECT_EQ(cache->counts().corrupt, 1);
}

TEST_F(BlockCacheFaultsTest, opening_fails_or_works_whichever_call_fails) {
  const auto version = put(*remote_, "k", 3 * kMinimumBlock);
  bool reached = true;
  for (uint64_t nth = 0; reached; ++nth) {
    fs::remove_all(options_.directory);
    files_.set_fault([&](FaultyFiles::Call, uint64_t before) { return before == nth ? EIO : 0; });
    const auto cache = try_open();
    reached = files_.calls() > nth;
    files_.set_fault(nullptr);
    if (!cache) continue;
    ASSERT_TRUE(reads_right(**cache, version)) << nth;
  }
}

TEST_F(BlockCacheFaultsTest, on_a_full_disk_all_is_delivered_and_nothing_kept) {
  const auto version = put(*remote_, "k", 9 * kMinimumBlock);
  const auto cache = open();
  files_.set_fault([](FaultyFiles::Call call, uint64_t) {
    return call == FaultyFiles::Call::kWrite ? ENOSPC : 0;
  });
  EXPECT_TRUE(reads_right(*cache, version));
  EXPECT_TRUE(reads_right(*cache, version));
  EXPECT_EQ(cache->counts().not_kept, 18);
  EXPECT_EQ(cache->used_bytes(), 0);
  EXPECT_EQ(bytes_on_disk(), 0);
  files_.set_fault(nullptr);
  EXPECT_TRUE(reads_right(*cache, version));
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), version), version.size_bytes);
}

TEST_F(BlockCacheFaultsTest, others_have_their_share_of_the_disk) {
  options_.min_free_bytes = 1'000'000;
  const auto first = put(*remote_, "first", 8 * kMinimumBlock, 1);
  const auto second = put(*remote_, "second", 4 * kMinimumBlock, 2);
  const auto cache = open();
  EXPECT_TRUE(reads_right(*cache, first));
  EXPECT_EQ(block_files().size(), 8);
  // Nothing that the cache gives up is enough.
  files_.free_bytes = 8192;
  EXPECT_TRUE(reads_right(*cache, second));
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), second), 0);
  EXPECT_EQ(cache->used_bytes(), bytes_on_disk());
  // Enough again.
  files_.free_bytes = 100'000'000;
  EXPECT_TRUE(reads_right(*cache, second));
  EXPECT_EQ(cache->cached_bytes(remote_->identity(), second), second.size_bytes);
}

TEST_F(BlockCacheFaultsTest, a_block_that_cannot_be_removed_stays_counted) {
  options_.max_bytes = 8 * 2 * kMinimumBlock;
  const auto cache = open();
  EXPECT_TRUE(reads_right(*cache, put(*remote_, "a", 8 * kMinimumBlock, 1)));
  const auto beyond = put(*remote_, "b", 4 * kMinimumBlock, 2);
  files_.set_fault([](FaultyFiles::Call call, uint64_t) {
    return call == FaultyFiles::Call::kRemove ? EIO : 0;
  });
  EXPECT_TRUE(reads_right(*cache, beyond));
  files_.set_fault(nullptr);
  EXPECT_EQ(cache->used_bytes(), bytes_on_disk());
  EXPECT_LE(bytes_on_disk(), options_.max_bytes);
}

TEST_F(BlockCacheFaultsTest, hostile_contents_are_removed_or_left_out_and_never_followed) {
  const auto version = put(*remote_, "k", 8 * kMinimumBlock);
  EXPECT_TRUE(reads_right(*open(), version));
  const auto blocks = block_files();
  const fs::path precious = folder_ / "precious";
  std::ofstream(precious) << "not the cache's";
  const auto replace = [&](size_t i) {
    fs::remove(blocks[i]);
    return blocks[i];
  };
  fs::create_symlink(precious, replace(0));
  fs::create_directories(replace(1) / "full");
  std::ofstream(replace(2)) << "short";
  fs::resize_file(blocks[3], uint64_t{1} << 40);
  ASSERT_EQ(::mkfifo(replace(4).c_str(), 0600), 0);
  fs::copy_file(blocks[6], replace(5));  // another block's content under this name
  std::ofstream(blocks[7].parent_path() / "zzz-no-name-of-ours") << "x";
  fs::create_symlink("/etc", fs::path(options_.directory) / "blocks" / "link");
  {
    std::ofstream header(blocks[7], std::ios::binary | std::ios::in | std::ios::out);
    header.seekp(8);
    header << "\xff\xff\xff\xff";  // a header of 4 GiB
  }
  const auto cache = open();
  EXPECT_TRUE(reads_right(*cache, version));
  EXPECT_TRUE(reads_right(*cache, version));
  std::string text;
  std::getline(std::ifstream(precious), text);
  EXPECT_EQ(text, "not the cache's");
  EXPECT_LE(bytes_on_disk(), 8 * 2 * kMinimumBlock);
  EXPECT_FALSE(fs::is_symlink(blocks[0]));
}

TEST_F(BlockCacheFaultsTest, folders_that_are_links_are_made_anew) {
  fs::create_directories(options_.directory);
  const fs::path elsewhere = folder_ / "elsewhere";
  fs::create_directory(elsewhere);
  for (const char* name : {"blocks", "leases", "temporary"}) {
    fs::create_directory_symlink(elsewhere, fs::path(options_.directory) / name);
  }
  EXPECT_TRUE(reads_right(*open(), put(*remote_, "k", 8 * kMinimumBlock)));
  EXPECT_TRUE(fs::is_empty(elsewhere));
  EXPECT_EQ(block_files().size(), 8);
}

TEST_F(BlockCacheFaultsTest, a_damaged_table_of_use_is_made_again) {
  const auto version = put(*remote_, "k", 8 * kMinimumBlock);
  EXPECT_TRUE(reads_right(*open(), version));
  const auto damage = [&](const auto& with) {
    for (const auto& entry : fs::directory_iterator(options_.directory)) {
      if (entry.is_regular_file() && entry.path().extension() != ".lock") with(entry.path());
    }
  };
  const std::vector<std::function<void(const fs::path&)>> damages = {
      [](const fs::path& file) { fs::resize_file(file, 100); },
      [](const fs::path& file) { fs::resize_file(file, 0); },
      [](const fs::path& file) { std::ofstream(file) << std::string(1'000'000, 'x'); },
      [](const fs::path& file) {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream << varied_bytes(fs::file_size(file), 1);
      },
      [](const fs::path& file) { fs::remove(file); }};
  for (const auto& with : damages) {
    damage(with);
    const auto cache = open();
    EXPECT_EQ(cache->used_bytes(), bytes_on_disk());
    EXPECT_EQ(cache->cached_bytes(remote_->identity(), version), version.size_bytes);
    EXPECT_TRUE(reads_right(*cache, version));
  }
  EXPECT_EQ(remote_->counts().bytes_read, version.size_bytes);
}

// Random operations against what must hold: a read gives the version's bytes or, where there is another
// by now and not all of this one was kept, a conflict; the bound holds; the account is right.
TEST_F(BlockCacheFaultsTest, random_operations_keep_to_the_model) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    fs::remove_all(options_.directory);
    KeyedRandom random({seed, 42});
    options_.max_bytes = (4 + random.below(60)) * 2 * kMinimumBlock;
    options_.max_fetches = 1 + static_cast<int>(random.below(4));
    std::map<std::string, std::string> model;  // key and ETag to content
    std::vector<ObjectVersion> versions;
    const auto add = [&] {
      const auto version = put(*remote_,
                               "object-" + std::to_string(random.below(6)),
                               1 + random.below(12 * kMinimumBlock),
                               random.next());
      model[version.key + version.etag] = *remote_->content(version.key);
      versions.push_back(version);
    };
    for (int i = 0; i < 6; ++i) add();
    auto cache = open();
    for (int step = 0; step < 200; ++step) {
      const ObjectVersion& version = versions[random.below(versions.size())];
      switch (random.below(20)) {
        case 0:
          add();
          break;
        case 1:
          ASSERT_TRUE(cache->release(remote_->identity(), version));
          break;
        case 2:
          cache.reset();
          cache = open();
          break;
        case 3:
          if (const auto there = block_files(); !there.empty()) {
            const auto& file = there[random.below(there.size())];
            std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
            stream.seekp(static_cast<std::streamoff>(random.below(fs::file_size(file))));
            stream << "damage";
          }
          break;
        default: {
          const uint64_t from = random.below(version.size_bytes + 10);
          const uint64_t size = 1 + random.below(version.size_bytes);
          const auto blob = cache->read(remote_, version, from, size);
          const std::string& content = model[version.key + version.etag];
          if (blob) {
            const uint64_t begin = std::min<uint64_t>(from, content.size());
            ASSERT_TRUE(blob->text() == std::string_view(content).substr(begin, size)) << seed;
          } else {
            ASSERT_EQ(blob.error().code, ErrorCode::kConflict) << blob.error().to_string();
            ASSERT_NE(remote_->stat(version.key).value().info.etag, version.etag);
          }
        }
      }
      ASSERT_LE(cache->used_bytes(), options_.max_bytes);
      ASSERT_LE(bytes_on_disk(), options_.max_bytes + 2 * kMinimumBlock);
    }
  }
}

}  // namespace
}  // namespace atl::storage
