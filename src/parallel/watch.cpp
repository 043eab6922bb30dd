#include "parallel/watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "parallel/rank_text.h"
#include "parallel/watch_impl.h"

namespace atl::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kBeat = std::chrono::milliseconds(500);
constexpr auto kAnswerWait = std::chrono::milliseconds(20);
// For the thread's last operation.
constexpr auto kEnding = std::chrono::milliseconds(5000);

}  // namespace

// --- The thread ---

void Watch::State::beat_once() {
  {
    const std::lock_guard lock(mutex);
    ++beat;
  }
  store->set(rank_key("progress", options.rank), progress_text());
  if (!answered && store->check({"trouble"})) {
    answer();
    cut_connections();
  }
  if (options.rank == 0) look_for_silence();
}

// Once, so that all ranks judge by the same answers.
void Watch::State::answer() {
  if (std::exchange(answered, true)) return;
  store->set(rank_key("answer", options.rank), progress_text());
}

// A host that is cut off or down closes no connection. Rank 0 is not watched so: without it there is no
// store, which every rank notices by itself.
void Watch::State::look_for_silence() {
  const auto now = Clock::now();
  heard.resize(options.hosts.size());
  heard_at.resize(options.hosts.size(), now);
  for (int rank = 1; rank < size(); ++rank) {
    const auto i = static_cast<size_t>(rank);
    if (now - heard_at[i] < options.silence / 4 || std::ranges::count(silent, rank) > 0) continue;
    std::string text = store->check({rank_key("progress", rank)})
                           ? store->get_to_str(rank_key("progress", rank))
                           : std::string();
    if (text != heard[i]) {
      heard[i] = std::move(text);
      heard_at[i] = now;
    } else if (now - heard_at[i] > options.silence && !store->check({rank_key("left", rank)})) {
      silent.push_back(rank);
      store->set("silent", fmt::format("{}", fmt::join(silent, " ")));
      store->set("trouble", "");
    }
  }
}

void Watch::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  auto next_beat = Clock::now();
  while (!state->stopping) {
    std::function<void()> errand;
    if (!state->errands.empty()) {
      errand = std::move(state->errands.front());
      state->errands.pop_front();
    }
    lock.unlock();
    try {
      if (errand) errand();
      if (Clock::now() >= next_beat) {
        state->beat_once();
        next_beat = Clock::now() + kBeat;
      }
    } catch (const std::exception& error) {
      {
        const std::lock_guard again(state->mutex);
        state->lost_store = first_line(error.what());
      }
      state->cut_connections();
      lock.lock();
      break;
    }
    lock.lock();
    state->contact = Clock::now();
    state->woken.notify_all();
    state->woken.wait_until(
        lock, next_beat, [&] { return state->stopping || !state->errands.empty(); });
  }
  state->thread_ended = true;
  state->woken.notify_all();
}

void Watch::guard(State& state) {
  std::unique_lock lock(state.mutex);
  while (!state.woken.wait_for(lock, kBeat, [&] { return state.stopping; })) {
    if (Clock::now() - state.contact <= state.options.silence || state.thread_ended) continue;
    state.lost_store = "no answer";
    state.woken.notify_all();
    lock.unlock();
    state.cut_connections();
    return;
  }
}

Watch::Watch(c10::intrusive_ptr<c10d::Store> store, WatchOptions options, std::function<void()> cut)
    : state_(std::make_shared<State>(std::move(store), std::move(options), std::move(cut))),
      thread_([state = state_] { run(state); }),
      guard_([&state = *state_] { guard(state); }) {}

Watch::~Watch() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->woken.notify_all();
  // It is at the store for a moment only, where that answers.
  const auto patience = state_->lost_store.empty() ? kEnding : std::chrono::milliseconds(100);
  const bool ended = state_->woken.wait_for(lock, patience, [&] { return state_->thread_ended; });
  lock.unlock();
  guard_.join();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

// --- The rank's own ---

void Watch::entering(std::string_view name) {
  const std::lock_guard lock(state_->mutex);
  ++state_->entered;
  state_->name = name;
}

void Watch::wait(c10d::Work& work) {
  const auto future = work.getFuture();
  future->addCallback([state = state_](c10::ivalue::Future&) {
    const std::lock_guard lock(state->mutex);
    state->woken.notify_all();
  });
  {
    std::unique_lock lock(state_->mutex);
    state_->woken.wait(lock, [&] { return future->completed() || state_->cut_off; });
  }
  // What fails because of the cut does so at once.
  const auto deadline = Clock::now() + kAnswerWait;
  while (!future->completed() && Clock::now() < deadline) std::this_thread::yield();
  if (!future->completed()) {
    abandon();
    throw std::runtime_error("the connections were cut");
  }
  work.wait();
}

void Watch::on_cut(const std::function<void()>& handler) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->cut_handler = handler;
    if (!state_->cut_off) return;
  }
  if (handler) handler();
}

bool Watch::cut_off() const {
  const std::lock_guard lock(state_->mutex);
  return state_->cut_off;
}

bool Watch::abandoned() const {
  const std::lock_guard lock(state_->mutex);
  return state_->abandoned;
}

void Watch::abandon() {
  const std::lock_guard lock(state_->mutex);
  state_->abandoned = true;
}

std::optional<Error> Watch::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

}  // namespace atl::parallel
