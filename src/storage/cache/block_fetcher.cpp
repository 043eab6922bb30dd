#include "storage/cache/block_fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <unordered_set>

namespace atl::storage {
namespace {

// They wait for the disk and copy; more than a few only get into each other's way.
constexpr int kWorkers = 4;
// So few are looked up where they are asked for; handing them over would take longer.
constexpr uint64_t kLookedUpAtOnce = 4;
// Between looks for a block that another process is fetching. A GET takes longer than the shortest; at
// the longest, a thousand blocks waited for cost a tenth of a processor.
constexpr std::chrono::milliseconds kShortestPause{1};
constexpr std::chrono::milliseconds kLongestPause{20};
constexpr std::chrono::seconds kUpkeepEvery{1};

tl::unexpected<Error> ended() {
  return fail(ErrorCode::kCancelled, "the block cache is being closed");
}

Result<void> check_answer(const CachedObject& object,
                          const RangeBytes& answer,
                          uint64_t expected_bytes) {
  if (answer.info.size_bytes != object.size_bytes ||
      (!answer.info.etag.empty() && answer.info.etag != object.etag)) {
    return fail(ErrorCode::kConflict,
                fmt::format("{}: {} bytes with ETag {}, not {} bytes with ETag {}",
                            object.key,
                            answer.info.size_bytes,
                            answer.info.etag,
                            object.size_bytes,
                            object.etag));
  }
  if (answer.bytes.size() != expected_bytes) {
    return fail(
        ErrorCode::kIo,
        fmt::format(
            "{}: {} bytes came instead of {}", object.key, answer.bytes.size(), expected_bytes));
  }
  return {};
}

}  // namespace

BlockFetcher::BlockFetcher(BlockShelf& shelf,
                           Leases& leases,
                           const BlockCacheOptions& options,
                           std::function<void()> upkeep)
    : shelf_(shelf),
      leases_(leases),
      upkeep_(std::move(upkeep)),
      max_fetches_(std::max(1, options.max_fetches)),
      max_ahead_fetches_(std::max(1, options.max_fetches - options.max_fetches / 4)),
      max_fetch_bytes_(options.max_fetch_bytes),
      ahead_by_(options.direct_read_ahead ? BlockFiles::By::kDirect : BlockFiles::By::kPageCache),
      workers_(kWorkers),
      watcher_([this] { watch(); }) {}

BlockFetcher::~BlockFetcher() {
  std::vector<Flight*> given_up;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (auto& [key, flight] : flights_) {
      if (flight->state != State::kQueued && flight->state != State::kElsewhere) continue;
      flight->state = State::kFetching;
      given_up.push_back(flight.get());
    }
    now_.clear();
    ahead_.clear();
    elsewhere_.clear();
  }
  watch_.notify_all();
  for (Flight* flight : given_up) land(flight, ended());
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return flights_.empty() && fetches_ == 0; });
  }
  watcher_.join();
}

void BlockFetcher::read(const std::shared_ptr<Remote>& remote,
                        const std::shared_ptr<const CachedObject>& object,
                        uint64_t first,
                        uint64_t blocks,
                        Urgency urgency,
                        const OnBlock& done) {
  // As many as one GET may bring are looked up together, so that they can become one.
  const uint64_t together = std::max<uint64_t>(1, max_fetch_bytes_ / object->block_bytes);
  const bool here = urgency == Urgency::kNow && blocks <= kLookedUpAtOnce;
  for (uint64_t at = 0; at < blocks; at += together) {
    Run run{{}, urgency};
    for (uint64_t i = at; i < std::min(blocks, at + together); ++i) {
      if (Flight* flight = join(remote, object, first + i, urgency, done))
        run.flights.push_back(flight);
    }
    if (run.flights.empty()) continue;
    if (here) {
      look(run);
    } else {
      workers_.post([this, run = std::move(run)] { look(run); }, urgency == Urgency::kNow);
    }
  }
}

// The new flight, or null where there is one already, or none will start any more.
BlockFetcher::Flight* BlockFetcher::join(const std::shared_ptr<Remote>& remote,
                                         const std::shared_ptr<const CachedObject>& object,
                                         uint64_t index,
                                         Urgency urgency,
                                         const OnBlock& done) {
  std::unique_lock lock(mutex_);
  if (ending_) {
    lock.unlock();
    done(index, ended());
    return nullptr;
  }
  const Key key = key_of(*object, index);
  auto& flight = flights_[key];
  if (flight == nullptr) {
    flight = std::make_unique<Flight>();
    flight->key = key;
    flight->remote = remote;
    flight->object = object;
    flight->urgency = urgency;
    flight->waiting.push_back(done);
    return flight.get();
  }
  counts_.waits.fetch_add(1);
  flight->waiting.push_back(done);
  if (urgency == Urgency::kNow && flight->urgency == Urgency::kAhead) {
    raise(*flight);
    lock.unlock();
    pump();
  }
  return nullptr;
}

