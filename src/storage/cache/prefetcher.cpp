// An entry goes through: waiting -> looked up -> on its way -> there -> gone. It is gone when it was
// taken, passed by, or could not be fetched; its bytes count from the look-up until then. Entries
// are numbered in the order of the keys; those at the front that are gone are removed.
#include "storage/cache/prefetcher.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>

#include "storage/cache/object_read.h"

namespace atl::storage {
namespace {

// The threads of a loader ask in nearly this order. What is so many places behind the one asked for
// last will not be asked for any more.
constexpr uint64_t kSlackPlaces = 256;

// On its way at a time, as a share of the cache's GETs: the others are for what is wanted now.
constexpr int kShareOfFetches_percent = 75;

}  // namespace

// What stands in the order: an object, or bytes of it.
struct Prefetcher::Part {
  std::string key;
  uint64_t offset = 0;
  uint64_t size_bytes = kWhole;

  static constexpr uint64_t kWhole = std::numeric_limits<uint64_t>::max();
  using View = std::tuple<std::string_view, uint64_t, uint64_t>;
  View view() const { return {key, offset, size_bytes}; }
  // How much of it an object of so many bytes has.
  uint64_t bytes_of(uint64_t object_bytes) const {
    return std::min(size_bytes, object_bytes - std::min(offset, object_bytes));
  }
};

// What the answers that are on their way share with the prefetcher. Without the remote and the cache: the last
// to know of it may be a thread of theirs.
struct Prefetcher::Order {
  struct Entry {
    Part part;
    std::string etag;
    uint64_t bytes = 0;  // that count as ahead
    uint64_t memory_bytes = 0;
    std::optional<Blob> blob;
    bool gone = false;
  };

  Order(PrefetchOptions o, int most) : options(o), max_on_their_way(most) {}

  const PrefetchOptions options;
  const int max_on_their_way;

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool ending = false;
  std::deque<Entry> entries;
  uint64_t first_number = 0;   // of entries.front()
  uint64_t next_number = 0;    // the first that no thread has begun with
  uint64_t passed_number = 0;  // everything before it is gone
  // Of entries that are not gone.
  struct InOrder {
    using is_transparent = void;
    static Part::View view(const Part& part) { return part.view(); }
    static Part::View view(const Part::View& view) { return view; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return view(a) < view(b);
    }
  };
  std::map<Part, std::deque<uint64_t>, InOrder> places;
  uint64_t ahead_bytes = 0;
  uint64_t memory_bytes = 0;
  int on_their_way = 0;
  int looking_up = 0;                             // or waiting for room
  std::map<uint64_t, uint64_t> waiting_for_room;  // number -> bytes

  void arrived(uint64_t number, Result<Blob> bytes);
  std::optional<Blob> take(const Part::View& part, std::string_view etag);

