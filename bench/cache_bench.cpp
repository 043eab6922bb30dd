// What the block cache costs and keeps, in one process, without a network: the time of a hit and of
// keeping a block, against the plain system calls; of asking how much of 100,000 files is there; of opening;
// and the share of hits of epochs over more than fits, ordered and shuffled, against what fits.
//
//   cache_bench DIR [MiB of blocks]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <unordered_set>
#include <vector>

#include "base/crc32c.h"
#include "base/keyed_random.h"
#include "storage/cache/block_cache.h"
#include "storage/cache/usage_table.h"
#include "storage/fake_remote.h"

namespace {

using namespace atl;
using namespace atl::storage;
constexpr uint64_t kMiB = uint64_t{1} << 20;

double seconds_of(const auto& body) {
  const auto before = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

std::vector<std::string> block_paths(const std::string& directory) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory + "/blocks")) {
    if (entry.is_regular_file()) paths.push_back(entry.path().string());
  }
  return paths;
}

// The same files by plain calls; the sum keeps the work from being left out.
uint64_t read_plainly(const std::vector<std::string>& paths, bool mapped) {
  uint64_t sum = 0;
  std::vector<std::byte> buffer(2 * kMiB);
  for (const auto& path : paths) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const auto size = static_cast<size_t>(::lseek(fd, 0, SEEK_END));
    if (mapped) {
      void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
      sum += crc32c(std::span(static_cast<const std::byte*>(at), size));
      ::munmap(at, size);
    } else {
      sum += static_cast<uint64_t>(::pread(fd, buffer.data(), size, 0));
    }
    ::close(fd);
  }
  return sum;
}

double epoch(UsageTable& table,
             std::unordered_set<uint64_t>& there,
             uint64_t capacity,
             uint64_t count,
             bool shuffled,
             uint64_t number) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  KeyedRandom random({number});
  for (uint64_t i = count - 1; shuffled && i > 0; --i)
    std::swap(order[i], order[random.below(i + 1)]);
  uint64_t hits = 0;
  for (const uint64_t block : order) {
    const uint64_t id = hash_key({block, 1});
    if (there.contains(id)) {
      ++hits;
      table.use({id, kMiB});
      continue;
    }
    const auto room = table.make_room({id, kMiB}, capacity * kMiB, 0);
    for (const auto& leaving : room.leaving) there.erase(leaving.id);
    if (room.granted) there.insert(id);
    table.end_writing(id, room.granted);
  }
  return static_cast<double>(hits) / static_cast<double>(count);
}

std::string hit_shares() {
  std::string text;
  for (const double factor : {1.1, 1.5, 2.0, 4.0, 10.0}) {
    for (const bool shuffled : {false, true}) {
      constexpr uint64_t kCapacity = 2000;
      FileOperations files;
      const auto table = UsageTable::open({-1, "", kCapacity * kMiB}, files);
      std::unordered_set<uint64_t> there;
      const auto count = static_cast<uint64_t>(kCapacity * factor);
      double last = 0;
      for (uint64_t i = 0; i < 8; ++i) last = epoch(*table, there, kCapacity, count, shuffled, i);
      text += fmt::format("{}\"{}x {}\": {:.3f}",
                          text.empty() ? "" : ", ",
                          factor,
                          shuffled ? "shuffled" : "ordered",
                          last);
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("cache_bench DIR [MiB]\n", stderr);
    return 2;
  }
  const uint64_t blocks = argc > 2 ? std::stoull(argv[2]) : 256;
  BlockCacheOptions options;
  options.directory = std::string(argv[1]) + "/cache";
  options.min_free_bytes = 0;
  const auto remote = std::make_shared<FakeRemote>();
  std::string content(blocks * kMiB, '\0');
  for (size_t i = 0; i < content.size(); i += 8) content[i] = static_cast<char>(mix64(i));
  remote->put("k", content);
  const ObjectVersion version{"k", remote->stat("k").value().info.etag, content.size()};

  auto cache = BlockCache::open(options).value();
  const double megabytes = static_cast<double>(content.size()) / 1e6;
  const auto read_all = [&](uint64_t piece) {
    for (uint64_t at = 0; at < content.size(); at += piece) {
      if (!cache->read(remote, version, at, piece)) std::abort();
    }
  };
  const double cold = seconds_of([&] { read_all(8 * kMiB); });
  const auto paths = block_paths(options.directory);
  uint64_t sum = 0;
  seconds_of([&] { sum += read_plainly(paths, false); });
  const double pread = seconds_of([&] { sum += read_plainly(paths, false); });
  const double mapped = seconds_of([&] { sum += read_plainly(paths, true); });
  const double warm = seconds_of([&] { read_all(kMiB); });
  const double pieces = seconds_of([&] { read_all(uint64_t{128} << 10); });
  // 100,000 files of 100 KB, none there: the table is asked all the same.
  uint64_t held = 0;
  const double asking = seconds_of([&] {
    for (int i = 0; i < 100'000; ++i) {
      held += cache->cached_bytes("r", {"images/" + std::to_string(i), "\"e\"", 100'000});
    }
  });
  cache.reset();
  const double opening = seconds_of([&] { cache = BlockCache::open(options).value(); });
  cache.reset();
  fmt::print(
      "{{\"blocks\": {}, \"cold_MB_s\": {:.0f}, \"warm_MB_s\": {:.0f}, \"warm_128KiB_MB_s\": "
      "{:.0f}, "
      "\"plain_pread_MB_s\": {:.0f}, \"mmap_and_crc_MB_s\": {:.0f}, \"hit_us\": {:.0f}, "
      "\"ask_100k_files_ms\": {:.1f}, \"open_ms\": {:.1f}, \"hit_shares\": {{{}}}, \"sum\": {}}}\n",
      blocks,
      megabytes / cold,
      megabytes / warm,
      megabytes / pieces,
      megabytes / pread,
      megabytes / mapped,
      warm * 1e6 / static_cast<double>(blocks),
      asking * 1e3,
      opening * 1e3,
      hit_shares(),
      sum + held);
  return 0;
}
