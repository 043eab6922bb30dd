#include "storage/s3/refreshing_credentials.h"

#include <fmt/format.h>

#include <algorithm>
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

}  // namespace

RefreshingCredentials::RefreshingCredentials(Fetch fetch, Clock clock, Background background)
    : fetch_(std::move(fetch)), clock_(std::move(clock)), background_(std::move(background)) {}

RefreshingCredentials::~RefreshingCredentials() {
  if (thread_.joinable()) thread_.join();
}

Result<std::shared_ptr<const Credentials>> RefreshingCredentials::get() {
  Lock lock(mutex_);
  const Time now = clock_();
  const bool due = now >= next_fetch_;
  if (holds(now, margin_)) {
    if (due && !fetching_) start_in_background();
    return current_;
  }
  if (fetching_) {
    fetched_.wait(lock, [this, seen = fetches_] { return fetches_ != seen; });
  } else if (due || !failed_) {
    fetch_unlocked(lock);
  }
  // Old ones that hold for some seconds yet are better than none.
  if (holds(clock_(), seconds(0))) return current_;
  return tl::unexpected(error_);
}

void RefreshingCredentials::refused(const Credentials& credentials) {
  const Lock lock(mutex_);
  // Others may have come meanwhile.
  if (current_ == nullptr || current_->session_token != credentials.session_token ||
      current_->access_key_id != credentials.access_key_id) {
    return;
  }
  current_ = nullptr;
  next_fetch_ = Time{};
}

bool RefreshingCredentials::holds(Time now, seconds margin) const {
  return current_ != nullptr && (!current_->expires || now + margin < *current_->expires);
}

void RefreshingCredentials::start_in_background() {
  fetching_ = true;
  auto task = [this] {
    Lock lock(mutex_);
    fetch_unlocked(lock);
  };
  const bool started = background_ ? background_(std::move(task)) : start_thread(std::move(task));
  if (!started) {
    fetching_ = false;
    next_fetch_ = clock_() + kTryAgainWithout;
  }
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

void RefreshingCredentials::fetch_unlocked(Lock& lock) {
  fetching_ = true;
  lock.unlock();
  Result<FetchedCredentials> fetched = fetch_();
  lock.lock();
  keep(std::move(fetched));
  fetching_ = false;
  ++fetches_;
  fetched_.notify_all();
}

void RefreshingCredentials::keep(Result<FetchedCredentials> fetched) {
  const Time now = clock_();
  if (fetched && fetched->keys.expires && *fetched->keys.expires <= now) {
    fetched = fail(ErrorCode::kPermission,
                   "the credentials that were given have ended already",
                   "is the machine's clock right?");
  }
  failed_ = !fetched.has_value();
  if (fetched) {
    keep_fresh(*std::move(fetched), now);
  } else {
    error_ = std::move(fetched).error();
    next_fetch_ = now + kTryAgainWithout;
    if (holds(now, seconds(0))) {
      next_fetch_ = now + kTryAgain;
      if (current_->expires) next_fetch_ = std::min(next_fetch_, *current_->expires);
    }
  }
}

void RefreshingCredentials::keep_fresh(FetchedCredentials fetched, Time now) {
  next_fetch_ = Time::max();
  margin_ = seconds(0);
  if (fetched.keys.expires) {
    const auto lifetime = std::chrono::duration_cast<seconds>(*fetched.keys.expires - now);
    const seconds before = std::min(kRenewBefore, lifetime / 4);
    margin_ = std::min(kWaitBefore, before / 2);
    // Where the source gives the old ones again, the rest of their time is what is left to halve.
    next_fetch_ = std::max(*fetched.keys.expires - before, now + seconds(1));
  } else if (fetched.look_again) {
    next_fetch_ = now + *fetched.look_again;
  }
  current_ = std::make_shared<const Credentials>(std::move(fetched.keys));
}

}  // namespace atl::storage
