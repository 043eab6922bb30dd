#include "storage/namespace/sweep.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "storage/namespace/key_guess.h"
#include "storage/namespace/key_order.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {
namespace {

constexpr int kPagesPerBound = 16;
// Of one listing, before another one begins behind it: so what is listed twice stays a fraction.
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

Sweep::Sweep(Remote& remote,
             NamesDatabase& database,
             Clock clock,
             ListingClaims& claims,
             SweepRequest request,
             OnPage on_page)
    : remote_(remote),
      database_(database),
      clock_(std::move(clock)),
      claims_(claims),
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

// Behind a directory first; else where the keys of a stretch differ earliest, for that is probably the longest.
bool Sweep::split_one() {
  auto best = stretches_.end();
  std::optional<std::string> best_guess;
  for (auto at = stretches_.begin(); at != stretches_.end(); ++at) {
    if (!at->taken) continue;
    if (at->pages_in_directory >= kPagesBeforeSplit && split_at(at, prefix_end(at->directory))) {
      return true;
    }
    if (at->pages_since_split < kPagesBeforeSplit) continue;
    auto middle = guess(*at);
    if (middle && (!best_guess || middle->size() < best_guess->size())) {
      best = at;
      best_guess = std::move(middle);
    }
  }
  if (!best_guess) return false;
  const bool is_ahead = best->past >= prefix_end(best->directory);
  if (!split_at(best, std::move(*best_guess))) return false;
  // What is behind goes on with what was learnt, in longer steps.
  const auto rest = std::next(best);
  rest->directory = best->directory;
  rest->page_place = best->page_place;
  rest->steps = best->steps + (is_ahead ? 1 : 0);
  best->pages_since_split = 0;
  return true;
}

bool Sweep::split_at(Stretches::iterator stretch, std::string middle) {
  if (middle <= stretch->at || middle >= stretch->past) return false;
  Stretch rest;
  rest.at = middle;
  rest.past = std::exchange(stretch->past, std::move(middle));
  stretches_.insert(std::next(stretch), std::move(rest));
  return true;
}

// Where nothing behind it in its directory is being listed, steps that get longer find how far its keys go.
std::optional<std::string> Sweep::guess(const Stretch& stretch) {
  const std::string past = prefix_end(stretch.directory);
  const size_t page_place = stretch.page_place;
  if (page_place == 0) return std::nullopt;
  if (stretch.past < past) {
    auto between = key_between(stretch.at, stretch.past, page_place);
    // The page that is under way probably reaches to there.
    const bool is_next_page = between && between->size() == page_place + 1 &&
                              between == key_ahead(stretch.at, page_place);
    return is_next_page ? std::nullopt : between;
  }
  const size_t first_place = stretch.directory.size();
  size_t place = page_place - std::min(stretch.steps, page_place);
  for (place = std::max(place, first_place);; --place) {
    auto ahead = key_ahead(stretch.at, place);
    if (ahead && *ahead < past) return ahead;
    if (place == first_place) return std::nullopt;
  }
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

// A page from `first` to `past`, whoever has listed it.
void Sweep::learn(Stretches::iterator stretch, std::string_view first, std::string_view past) {
  const std::lock_guard lock(mutex_);
  stretch->at = past;
  if (stretch->pages_in_directory == 0) {
    stretch->directory = common_directory(first.empty() ? past : first, past);
  } else if (!past.starts_with(stretch->directory)) {  // one that both lie in
    stretch->directory = common_directory(stretch->directory, past);
  }
  if (first.starts_with(stretch->directory)) {
    stretch->page_place = std::max(stretch->page_place, first_difference(first, past));
  }
  ++stretch->pages_in_directory;
  if (++stretch->pages_since_split >= kPagesBeforeSplit) changed_.notify_one();
  if (++stretch->pages_since_bound == kPagesPerBound) {
    stretch->pages_since_bound = 0;
    bounds_.emplace_back(past);
  }
}

Result<void> Sweep::list(Stretches::iterator stretch) {
  std::optional<Applying> applying;
  auto listed = list_pages(stretch, applying);
  // Also after an error: what came before it is in the database.
  if (applying) {
    auto finished = finish(std::move(*applying));
    if (listed) return finished;
  }
  return listed;
}

// The last page's application is left in `applying`.
Result<void> Sweep::list_pages(Stretches::iterator stretch, std::optional<Applying>& applying) {
  std::string first;
  {
    const std::lock_guard lock(mutex_);
    first = stretch->at;
    if (first > request_.prefix) bounds_.push_back(first);
  }
  std::string at = first;
  std::string waited_for;
  for (auto past = goes_on(stretch, at); past; past = goes_on(stretch, at)) {
    if (stop_.stop_requested()) return fail(ErrorCode::kCancelled, "the import was stopped");
    std::optional<KeyRange> gap;
    ATOLL_TRY(database_.read([&](NamesConnection& c) -> Result<void> {
      gap = ATOLL_TRY(first_gap(c, at, *past, request_.since_ns));
      return {};
    }));
    // What others have listed tells as much as what we have.
    const std::string& known_to = gap ? gap->first : *past;
    if (!waited_for.empty() && waited_for < known_to) learn(stretch, waited_for, known_to);
    waited_for.clear();
    at = known_to;
    past = goes_on(stretch, at);
    if (!gap || !past) continue;
    auto claim = ATOLL_TRY(claim_unlisted(claims_, database_, gap->first, request_.since_ns));
    if (!claim) {
      if (applying) ATOLL_TRY(finish(std::move(*std::exchange(applying, std::nullopt))));
      claims_.wait_for(gap->first);
      waited_for = gap->first;
      continue;
    }
    auto page = ATOLL_TRY(list_from(remote_, request_.prefix, gap->first, clock_()));
    count_request();
    if (!page.objects.empty()) learn(stretch, gap->first, page.past);
    at = page.past;
    // Where this is the stretch's end, the rest is another listing's.
    past = goes_on(stretch, at);
    if (!cut(page, first, past ? *past : end_of(stretch))) continue;
    if (applying) ATOLL_TRY(finish(std::move(*std::exchange(applying, std::nullopt))));
    applying.emplace(apply_later(std::move(page), std::move(*claim)));
  }
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

Sweep::Applying Sweep::apply_later(ListedPage page, ListingClaims::Held claim) {
  auto applied = std::make_shared<AppliedPage>();
  const int64_t step = std::max<int64_t>(0, page.asked_ns - begin_ns_) / kDateStep_ns;
  const int64_t date_ns = begin_ns_ + step * kDateStep_ns;
  // Nothing of the sweep's own: after an error it may be gone before the writer comes to this. The claim goes with it,
  // when the page is in the database.
  auto work = [applied,
               claim = std::make_shared<const ListingClaims::Held>(std::move(claim)),
               date_ns,
               policy = request_.policy,
               page = std::make_shared<const ListedPage>(std::move(page))](
                  NamesConnection& c) -> Result<void> {
    *applied = ATOLL_TRY(apply_page(c, *page, policy, date_ns));
    return {};
  };
  return {database_.write_later(std::move(work)), std::move(applied)};
}

Result<void> Sweep::finish(Applying applying) {
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
