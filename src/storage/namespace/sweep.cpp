#include "storage/namespace/sweep.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "storage/namespace/key_order.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {
namespace {

constexpr int kPagesPerBound = 16;
// In one directory, before another listing begins behind it: so what is listed twice stays a fraction.
constexpr int kPagesBeforeSplit = 4;
// Pages of an import are dated in steps, so that neighbours make one row of `ranges`.
constexpr int64_t kDateStep_ns = 5'000'000'000;

// The directory that both keys lie in: "a/b/".
std::string common_directory(std::string_view a, std::string_view b) {
  const auto [end, ignored] = std::ranges::mismatch(a, b);
  const auto common = a.substr(0, static_cast<size_t>(end - a.begin()));
  return std::string(common.substr(0, common.rfind('/') + 1));  // npos + 1 is 0
}

// Only what lies in [first, past); whether that is anything.
bool cut(ListedPage& page, const std::string& first, const std::string& past) {
  if (page.first < first) page.first = first;
  if (page.past > past) page.past = past;
  std::erase_if(page.objects, [&](const ObjectInfo& info) {
    return info.key < page.first || info.key >= page.past;
  });
  return page.first < page.past;
}

}  // namespace

Sweep::Sweep(
    Remote& remote, NamesDatabase& database, Clock clock, SweepRequest request, OnPage on_page)
    : remote_(remote),
      database_(database),
      clock_(std::move(clock)),
      request_(std::move(request)),
      on_page_(std::move(on_page)) {}

Result<ImportCounts> Sweep::run(std::stop_token stop) {
  stop_ = std::move(stop);
  begin_ns_ = clock_();
  ATOLL_TRY(plan());
  {
    std::vector<std::jthread> threads;
    for (int i = 1; i < request_.listings; ++i) threads.emplace_back([this] { work(); });
    work();
  }
  if (error_) return tl::unexpected(*error_);
  if (request_.learn_bounds) {
    ATOLL_TRY(database_.write([this](NamesConnection& c) -> Result<void> {
      ATOLL_TRY(c.remove_bounds.run().finish());
      for (const auto& bound : bounds_) {
        ATOLL_TRY(c.put_bound.run(std::string_view(bound)).finish());
      }
      return {};
    }));
  }
  return counts_;
}

Result<void> Sweep::plan() {
  const std::string past = prefix_end(request_.prefix);
  std::vector<std::string> starts{request_.prefix};
  ATOLL_TRY(database_.read([&](NamesConnection& c) -> Result<void> {
    starts.resize(1);
    auto rows = c.list_bounds.run(std::string_view(request_.prefix), std::string_view(past));
    while (ATOLL_TRY(rows.next())) starts.emplace_back(rows.bytes(0));
    return {};
  }));
  for (size_t i = 0; i < starts.size(); ++i) {
    Stretch stretch;
    stretch.at = starts[i];
    stretch.past = i + 1 < starts.size() ? starts[i + 1] : past;
    stretches_.push_back(std::move(stretch));
  }
  return {};
}

void Sweep::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto stretch = stretches_.end();
    changed_.wait(lock, [&] {
      if (error_) return true;
      stretch = take_one();
      return stretch != stretches_.end() || working_ == 0;
    });
    if (error_ || stretch == stretches_.end()) break;
    ++working_;
    lock.unlock();
    auto result = list(stretch);
    lock.lock();
    --working_;
    stretches_.erase(stretch);
    if (!result && !error_) error_ = std::move(result.error());
    changed_.notify_all();
  }
  changed_.notify_all();
}

// Where several are free, those of one run of neighbours should go to one listing: so the one in the
// middle of the longest free run.
Sweep::Stretches::iterator Sweep::take_one() {
  auto best = stretches_.end();
  size_t best_length = 0;
  for (auto at = stretches_.begin(); at != stretches_.end();) {
    if (at->taken) {
      ++at;
      continue;
    }
    const auto begin = at;
    size_t length = 0;
    for (; at != stretches_.end() && !at->taken; ++at) ++length;
    if (length > best_length) {
      best_length = length;
      // The first of all begins where it is; a run behind a listing under way is cut in the middle, as
      // that listing goes on with its first half.
      const size_t middle = begin == stretches_.begin() ? 0 : length / 2;
      best = std::next(begin, static_cast<ptrdiff_t>(middle));
    }
  }
  if (best == stretches_.end() && split_one()) return take_one();
  if (best != stretches_.end()) best->taken = true;
  return best;
}