// What was read ahead is wanted now. mutex_ is held; to be followed by pump().
void BlockFetcher::raise(Flight& flight) {
  flight.urgency = Urgency::kNow;
  if (flight.state == State::kQueued) now_.push_back(flight.key);
  if (flight.state != State::kPutTogether) return;
  const PartRange in_block = parts_of_block(*flight.object, flight.key.index);
  for (uint64_t part = in_block.first; part < in_block.first + in_block.count; ++part) {
    const auto found = flights_.find(key_of(*flight.parts, part));
    if (found != flights_.end() && found->second->urgency == Urgency::kAhead) raise(*found->second);
  }
}

void BlockFetcher::look(const Run& run) {
  Run missing{{}, run.urgency};
  const auto by = run.urgency == Urgency::kAhead ? ahead_by_ : BlockFiles::By::kPageCache;
  for (Flight* flight : run.flights) {
    const CachedObject& object = *flight->object;
    auto found = shelf_.find(object, flight->key.index, 0, object.block_bytes, by);
    if (found) {
      if (!flight->waited) counts_.hits.fetch_add(1);
      land(flight, std::move(*found));
    } else {
      missing.flights.push_back(flight);
    }
  }
  if (missing.flights.empty()) return;
  take_those_with_parts(missing);
  if (!missing.flights.empty()) queue(missing);
}

void BlockFetcher::queue(const Run& run) {
  bool closing = false;
  {
    const std::lock_guard lock(mutex_);
    closing = ending_;
    for (Flight* flight : run.flights) {
      flight->state = closing ? State::kFetching : State::kQueued;
      if (closing) continue;
      (flight->urgency == Urgency::kNow ? now_ : ahead_).push_back(flight->key);
    }
  }
  if (closing) {
    for (Flight* flight : run.flights) land(flight, ended());
  }
  pump();
}

void BlockFetcher::pump() {
  for (;;) {
    Run run;
    {
      const std::lock_guard lock(mutex_);
      if (fetches_ >= max_fetches_) return;
      run = next_run(Urgency::kNow);
      if (run.flights.empty() && ahead_fetches_ < max_ahead_fetches_) {
        run = next_run(Urgency::kAhead);
        if (!run.flights.empty()) ++ahead_fetches_;
      }
      if (run.flights.empty()) return;
      ++fetches_;
    }
    workers_.post([this, run] { start(run); }, run.urgency == Urgency::kNow);
  }
}

// From the front of the queue, with those that follow it in its object. mutex_ is held.
BlockFetcher::Run BlockFetcher::next_run(Urgency urgency) {
  auto& queue = urgency == Urgency::kNow ? now_ : ahead_;
  Run run{{}, urgency};
  const auto take = [&](const Key& key) {
    const auto found = flights_.find(key);
    // A key may stand in a queue after its flight has gone on by way of the other.
    if (found == flights_.end() || found->second->state != State::kQueued ||
        found->second->urgency != urgency) {
      return false;
    }
    found->second->state = State::kFetching;
    run.flights.push_back(found->second.get());
    return true;
  };
  while (!queue.empty() && run.flights.empty()) {
    take(queue.front());
    queue.pop_front();
  }
  if (run.flights.empty()) return run;
  const CachedObject& object = *run.flights.front()->object;
  Key next = run.flights.front()->key;
  uint64_t bytes = object.data_bytes(next.index);
  while (++next.index < object.blocks()) {
    bytes += object.data_bytes(next.index);
    if (bytes > max_fetch_bytes_ || !take(next)) break;
  }
  return run;
}

// The first of the run that are to be fetched, side by side, become one GET; what follows a gap is
// queued again.
void BlockFetcher::start(const Run& run) {
  Run fetched{{}, run.urgency};
  Run rest{{}, run.urgency};
  for (Flight* flight : run.flights) {
    const bool gap =
        !fetched.flights.empty() && fetched.flights.back()->key.index + 1 != flight->key.index;
    if (gap) {
      rest.flights.push_back(flight);
    } else if (begin(flight) == Begun::kToFetch) {
      fetched.flights.push_back(flight);
    }
  }
  if (!rest.flights.empty()) queue(rest);
  if (fetched.flights.empty()) {
    end_fetch(run.urgency);
  } else {
    get(fetched);
  }
}

BlockFetcher::Begun BlockFetcher::begin(Flight* flight) {
  const CachedObject& object = *flight->object;
  const Leases::Taken taken = leases_.take(object.block_id(flight->key.index));
  if (taken == Leases::Taken::kHeldByOther) {
    if (!flight->waited) counts_.waits.fetch_add(1);
    std::unique_lock lock(mutex_);
    if (ending_) {
      lock.unlock();
      land(flight, ended());
      return Begun::kElsewhere;
    }
    flight->waited = true;
    flight->state = State::kElsewhere;
    elsewhere_.push_back(flight);
    watch_.notify_all();
    return Begun::kElsewhere;
  }
  flight->leased = taken == Leases::Taken::kYes;
  // Whoever held the lease between the look at the shelf and now has kept the block.
  auto found = shelf_.find(object, flight->key.index, 0, object.block_bytes);
  if (!found) {
    // Or who jumped about in the block meanwhile has kept parts of it.
    const auto parts = parts_there(object, flight->key.index);
    if (!parts) return Begun::kToFetch;
    give_back_lease(flight);
    put_together(flight, parts);
    return Begun::kByParts;
  }
  if (!flight->waited) counts_.hits.fetch_add(1);
  give_back_lease(flight);
  land(flight, std::move(*found));
  return Begun::kFound;
}

