// The S3 layer without a file system before it, for bench/storage.py.
//
//   storage_bench client  --cache DIR BUCKET KEY BLOCK_BYTES       ranges of 8 MiB, eight at a time, in order
//   storage_bench library --cache DIR BUCKET KEY BLOCK_BYTES       as a store: the cache, and its read-ahead
//   storage_bench objects --cache DIR --workers N BUCKET PREFIX    every object below it, announced in advance
//
// Endpoint and credentials come from the environment, as for every program of AWS's. One line of JSON: seconds, bytes.
// Listing what there is to read does not count.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "storage/cache/block_cache.h"
#include "storage/cache/cached_store.h"
#include "storage/namespace/namespace.h"
#include "storage/s3/s3_remote.h"

namespace atl {
namespace {

constexpr uint64_t kRangeBytes = uint64_t{8} << 20;
constexpr size_t kRanges = 8;

[[noreturn]] void stop(const std::string& message) {
  std::cerr << "storage_bench: " << message << "\n";
  std::_Exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) stop(result.error().to_string());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::shared_ptr<storage::Remote> open_bucket(const std::string& bucket) {
  storage::S3RemoteOptions options;
  options.variable = [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
  return value_of(storage::open_s3_remote("s3://" + bucket, options));
}

std::unique_ptr<storage::ObjectStore> open_cached(const std::string& bucket,
                                                  const std::string& folder) {
  auto remote = open_bucket(bucket);
  auto names = value_of(storage::Namespace::open(remote, {.directory = folder + "/names"}));
  auto cache = value_of(storage::BlockCache::open({.directory = folder + "/blocks"}));
  return storage::make_cached_store(remote, names, cache);
}

// What a caller does with the bytes: a look at each block's ends.
uint64_t look_at(std::span<const std::byte> bytes) {
  return bytes.empty() ? 0
                       : static_cast<uint64_t>(bytes.front()) + static_cast<uint64_t>(bytes.back());
}

struct Outcome {
  uint64_t bytes = 0;
  uint64_t check = 0;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
};

Outcome read_by_client(const std::string& bucket, const std::string& key, uint64_t block) {
  const auto remote = open_bucket(bucket);
  const uint64_t size = value_of(remote->stat(key)).info.size_bytes;
  Outcome outcome;
  std::deque<std::future<Result<storage::RangeBytes>>> ahead;
  uint64_t asked = 0;
  while (outcome.bytes < size) {
    while (ahead.size() < kRanges && asked < size) {
      auto promise = std::make_shared<std::promise<Result<storage::RangeBytes>>>();
      ahead.push_back(promise->get_future());
      remote->read_async(
          {.key = key, .offset = asked, .size_bytes = kRangeBytes},
          [promise](Result<storage::RangeBytes> range) { promise->set_value(std::move(range)); });
      asked += kRangeBytes;
    }
    const storage::RangeBytes range = value_of(ahead.front().get());
    ahead.pop_front();
    for (size_t at = 0; at < range.bytes.size(); at += block) {
      outcome.check += look_at(
          range.bytes.bytes().subspan(at, std::min<size_t>(block, range.bytes.size() - at)));
    }
    outcome.bytes += range.bytes.size();
  }
  return outcome;
}

Outcome read_by_library(const std::string& bucket,
                        const std::string& key,
                        uint64_t block,
                        const std::string& cache) {
  const auto store = open_cached(bucket, cache);
  Outcome outcome;
  for (;;) {
    const storage::Blob blob = value_of(store->get_range(key, outcome.bytes, block));
    if (blob.size() == 0) return outcome;
    outcome.check += look_at(blob.bytes());
    outcome.bytes += blob.size();
  }
}

Outcome read_objects(const std::string& bucket,
                     const std::string& prefix,
                     size_t workers,
                     const std::string& cache) {
  const auto store = open_cached(bucket, cache);
  std::vector<std::string> keys;
  value_of(store->list(prefix, [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  Outcome outcome;
  std::atomic<uint64_t> bytes{0}, check{0};
  std::atomic<size_t> next{0};
  store->will_need(keys);
  std::vector<std::thread> threads;
  threads.reserve(workers);
  for (size_t i = 0; i < workers; ++i) {
    threads.emplace_back([&] {
      for (size_t at = next++; at < keys.size(); at = next++) {
        const storage::Blob blob = value_of(store->get(keys[at]));
        bytes += blob.size();
        check += look_at(blob.bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  outcome.bytes = bytes;
  outcome.check = check;
  return outcome;
}

int run(std::span<char* const> words) {
  if (words.empty()) stop("what? see the head of bench/storage_bench.cpp");
  const std::string mode = words[0];
  std::map<std::string, std::string> options = {{"--cache", ""}, {"--workers", "1"}};
  std::vector<std::string> rest;
  for (size_t i = 1; i < words.size(); ++i) {
    if (options.contains(words[i]) && i + 1 < words.size()) {
      options[words[i]] = words[i + 1];
      ++i;
    } else {
      rest.emplace_back(words[i]);
    }
  }
  Outcome outcome;
  const std::string& cache = options["--cache"];
  if (mode == "client" && rest.size() == 3) {
    outcome = read_by_client(rest[0], rest[1], std::stoull(rest[2]));
  } else if (mode == "library" && rest.size() == 3) {
    outcome = read_by_library(rest[0], rest[1], std::stoull(rest[2]), cache);
  } else if (mode == "objects" && rest.size() == 2) {
    outcome = read_objects(rest[0], rest[1], std::stoull(options["--workers"]), cache);
  } else {
    stop("what? see the head of bench/storage_bench.cpp");
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - outcome.begin).count();
  std::cout << fmt::format("{{\"seconds\":{},\"bytes\":{},\"check\":{}}}",
                           seconds,
                           outcome.bytes,
                           outcome.check)
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run({argv + 1, static_cast<size_t>(argc - 1)}); }
