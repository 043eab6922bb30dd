#include "fs/block_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "storage/cache/block_parts.h"

namespace atl::fs {

using storage::Blob;
using storage::BlockCache;
using storage::ObjectVersion;

namespace {

using Clock = std::chrono::steady_clock;

// A read begins what it reads ahead just before it asks for its blocks, and what follows a failure, follows at once.
constexpr std::chrono::seconds kTogether{1};
// A failure that took so long was none that passes by itself: the client has tried again and again.
constexpr std::chrono::seconds kLong{5};

}  // namespace

struct BlockMemory::State {
  // One that is under way, shared with those who wait for it: what has failed stays with them alone.
  struct Fetch {
    Clock::time_point begun;
    Clock::time_point failed;
    std::optional<Error> failure;
  };
  struct Entry {
    std::string name;
    uint64_t bytes = 0;
    std::shared_ptr<Fetch> fetch;
    std::optional<Blob> result;  // none: under way
    bool was_read = false;
    bool is_guess = false;
  };
  enum class For { kGuess, kReader, kWaiting };
  using Entries = std::list<Entry>;  // the latest in front

  uint64_t max_bytes = 0;
  uint64_t block_bytes = 0;
  Now now;

  mutable std::mutex mutex;
  std::condition_variable arrived;
  Entries entries;
  std::unordered_map<std::string_view, Entries::iterator> by_name;
  uint64_t held_bytes = 0;
  uint64_t guessed_bytes = 0;                                             // of them
  std::unordered_map<std::string, std::shared_ptr<Fetch>> failed_lately;  // after long

  static std::string name_of(const ObjectVersion& version, uint64_t block) {
    return fmt::format("{}/{}/{}", block, version.etag, version.key);
  }
  uint64_t bytes_of(const ObjectVersion& version, uint64_t block) const {
    return std::min(block_bytes, version.size_bytes - block * block_bytes);
  }
  void erase(Entries::iterator entry) {
    held_bytes -= entry->bytes;
    if (entry->is_guess) guessed_bytes -= entry->bytes;
    by_name.erase(entry->name);
    entries.erase(entry);
  }
  bool may_drop(const Entry& entry, For whom) const {
    if (!entry.result) return false;
    return entry.was_read || whom == For::kWaiting || (entry.is_guess && whom == For::kReader);
  }
  // Drops the oldest until `bytes` more fit: first what has been read, then guesses, and the rest only for who waits.
  bool make_room(uint64_t bytes, For whom) {
    for (const For pass : {For::kGuess, For::kReader, For::kWaiting}) {
      if (pass > whom) break;
      for (auto at = entries.end(); held_bytes + bytes > max_bytes && at != entries.begin();) {
        --at;
        if (!may_drop(*at, pass)) continue;
        const auto dropped = at++;
        erase(dropped);
      }
    }
    const bool fits = held_bytes + bytes <= max_bytes;
    return fits && (whom != For::kGuess || guessed_bytes + bytes <= max_bytes / 2);
  }
  void insert(std::string name, uint64_t bytes, bool is_guess) {
    auto fetch = std::make_shared<Fetch>();
    fetch->begun = now();
    entries.push_front({std::move(name), bytes, std::move(fetch), std::nullopt, false, is_guess});
    by_name.emplace(entries.front().name, entries.begin());
    held_bytes += bytes;
    if (is_guess) guessed_bytes += bytes;
  }
  void no_guess_any_more(Entry& entry) {
    if (std::exchange(entry.is_guess, false)) guessed_bytes -= entry.bytes;
  }
  void fail(Entries::iterator entry, Error error) {
    note_failure(entry->fetch, std::move(error), std::span(&entry->name, 1));
    erase(entry);
  }
  // Of the fetch that these blocks had in common.
  void note_failure(const std::shared_ptr<Fetch>& fetch,
                    Error error,
                    std::span<const std::string> names) {
    fetch->failure = std::move(error);
    fetch->failed = now();
    std::erase_if(failed_lately, [&](const auto& other) { return !is_recent(*other.second); });
    if (fetch->failed - fetch->begun < kLong) return;
    for (const std::string& name : names) failed_lately[name] = fetch;
  }
  bool is_recent(const Fetch& fetch) const { return fetch.failed + kTogether > now(); }
  std::optional<Error> failure_of(const std::string& name) const {
    const auto failed = failed_lately.find(name);
    if (failed == failed_lately.end() || !is_recent(*failed->second)) return std::nullopt;
    return failed->second->failure;
  }
  void deliver(const std::string& name, Result<Blob> result) {
    {
      const std::lock_guard lock(mutex);
      const auto found = by_name.find(name);
      if (found != by_name.end() && !found->second->result) {
        if (result) {
          found->second->result = std::move(*result);
        } else {
          fail(found->second, std::move(result).error());
        }
      }
    }
    arrived.notify_all();
  }
};

BlockMemory::BlockMemory(std::shared_ptr<storage::Remote> remote,
                         std::shared_ptr<BlockCache> cache,
                         uint64_t max_bytes,
                         Now now)
    : remote_(std::move(remote)), cache_(std::move(cache)), state_(std::make_shared<State>()) {
  state_->now = std::move(now);
  state_->block_bytes = cache_->options().block_bytes;
  state_->max_bytes = max_bytes;
}

BlockMemory::~BlockMemory() = default;

uint64_t BlockMemory::block_bytes() const { return state_->block_bytes; }

uint64_t BlockMemory::held_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->held_bytes;
}

