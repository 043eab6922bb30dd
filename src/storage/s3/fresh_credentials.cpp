#include "storage/s3/fresh_credentials.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace atl::storage {

namespace {

// The provider is asked again after so long, in the background: it knows when to renew what it has.
constexpr std::chrono::seconds kAskAgainAfter{60};
// A request may be under way for so long before the server looks at its token.
constexpr std::chrono::seconds kLeastRest{30};

}  // namespace

// Shared with the thread, which may outlive the rest.
struct FreshCredentials::State {
  std::shared_ptr<CredentialsProvider> provider;
  Now now;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Found> found;
  std::chrono::system_clock::time_point found_at;
  bool is_wanted = false;  // the thread is to ask
  bool is_asking = false;
  bool ending = false;
  std::vector<Then> waiting;

  // With the mutex held.
  bool is_good() const {
    if (!found) return false;
    return !*found || !(*found)->expires || *(*found)->expires - now() > kLeastRest;
  }
};

FreshCredentials::FreshCredentials(std::shared_ptr<CredentialsProvider> provider, Now now)
    : state_(std::make_shared<State>()) {
  state_->provider = std::move(provider);
  state_->now = std::move(now);
  thread_ = std::thread([state = state_] { run(state); });
}

FreshCredentials::~FreshCredentials() {
  std::vector<Then> waiting;
  bool is_asking = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    is_asking = state_->is_asking;
    waiting.swap(state_->waiting);
  }
  state_->changed.notify_all();
  for (const Then& then : waiting) then(fail(ErrorCode::kCancelled, "cancelled"));
  // The provider may be waiting for the very thread that runs this, or be what runs it.
  if (is_asking) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void FreshCredentials::get(Then then) {
  Found found;
  {
    const std::lock_guard lock(state_->mutex);
    const bool good = state_->is_good();
    if (!good || state_->now() - state_->found_at > kAskAgainAfter) {
      state_->is_wanted = true;
      state_->changed.notify_all();
    }
    if (!good) {
      state_->waiting.push_back(std::move(then));
      return;
    }
    found = *state_->found;
  }
  then(std::move(found));
}

void FreshCredentials::refused(const Found& credentials) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->found && *state_->found == credentials) state_->found.reset();
  }
  if (credentials) state_->provider->refused(*credentials);
}

void FreshCredentials::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->is_wanted || state->ending; });
    if (state->ending) return;
    state->is_wanted = false;
    state->is_asking = true;
    lock.unlock();
    const Result<Found> result = state->provider->get();
    lock.lock();
    // The owner is gone, and with it perhaps what its clock looks at.
    if (state->ending) return;
    if (result) {
      state->found = *result;
      state->found_at = state->now();
    }
    std::vector<Then> waiting;
    waiting.swap(state->waiting);
    lock.unlock();
    for (const Then& then : waiting) then(result);
    waiting.clear();
    lock.lock();
    state->is_asking = false;
  }
}

}  // namespace atl::storage