bool Sweep::split_one() {
  for (auto at = stretches_.begin(); at != stretches_.end(); ++at) {
    if (!at->taken || at->pages_in_directory < kPagesBeforeSplit || at->directory.empty()) continue;
    std::string middle = prefix_end(at->directory);
    if (middle <= at->at || middle >= at->past) continue;
    Stretch rest;
    rest.at = middle;
    rest.past = std::exchange(at->past, std::move(middle));
    stretches_.insert(std::next(at), std::move(rest));
    return true;
  }
  return false;
}

// How far there is more for this listing, which has come to `at`: in its own stretch or in the next.
std::optional<std::string> Sweep::goes_on(Stretches::iterator stretch, const std::string& at) {
  const std::lock_guard lock(mutex_);
  if (error_) return std::nullopt;
  stretch->at = at;
  while (at >= stretch->past) {
    const auto next = std::next(stretch);
    // What lies between, if anything, another listing has done.
    if (next == stretches_.end() || next->taken || next->at != stretch->past) return std::nullopt;
    stretch->past = next->past;
    stretches_.erase(next);
  }
  return stretch->past;
}

void Sweep::learn(Stretches::iterator stretch, const ListedPage& page) {
  if (page.objects.empty()) return;
  const std::string& first = page.objects.front().key;
  const std::string& last = page.objects.back().key;
  const std::lock_guard lock(mutex_);
  if (stretch->pages_in_directory == 0 || !first.starts_with(stretch->directory) ||
      !last.starts_with(stretch->directory)) {
    stretch->directory = common_directory(first, last);
    stretch->pages_in_directory = 0;
  }
  if (++stretch->pages_in_directory == kPagesBeforeSplit) changed_.notify_one();
  if (++stretch->pages_since_bound == kPagesPerBound) {
    stretch->pages_since_bound = 0;
    bounds_.push_back(page.past);
  }
}

Result<void> Sweep::list(Stretches::iterator stretch) {
  std::string first;
  {
    const std::lock_guard lock(mutex_);
    first = stretch->at;
    if (first > request_.prefix) bounds_.push_back(first);
  }
  std::optional<Applying> applying;
  std::string at = first;
  for (auto past = goes_on(stretch, at); past; past = goes_on(stretch, at)) {
    if (stop_.stop_requested()) return fail(ErrorCode::kCancelled, "the import was stopped");
    std::optional<KeyRange> gap;
    ATOLL_TRY(database_.read([&](NamesConnection& c) -> Result<void> {
      gap = ATOLL_TRY(first_gap(c, at, *past, request_.since_ns));
      return {};
    }));
    if (!gap) {
      at = *past;
      continue;
    }
    auto page = ATOLL_TRY(list_from(remote_, request_.prefix, gap->first, clock_()));
    count_request();
    learn(stretch, page);
    at = page.past;
    // Where this is the stretch's end, the rest is another listing's.
    past = goes_on(stretch, at);
    if (!cut(page, first, past ? *past : end_of(stretch))) continue;
    if (applying) ATOLL_TRY(finish(*applying));
    applying = apply_later(std::move(page));
  }
  if (applying) return finish(*applying);
  return {};
}

void Sweep::count_request() {
  const std::lock_guard lock(counts_mutex_);
  ++counts_.requests;
}

std::string Sweep::end_of(Stretches::iterator stretch) {
  const std::lock_guard lock(mutex_);
  return stretch->past;
}

Sweep::Applying Sweep::apply_later(ListedPage page) {
  auto applied = std::make_shared<AppliedPage>();
  const int64_t step = std::max<int64_t>(0, page.asked_ns - begin_ns_) / kDateStep_ns;
  const int64_t date_ns = begin_ns_ + step * kDateStep_ns;
  // Nothing of the sweep's own: after an error it may be gone before the writer comes to this.
  auto work = [applied,
               date_ns,
               policy = request_.policy,
               page = std::make_shared<const ListedPage>(std::move(page))](
                  NamesConnection& c) -> Result<void> {
    *applied = ATOLL_TRY(apply_page(c, *page, policy, date_ns));
    return {};
  };
  return {database_.write_later(std::move(work)), std::move(applied)};
}

Result<void> Sweep::finish(Applying& applying) {
  ATOLL_TRY(applying.done.get());
  const ImportCounts& page = applying.applied->counts;
  const std::lock_guard lock(counts_mutex_);
  counts_.listed += page.listed;
  counts_.created += page.created;
  counts_.changed += page.changed;
  counts_.deleted += page.deleted;
  if (on_page_) on_page_(counts_, applying.applied->changed);
  return {};
}

}  // namespace atl::storage