  // All of these with the mutex held.
  Entry* find(uint64_t number) {
    if (number < first_number || number - first_number >= entries.size()) return nullptr;
    Entry& entry = entries[number - first_number];
    return entry.gone ? nullptr : &entry;
  }
  uint64_t end_number() const { return first_number + entries.size(); }
  void give_up(uint64_t number);
  void pass_by(uint64_t number);
  bool has_room(uint64_t bytes) const {
    return ahead_bytes == 0 || ahead_bytes + bytes <= options.max_ahead_bytes;
  }
  // What will be read first goes first, or long objects would wait for ever.
  bool may_take_room(uint64_t number) const {
    const auto first = waiting_for_room.begin();
    return first != waiting_for_room.end() && first->first == number && has_room(first->second);
  }
  bool may_begin() const {
    return next_number < end_number() && ahead_bytes < options.max_ahead_bytes &&
           on_their_way + looking_up < max_on_their_way;
  }
};

void Prefetcher::Order::give_up(uint64_t number) {
  Entry* entry = find(number);
  if (entry == nullptr) return;
  ahead_bytes -= entry->bytes;
  memory_bytes -= entry->memory_bytes;
  const auto place = places.find(entry->part);
  std::erase(place->second, number);
  if (place->second.empty()) places.erase(place);
  *entry = Entry{.gone = true};
  while (!entries.empty() && entries.front().gone) {
    entries.pop_front();
    ++first_number;
  }
  next_number = std::max(next_number, first_number);
  changed.notify_all();
}

void Prefetcher::Order::pass_by(uint64_t number) {
  if (number < kSlackPlaces) return;
  for (; passed_number < number - kSlackPlaces; ++passed_number) give_up(passed_number);
}

void Prefetcher::Order::arrived(uint64_t number, Result<Blob> bytes) {
  const std::lock_guard lock(mutex);
  --on_their_way;
  if (Entry* entry = find(number)) {
    if (!bytes) {
      give_up(number);
    } else if (entry->memory_bytes > 0) {
      entry->blob = std::move(*bytes);
    }
  }
  changed.notify_all();
}

// Without the mutex: what is there already comes in this very thread.
void Prefetcher::start(uint64_t number,
                       const ObjectVersion& version,
                       const Part& part,
                       bool in_memory) {
  constexpr auto kAhead = BlockCache::Urgency::kAhead;
  const uint64_t bytes = part.bytes_of(version.size_bytes);
  if (in_memory) {
    read_range_async(*cache_,
                     remote_,
                     version,
                     part.offset,
                     bytes,
                     kAhead,
                     [order = order_, number](Result<Blob> answer) {
                       order->arrived(number, std::move(answer));
                     });
    return;
  }
  if (cache_->cached_bytes(remote_->identity(), version) == version.size_bytes) {
    order_->arrived(number, Blob());
    return;
  }
  // Only onto the disk.
  struct Left {
    std::mutex mutex;
    uint64_t blocks = 0;
    std::optional<Error> failure;
  };
  const auto left = std::make_shared<Left>();
  const BlockRange blocks = blocks_of(*cache_, part.offset, bytes);
  left->blocks = blocks.count;
  const auto take = [order = order_, number, left](uint64_t, Result<Blob> block) {
    std::unique_lock lock(left->mutex);
    if (!block) left->failure = std::move(block).error();
    if (--left->blocks > 0) return;
    const auto failure = std::move(left->failure);
    lock.unlock();
    order->arrived(number, failure ? Result<Blob>(tl::unexpected(*failure)) : Blob());
  };
  cache_->read_async(remote_, version, blocks.first, blocks.count, kAhead, take);
}

// Waits for room; the reader may come by meanwhile.
void Prefetcher::fetch(uint64_t number,
                       const ObjectInfo& info,
                       std::unique_lock<std::mutex>& lock) {
  Order& order = *order_;
  const Order::Entry* wanted = order.find(number);
  if (wanted == nullptr) return;
  const Part part = wanted->part;
  const uint64_t bytes = part.bytes_of(info.size_bytes);
  // What is that long is read part by part, or takes so long that nothing is gained.
  if (bytes == 0 || bytes > order.options.max_ahead_bytes / 2) {
    order.give_up(number);
    return;
  }
  order.waiting_for_room.emplace(number, bytes);
  order.changed.notify_all();  // for wait_until_idle()
  order.changed.wait(lock, [&] {
    return order.ending || order.find(number) == nullptr || order.may_take_room(number);
  });
  order.waiting_for_room.erase(number);
  order.changed.notify_all();
  Order::Entry* entry = order.find(number);
  if (order.ending || entry == nullptr) return;
  const bool in_memory = bytes <= kMaxInMemoryBytes &&
                         order.memory_bytes + bytes <= order.options.keep_in_memory_bytes;
  entry->etag = info.etag;
  entry->bytes = bytes;
  entry->memory_bytes = in_memory ? bytes : 0;
  order.ahead_bytes += entry->bytes;
  order.memory_bytes += entry->memory_bytes;
  ++order.on_their_way;
  lock.unlock();
  start(number, {info.key, info.etag, info.size_bytes}, part, in_memory);
  lock.lock();
}

void Prefetcher::run() {
  Order& order = *order_;
  std::unique_lock lock(order.mutex);
  for (;;) {
    order.changed.wait(lock, [&] { return order.ending || order.may_begin(); });
    if (order.ending) return;
    const uint64_t number = order.next_number++;
    const Order::Entry* entry = order.find(number);
    if (entry == nullptr) {
      order.changed.notify_all();
      continue;
    }
    const std::string key = entry->part.key;
    ++order.looking_up;
    lock.unlock();
    const auto info = names_->lookup(key);
    lock.lock();
    if (info) {
      fetch(number, *info, lock);
    } else {
      order.give_up(number);
    }
    --order.looking_up;
    order.changed.notify_all();
  }
}

Prefetcher::Prefetcher(std::shared_ptr<Remote> remote,
                       std::shared_ptr<Namespace> names,
                       std::shared_ptr<BlockCache> cache,
                       PrefetchOptions options)
    : remote_(std::move(remote)),
      names_(std::move(names)),
      cache_(std::move(cache)),
      order_(std::make_shared<Order>(
          options, std::max(cache_->options().max_fetches * kShareOfFetches_percent / 100, 1))) {}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(order_->mutex);
    order_->ending = true;
    order_->entries.clear();
    order_->places.clear();
  }
  order_->changed.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Prefetcher::want(std::span<const std::string> keys) {
  std::vector<Part> parts;
  parts.reserve(keys.size());
  for (const std::string& key : keys) parts.push_back({.key = key});
  want_parts(std::move(parts));
}

