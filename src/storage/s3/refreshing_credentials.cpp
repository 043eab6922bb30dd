#include "storage/s3/refreshing_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>

namespace atl::storage {
namespace {

using std::chrono::seconds;

// A quarter of an hour before their end, as AWS's own programs do; for short-lived ones the last quarter of their time.
constexpr seconds kRenewBefore{900};
// A request signed now is under way for less than that.
constexpr seconds kWaitBefore{60};
// After a failure: while the old ones hold, and where there are none.
constexpr seconds kTryAgain{60};
constexpr seconds kTryAgainWithout{1};

// A refusal of what a source has given again and again is no reason to ask it each time.
constexpr seconds kDistrustAgain{60};

using Time = std::chrono::system_clock::time_point;
using Lock = std::unique_lock<std::mutex>;

}  // namespace

// Shared with the thread, which may outlive the rest. The mutex is held in all members.
struct RefreshingCredentials::State {
  State(Fetch fetch, Clock clock) : fetch(std::move(fetch)), clock(std::move(clock)) {}

  const Fetch fetch;
  const Clock clock;
  std::mutex mutex;
  std::condition_variable fetched;
  std::shared_ptr<const Credentials> current;
  Error error;          // of the last fetch, where that failed
  bool failed = false;  // the last fetch failed
  bool fetching = false;
  bool distrusted = false;  // a server has refused `current`
  uint64_t fetches = 0;     // finished ones
  Time next_fetch{};        // not before
  Time next_distrust{};     // not before
  seconds margin{};         // before the end, get() waits for new ones

  bool holds(Time now, seconds before_end) const {
    return current != nullptr && (!current->expires || now + before_end < *current->expires);
  }
  void fetch_unlocked(Lock& lock);
  void keep(Result<FetchedCredentials> answer);
  void keep_fresh(FetchedCredentials answer, Time now);
};

RefreshingCredentials::RefreshingCredentials(Fetch fetch, Clock clock, Background background)
    : state_(std::make_shared<State>(std::move(fetch), std::move(clock))),
      background_(background ? std::move(background) : [this](std::function<void()> task) {
        return start_thread(std::move(task));
      }) {}

RefreshingCredentials::~RefreshingCredentials() {
  const Lock lock(state_->mutex);
  if (!thread_.joinable()) return;
  if (state_->fetching) {
    thread_.detach();
  } else {
    thread_.join();  // it has let go of the mutex
  }
}

Result<std::shared_ptr<const Credentials>> RefreshingCredentials::get() {
  State& state = *state_;
  Lock lock(state.mutex);
  const Time now = state.clock();
  const bool due = now >= state.next_fetch;
  if (!state.distrusted && state.holds(now, state.margin)) {
    if (due && !state.fetching) {
      state.fetching = true;
      const bool started = background_([shared = state_] {
        Lock task_lock(shared->mutex);
        shared->fetch_unlocked(task_lock);
      });
      if (!started) {
        state.fetching = false;
        state.next_fetch = now + kTryAgainWithout;
      }
    }
    return state.current;
  }
  if (state.fetching) {
    state.fetched.wait(lock, [&state, seen = state.fetches] { return state.fetches != seen; });
  } else if (due || state.distrusted || !state.failed) {
    state.fetch_unlocked(lock);
  }
  // Old ones that hold for some seconds yet are better than none.
  if (state.holds(state.clock(), seconds(0))) return state.current;
  return tl::unexpected(state.error);
}

void RefreshingCredentials::refused(const Credentials& credentials) {
  State& state = *state_;
  const Lock lock(state.mutex);
  const Time now = state.clock();
  if (state.current == nullptr || now < state.next_distrust ||
      state.current->access_key_id != credentials.access_key_id ||
      state.current->session_token != credentials.session_token) {
    return;
  }
  state.distrusted = true;
  state.next_distrust = now + kDistrustAgain;
}

bool RefreshingCredentials::start_thread(std::function<void()> task) {
  // The one before has done its work, and let go of the mutex that we hold.
  if (thread_.joinable()) thread_.join();
  try {
    thread_ = std::thread(std::move(task));
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void RefreshingCredentials::State::fetch_unlocked(Lock& lock) {
  fetching = true;
  lock.unlock();
  Result<FetchedCredentials> answer = fetch();
  lock.lock();
  keep(std::move(answer));
  fetching = false;
  distrusted = false;
  ++fetches;
  fetched.notify_all();
}

void RefreshingCredentials::State::keep(Result<FetchedCredentials> answer) {
  const Time now = clock();
  if (answer && answer->keys.expires && *answer->keys.expires <= now) {
    answer = fail(ErrorCode::kPermission,
                  "the credentials that were given have ended already",
                  "is the machine's clock right?");
  }
  failed = !answer.has_value();
  if (answer) {
    keep_fresh(*std::move(answer), now);
    return;
  }
  error = std::move(answer).error();
  next_fetch = now + kTryAgainWithout;
  if (holds(now, seconds(0))) {
    next_fetch = now + kTryAgain;
    if (current->expires) next_fetch = std::min(next_fetch, *current->expires);
  }
}

void RefreshingCredentials::State::keep_fresh(FetchedCredentials answer, Time now) {
  next_fetch = Time::max();
  margin = seconds(0);
  if (answer.keys.expires) {
    const auto lifetime = std::chrono::duration_cast<seconds>(*answer.keys.expires - now);
    const seconds before = std::min(kRenewBefore, lifetime / 4);
    margin = std::min(kWaitBefore, before / 2);
    // Where the source gives the old ones again, the rest of their time is what is left to divide.
    next_fetch = std::max(*answer.keys.expires - before, now + seconds(1));
  } else if (answer.look_again) {
    next_fetch = now + *answer.look_again;
  }
  current = std::make_shared<const Credentials>(std::move(answer.keys));
}

}  // namespace atl::storage
