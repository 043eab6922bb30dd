// For tests of the cache: a directory that goes away again, and objects whose bytes say where they are.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/keyed_random.h"
#include "storage/cache/block_cache.h"
#include "storage/fake_remote.h"

namespace atl::storage {

// Different for every seed and nowhere alike.
inline std::string varied_bytes(size_t size, uint64_t seed) {
  std::string bytes;
  bytes.reserve(size + 8);
  for (uint64_t i = 0; bytes.size() < size; ++i) {
    const uint64_t word = hash_key({seed, i});
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

class CacheFixture : public ::testing::Test {
 protected:
  CacheFixture() {
    std::string name =
        (std::filesystem::temp_directory_path() / "atoll-cache-test-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.directory = (folder_ / "cache").string();
    options_.block_bytes = kMinimumBlock;
    options_.max_fetch_bytes = 8 * kMinimumBlock;
    options_.min_free_bytes = 0;
  }
  ~CacheFixture() override { std::filesystem::remove_all(folder_); }

  // Puts an object of varied bytes.
  ObjectVersion put(FakeRemote& remote, const std::string& key, size_t size, uint64_t seed = 0) {
    remote.put(key, varied_bytes(size, seed));
    const auto info = remote.stat(key).value().info;
    return {key, info.etag, info.size_bytes};
  }
  std::vector<std::filesystem::path> block_files() const { return files_in("blocks"); }
  std::vector<std::filesystem::path> files_in(const std::string& folder) const {
    std::vector<std::filesystem::path> found;
    const auto top = std::filesystem::path(options_.directory) / folder;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    return found;
  }

  static constexpr uint64_t kMinimumBlock = 4096;
  std::filesystem::path folder_;
  BlockCacheOptions options_;
};

}  // namespace atl::storage