Result<Blob> BlockMemory::get(const ObjectVersion& version, uint64_t block, bool& waited) {
  State& state = *state_;
  const std::string name = State::name_of(version, block);
  const auto came = state.now();
  std::unique_lock lock(state.mutex);
  if (auto failure = state.failure_of(name)) return tl::unexpected(std::move(*failure));
  for (std::shared_ptr<State::Fetch> fetch;;) {
    // What failed ahead of time is asked for again now. What this reader has waited for from its beginning is the answer:
    // it may have taken as long as the client goes on trying, and would again for each of many readers.
    if (fetch && fetch->failure && fetch->begun + kTogether >= came) {
      return tl::unexpected(*fetch->failure);
    }
    const auto found = state.by_name.find(name);
    if (found != state.by_name.end() && found->second->result) {
      const auto entry = found->second;
      entry->was_read = true;
      state.no_guess_any_more(*entry);
      state.entries.splice(state.entries.begin(), state.entries, entry);
      return *entry->result;
    }
    waited = true;
    if (found != state.by_name.end()) {
      fetch = found->second->fetch;
      state.arrived.wait(lock);
      continue;
    }
    const uint64_t bytes = state.bytes_of(version, block);
    state.make_room(bytes, State::For::kWaiting);
    state.insert(name, bytes, false);
    fetch = state.entries.front().fetch;
    lock.unlock();
    cache_->read_async(remote_,
                       version,
                       block,
                       1,
                       BlockCache::Urgency::kNow,
                       [shared = state_, name](uint64_t, Result<Blob> result) {
                         shared->deliver(name, std::move(result));
                       });
    lock.lock();
  }
}

std::optional<Result<Blob>> BlockMemory::read_apart(const ObjectVersion& version,
                                                    uint64_t offset,
                                                    uint64_t size_bytes) {
  State& state = *state_;
  std::vector<std::string> names;
  const uint64_t end = offset + size_bytes;
  for (uint64_t block = offset / state.block_bytes; block * state.block_bytes < end; ++block) {
    names.push_back(State::name_of(version, block));
  }
  const auto fetch = std::make_shared<State::Fetch>();
  {
    const std::lock_guard lock(state.mutex);
    for (const std::string& name : names) {
      if (auto failure = state.failure_of(name)) return tl::unexpected(std::move(*failure));
      if (state.by_name.contains(name)) return std::nullopt;
    }
    fetch->begun = state.now();
  }
  auto bytes = cache_->read(remote_, version, offset, size_bytes);
  if (!bytes) {
    const std::lock_guard lock(state.mutex);
    state.note_failure(fetch, bytes.error(), names);
  }
  return bytes;
}

uint64_t BlockMemory::read_ahead(const ObjectVersion& version,
                                 uint64_t first,
                                 uint64_t blocks,
                                 Ahead why) {
  State& state = *state_;
  const bool is_guess = why == Ahead::kGuess;
  uint64_t begin = first;
  while (blocks > 0) {
    // A run of blocks that are not there yet is one request.
    uint64_t run = 0;
    {
      const std::lock_guard lock(state.mutex);
      for (; run < blocks; ++run) {
        std::string name = State::name_of(version, begin + run);
        if (state.by_name.contains(name)) break;
        const uint64_t bytes = state.bytes_of(version, begin + run);
        if (!state.make_room(bytes, is_guess ? State::For::kGuess : State::For::kReader)) {
          blocks = run;
          break;
        }
        state.insert(std::move(name), bytes, is_guess);
      }
    }
    if (run > 0) {
      cache_->read_async(remote_,
                         version,
                         begin,
                         run,
                         BlockCache::Urgency::kAhead,
                         [shared = state_, version](uint64_t index, Result<Blob> result) {
                           shared->deliver(State::name_of(version, index), std::move(result));
                         });
    }
    begin += run;
    blocks -= run;
    if (blocks > 0) {  // the one that is there already
      ++begin;
      --blocks;
    }
  }
  return begin - first;
}

void BlockMemory::abandon(const ObjectVersion& version, uint64_t first, uint64_t blocks) {
  const std::lock_guard lock(state_->mutex);
  for (uint64_t block = first; block < first + blocks; ++block) {
    const auto found = state_->by_name.find(State::name_of(version, block));
    if (found != state_->by_name.end()) found->second->was_read = true;
  }
}

ReadAhead::Window ReadAhead::next(uint64_t offset,
                                  uint64_t size_bytes,
                                  uint64_t object_bytes,
                                  uint64_t block_bytes) {
  const uint64_t end = std::min(offset + size_bytes, object_bytes);
  // The kernel's own read-ahead sends the pieces of one stream by several threads: they come nearly in
  // order.
  const bool near =
      offset <= expected_ + block_bytes && offset + size_bytes + block_bytes >= expected_;
  if (!near) {
    jumped_ = true;
    run_bytes_ = 0;
    window_ = 0;
    started_ = 0;
    expected_ = end;
    return {};
  }
  expected_ = std::max(expected_, end);
  run_bytes_ += size_bytes;
  jumped_ = jumped_ && storage::goes_by_parts(block_bytes, run_bytes_);
  if (jumped_) return {};
  window_ = std::max(window_, kFirstWindow);
  const uint64_t blocks_in_all = (object_bytes + block_bytes - 1) / block_bytes;
  const uint64_t from = std::max(started_, offset / block_bytes);
  const uint64_t to = std::min(blocks_in_all, (end + block_bytes - 1) / block_bytes + window_);
  // Half a window at a time, so that adjacent blocks come by one request.
  if (from >= to || (to - from < window_ / 2 && to != blocks_in_all)) return {};
  started_ = to;
  return {from, to - from};
}

ReadAhead::Window ReadAhead::unread(uint64_t block_bytes) const {
  const uint64_t from = expected_ / block_bytes;
  return from < started_ ? Window{from, started_ - from} : Window{};
}

void ReadAhead::waited() {
  if (window_ > 0) window_ = std::min(window_ * 2, kMaxWindow);
}

}  // namespace atl::fs