void BlockFetcher::watch() {
  std::chrono::milliseconds pause = kShortestPause;
  auto upkeep_at = std::chrono::steady_clock::now() + kUpkeepEvery;
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (elsewhere_.empty()) {
      watch_.wait_until(lock, upkeep_at, [this] { return ending_ || !elsewhere_.empty(); });
      pause = kShortestPause;
    } else {
      watch_.wait_for(lock, pause, [this] { return ending_; });
      pause = std::min(kLongestPause, pause * 2);
    }
    if (ending_) return;
    lock.unlock();
    if (const auto flights = no_longer_elsewhere(); !flights.empty()) {
      pause = kShortestPause;
      for (Flight* flight : flights) {
        workers_.post([this, flight] { look({{flight}, Urgency::kNow}); }, true);
      }
    }
    if (std::chrono::steady_clock::now() >= upkeep_at) {
      upkeep_at = std::chrono::steady_clock::now() + kUpkeepEvery;
      upkeep_();
    }
    lock.lock();
  }
}

std::vector<BlockFetcher::Flight*> BlockFetcher::no_longer_elsewhere() {
  std::vector<uint64_t> waiting;
  {
    const std::lock_guard lock(mutex_);
    for (const Flight* flight : elsewhere_) {
      waiting.push_back(flight->object->block_id(flight->key.index));
    }
  }
  std::unordered_set<uint64_t> come;
  for (const uint64_t id : waiting) {
    if (shelf_.files().is_there(id) || !leases_.is_held(id)) come.insert(id);
  }
  std::vector<Flight*> flights;
  const std::lock_guard lock(mutex_);
  std::erase_if(elsewhere_, [&](Flight* flight) {
    if (!come.contains(flight->object->block_id(flight->key.index))) return false;
    flight->state = State::kLooking;
    flights.push_back(flight);
    return true;
  });
  return flights;
}

void BlockFetcher::get(const Run& run) {
  const CachedObject& object = *run.flights.front()->object;
  RangeRequest request;
  request.key = object.key;
  request.offset = run.flights.front()->key.index * object.block_bytes;
  for (const Flight* flight : run.flights)
    request.size_bytes += object.data_bytes(flight->key.index);
  request.if_match = object.etag;
  // The answer may end the flight, the remote's last owner, while it is still being asked.
  const auto remote = run.flights.front()->remote;
  remote->read_async(std::move(request), [this, run](Result<RangeBytes> answer) {
    // On the remote's thread, which must not wait for a disk.
    auto shared = std::make_shared<Result<RangeBytes>>(std::move(answer));
    workers_.post([this, run, shared] { finish(run, std::move(*shared)); }, true);
  });
}

void BlockFetcher::finish(const Run& run, Result<RangeBytes> answer) {
  // Each flight has its own, and the first one ends before the others.
  const auto held = run.flights.front()->object;
  const CachedObject& object = *held;
  if (answer) {
    uint64_t expected_bytes = 0;
    for (const Flight* flight : run.flights) expected_bytes += object.data_bytes(flight->key.index);
    if (auto right = check_answer(object, *answer, expected_bytes); !right) {
      answer = tl::unexpected(std::move(right).error());
    }
  }
  if (!answer) {
    for (Flight* flight : run.flights) {
      give_back_lease(flight);
      land(flight, tl::unexpected(answer.error()));
    }
    end_fetch(run.urgency);
    return;
  }
  counts_.misses.fetch_add(run.flights.size());
  counts_.fetched_bytes.fetch_add(answer->bytes.size());
  const auto whole = std::make_shared<const Blob>(answer->bytes);
  uint64_t at = 0;
  for (Flight* flight : run.flights) {
    const uint64_t size = object.data_bytes(flight->key.index);
    const Blob block(whole, whole->bytes().subspan(at, size));
    shelf_.keep(object, flight->key.index, block.bytes());
    give_back_lease(flight);
    land(flight, block);
    at += size;
  }
  end_fetch(run.urgency);
}

void BlockFetcher::end_fetch(Urgency urgency) {
  {
    const std::lock_guard lock(mutex_);
    --fetches_;
    if (urgency == Urgency::kAhead) --ahead_fetches_;
    changed_.notify_all();
  }
  pump();
}

void BlockFetcher::give_back_lease(Flight* flight) {
  if (flight->leased) leases_.give_back(flight->object->block_id(flight->key.index));
  flight->leased = false;
}

void BlockFetcher::land(Flight* flight, const Result<Blob>& result) {
  std::unique_ptr<Flight> landed;
  {
    const std::lock_guard lock(mutex_);
    const auto found = flights_.find(flight->key);
    landed = std::move(found->second);
    flights_.erase(found);
    changed_.notify_all();
  }
  for (const OnBlock& done : landed->waiting) done(landed->key.index, result);
}

}  // namespace atl::storage
