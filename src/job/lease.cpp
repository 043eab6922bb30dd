#include "job/lease.h"

#include <algorithm>
#include <utility>

namespace atl::job {

bool LeaseView::vacant(AgentTime now, std::chrono::milliseconds expiry) const {
  if (!known || held) return false;
  return term == 0 || (leader && leader->resigned) || now - changed >= expiry;
}

bool LeaseView::leads(AgentTime now, std::chrono::milliseconds expiry) const {
  return held && now - renewed < expiry * 3 / 4;
}

Lease::Lease(storage::SharedRecords& records, LeaseRecord self, Now now)
    : records_(records), self_(std::move(self)), now_(std::move(now)) {}

void Lease::note(const Result<void>& result) {
  view_.error = result ? std::nullopt : std::optional(result.error());
}

void Lease::look() { note(look_for_leader()); }
void Lease::take() { note(create_next()); }
void Lease::renew() { note(write_renewal()); }

Result<uint64_t> Lease::newest_term() {
  uint64_t newest = 0;
  for (const std::string& key : ATOLL_TRY(records_.keys(kLeasePrefix))) {
    newest = std::max(newest, term_of(key).value_or(0));
  }
  return newest;
}

Result<void> Lease::look_for_leader() {
  const uint64_t term = ATOLL_TRY(newest_term());
  std::string text;
  if (term > 0) text = ATOLL_TRY(records_.read(lease_key(term))).value_or("");
  view_.held = false;
  if (view_.known && term == view_.term && text == seen_) return {};
  view_.known = true;
  view_.term = term;
  view_.changed = now_();
  auto leader = parse_lease_record(text);
  view_.leader = leader ? std::optional(*std::move(leader)) : std::nullopt;
  seen_ = std::move(text);
  return {};
}

Result<void> Lease::create_next() {
  const AgentTime begun = now_();
  const uint64_t term = view_.term + 1;
  self_.beat = 0;
  self_.resigned = false;
  bool created = ATOLL_TRY(records_.create(lease_key(term), self_.to_json()));
  if (!created) {
    // Perhaps our own, and the answer to the first attempt was lost.
    const auto there = ATOLL_TRY(records_.read(lease_key(term)));
    created = there && *there == self_.to_json();
  }
  // Who was suspended between looking and creating may have made a term that others have left behind and removed.
  const uint64_t newest = ATOLL_TRY(newest_term());
  if (!created || newest > term) return look_for_leader();
  view_.term = term;
  view_.leader = self_;
  view_.changed = begun;
  view_.held = true;
  view_.renewed = begun;
  seen_.clear();
  // The term before stays, for those who read it just now.
  for (const std::string& key : ATOLL_TRY(records_.keys(kLeasePrefix))) {
    const auto old = term_of(key);
    if (old && *old + 1 < term) ATOLL_TRY(records_.remove(key));
  }
  return {};
}

Result<void> Lease::write_renewal() {
  const AgentTime begun = now_();
  ++self_.beat;
  ATOLL_TRY(records_.replace(lease_key(view_.term), self_.to_json()));
  if (ATOLL_TRY(newest_term()) > view_.term) {
    // Somebody took us for dead.
    view_.held = false;
    return look_for_leader();
  }
  view_.renewed = begun;
  return {};
}

void Lease::take_if_vacant(std::chrono::milliseconds expiry) {
  look();
  if (!view_.error && view_.vacant(now_(), expiry)) take();
}

void Lease::resign() {
  if (!view_.held) return;
  view_.held = false;
  self_.resigned = true;
  ++self_.beat;
  note(records_.replace(lease_key(view_.term), self_.to_json()));
}

LeaseKeeper::LeaseKeeper(std::unique_ptr<storage::SharedRecords> records,
                         LeaseRecord self,
                         std::chrono::milliseconds expiry,
                         std::function<void()> changed)
    : records_(std::move(records)),
      expiry_(expiry),
      changed_(std::move(changed)),
      lease_(*records_, std::move(self)),
      thread_([this] { run(); }) {}

LeaseKeeper::~LeaseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

LeaseView LeaseKeeper::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void LeaseKeeper::take() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kTake;
  }
  woken_.notify_all();
}

void LeaseKeeper::resign() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kResign;
    view_.held = false;  // from now on, whatever the place says of it
  }
  woken_.notify_all();
}

void LeaseKeeper::rest() {
  const std::lock_guard lock(mutex_);
  resting_ = true;
}

void LeaseKeeper::watch() {
  {
    const std::lock_guard lock(mutex_);
    resting_ = false;
    view_.known = false;
    wish_ = Wish::kLook;
  }
  woken_.notify_all();
}

void LeaseKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const Wish wish = std::exchange(wish_, Wish::kNone);
    if (wish == Wish::kNone && resting_) {
      woken_.wait(lock, [&] { return ending_ || wish_ != Wish::kNone; });
      continue;
    }
    lock.unlock();
    if (wish == Wish::kResign) lease_.resign();
    if (lease_.view().held) {
      lease_.renew();
    } else if (wish == Wish::kTake) {
      lease_.take_if_vacant(expiry_);
    } else {
      lease_.look();
    }
    lock.lock();
    // A wish that came meanwhile is not undone by what was seen before it, but for that to take: whoever wishes it goes on
    // wishing until it sees what became of it.
    if (wish_ == Wish::kNone || wish_ == Wish::kTake) {
      view_ = lease_.view();
      lock.unlock();
      changed_();
      lock.lock();
    }
    woken_.wait_for(lock, expiry_ / 6, [&] { return ending_ || wish_ != Wish::kNone; });
  }
  lock.unlock();
  lease_.resign();
}

}  // namespace atl::job
