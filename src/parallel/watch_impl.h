// What a watch is made of, for the two files that it is written in: watch.cpp has its threads, hearing.cpp what
// a rank hears when something broke.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <type_traits>
#include <utility>

#include "parallel/watch.h"

namespace atl::parallel {

struct Watch::State {
  using Clock = std::chrono::steady_clock;

  struct Answers {
    std::optional<Error> failure;          // of another rank itself
    std::vector<int> silent;               // nobody waits for them any more
    std::vector<int> awaited;              // the others of those without an answer
    std::optional<std::string> timed_out;  // what
  };

  State(c10::intrusive_ptr<c10d::Store> given_store,
        WatchOptions given,
        std::function<void()> given_cut)
      : store(std::move(given_store)),
        options(std::move(given)),
        cut(std::move(given_cut)),
        unheard(others()) {}

  const c10::intrusive_ptr<c10d::Store> store;  // the thread's alone
  const WatchOptions options;
  const std::function<void()> cut;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable woken;
  bool stopping = false;
  bool thread_ended = false;
  bool cut_off = false;
  bool abandoned = false;
  std::function<void()> cut_handler;
  std::string lost_store;  // why the store is gone; "": it is there
  uint64_t beat = 0;
  uint64_t entered = 0;
  std::string name = "the start";
  std::optional<Error> failure;
  std::vector<int> lost;
  std::deque<std::function<void()>> errands;  // for the thread, at the store
  Clock::time_point contact = Clock::now();   // with the store, last

  // Of the thread alone; the last three on rank 0.
  bool answered = false;
  std::vector<int> unheard;        // who has not answered; without this rank
  std::vector<std::string> heard;  // progress of each rank
  std::vector<Clock::time_point> heard_at;
  std::vector<int> silent;

  // What `work` returns, done by the thread, next; nullopt: the store is gone, or its machine does not answer.
  // The thread may be at it even then, so it captures nothing but this and values.
  template <typename Work>
  auto at_store(Work work) {
    auto result = std::make_shared<std::optional<std::invoke_result_t<Work>>>();
    std::unique_lock lock(mutex);
    errands.push_back([this, result, work = std::move(work)] {
      auto value = work();
      const std::lock_guard done(mutex);
      *result = std::move(value);
    });
    woken.notify_all();
    woken.wait(lock, [&] { return result->has_value() || !lost_store.empty(); });
    return std::move(*result);
  }

  int size() const { return static_cast<int>(options.hosts.size()); }
  std::vector<int> others() const {
    std::vector<int> ranks;
    for (int rank = 0; rank < size(); ++rank) {
      if (rank != options.rank) ranks.push_back(rank);
    }
    return ranks;
  }
  std::string who(int rank) const {
    return fmt::format("rank {} on {}", rank, options.hosts[static_cast<size_t>(rank)]);
  }
  std::string progress_text() {
    const std::lock_guard lock(mutex);
    return fmt::format("{} {} {}", beat, entered, name);
  }
  void cut_connections() {
    std::function<void()> handler;
    {
      const std::lock_guard lock(mutex);
      if (std::exchange(cut_off, true)) return;
      handler = cut_handler;
    }
    cut();
    woken.notify_all();
    if (handler) handler();
  }
  // Of the thread alone.
  void beat_once();
  void look_for_silence();
  void answer();
  Answers look_for_answers();
  std::optional<Error> failure_of_another();
  Error of_timeout(const std::string& where, const std::string& what);
  bool all_left(const std::vector<int>& ranks);
  // Of the rank's.
  Error of_lost(std::vector<int> ranks, std::string_view where);
  Error hear(std::string_view where, const std::string& what, bool timed_out);
};

}  // namespace atl::parallel