void Prefetcher::want_ranges(std::span<const ObjectRange> ranges) {
  std::vector<Part> parts;
  parts.reserve(ranges.size());
  for (const ObjectRange& range : ranges) {
    parts.push_back({range.key, range.offset, std::min(range.size_bytes, Part::kWhole - 1)});
  }
  want_parts(std::move(parts));
}

void Prefetcher::want_parts(std::vector<Part> parts) {
  {
    const std::lock_guard lock(order_->mutex);
    for (Part& part : parts) {
      order_->places[part].push_back(order_->end_number());
      order_->entries.push_back({.part = std::move(part)});
    }
    // A store that nobody plans for has no threads.
    if (threads_.empty()) {
      for (int i = 0; i < std::max(order_->options.threads, 1); ++i) {
        threads_.emplace_back([this] { run(); });
      }
    }
  }
  order_->changed.notify_all();
}

std::optional<Blob> Prefetcher::take(std::string_view key, std::string_view etag) {
  return order_->take({key, 0, Part::kWhole}, etag);
}

std::optional<Blob> Prefetcher::take_range(std::string_view key,
                                           std::string_view etag,
                                           uint64_t offset,
                                           uint64_t size_bytes) {
  return order_->take({key, offset, std::min(size_bytes, Part::kWhole - 1)}, etag);
}

std::optional<Blob> Prefetcher::Order::take(const Part::View& part, std::string_view etag) {
  const std::lock_guard lock(mutex);
  const auto place = places.find(part);
  if (place == places.end()) return std::nullopt;
  const uint64_t number = place->second.front();
  Entry& entry = *find(number);
  std::optional<Blob> bytes;
  if (entry.blob && entry.etag == etag) bytes = std::move(entry.blob);
  give_up(number);
  pass_by(number);
  return bytes;
}

Prefetcher::Counts Prefetcher::counts() const {
  const std::lock_guard lock(order_->mutex);
  return {order_->end_number() - order_->next_number, order_->ahead_bytes, order_->memory_bytes};
}

void Prefetcher::wait_until_idle() const {
  std::unique_lock lock(order_->mutex);
  order_->changed.wait(lock, [&] {
    const auto& waiting = order_->waiting_for_room;
    const bool room = !waiting.empty() && order_->has_room(waiting.begin()->second);
    const bool nobody_free = waiting.size() == threads_.size();
    return order_->on_their_way == 0 && !room && (nobody_free || !order_->may_begin()) &&
           static_cast<size_t>(order_->looking_up) == waiting.size();
  });
}

}  // namespace atl::storage
