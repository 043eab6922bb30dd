// What a rank hears of the others when something broke, and what it tells them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "parallel/rank_text.h"
#include "parallel/watch_impl.h"

namespace atl::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(20);
// Of rank 0 beyond its own hearing, for the others to end theirs.
constexpr auto kLeaving = std::chrono::seconds(1);
constexpr size_t kNamedRanks = 16;
constexpr const char* kLostHint =
    "see that rank's own output and its machine's log (out of memory?); then start all ranks again";

struct Progress {
  uint64_t entered = 0;
  std::string name;
};

Progress progress_of(std::string_view text) {
  const size_t first = text.find(' ');
  const size_t second = first == text.npos ? first : text.find(' ', first + 1);
  if (second == text.npos) return {};
  return {std::strtoull(text.data() + first + 1, nullptr, 10),
          std::string(text.substr(second + 1))};
}

}  // namespace

std::optional<Error> Watch::State::failure_of_another() {
  if (!store->check({"failed"})) return std::nullopt;
  const auto lines = split_lines(store->get_to_str("failed"));
  if (lines.size() < 4) return std::nullopt;
  const int rank = std::atoi(lines[0].c_str());
  if (rank < 0 || rank >= size() || rank == options.rank) return std::nullopt;
  return Error{static_cast<ErrorCode>(std::atoi(lines[1].c_str())),
               fmt::format("{} failed: {}", who(rank), lines[2]),
               lines[3],
               {}};
}

// The answers first: the reasons of all who have given one are there then.
Watch::State::Answers Watch::State::look_for_answers() {
  std::erase_if(unheard, [&](int rank) { return store->check({rank_key("answer", rank)}); });
  Answers answers{.failure = failure_of_another(), .awaited = unheard};
  if (store->check({"silent"})) {
    std::istringstream ranks(store->get_to_str("silent"));
    for (int rank = 0; ranks >> rank;) {
      if (rank == options.rank) continue;
      answers.silent.push_back(rank);
      std::erase(answers.awaited, rank);
    }
  }
  if (store->check({"timed_out"})) answers.timed_out = store->get_to_str("timed_out");
  return answers;
}

Error Watch::State::of_lost(std::vector<int> ranks, std::string_view where) {
  std::vector<std::string> names;
  for (const int rank : ranks) {
    if (names.size() == kNamedRanks) {
      names.emplace_back("…");
      break;
    }
    names.push_back(who(rank));
  }
  const std::lock_guard lock(mutex);
  lost = std::move(ranks);
  return {ErrorCode::kIo,
          fmt::format("{} {} lost in {}: killed, stopped or cut off",
                      fmt::join(names, ", "),
                      lost.size() == 1 ? "was" : "were",
                      where),
          kLostHint,
          {}};
}

// Everyone lives and has answered, but somebody has not come to the collective.
Error Watch::State::of_timeout(const std::string& where, const std::string& what) {
  std::vector<Progress> of;  // by rank
  uint64_t furthest = 0;
  for (int rank = 0; rank < size(); ++rank) {
    of.push_back(progress_of(store->get_to_str(rank_key("answer", rank))));
    furthest = std::max(furthest, of.back().entered);
  }
  std::vector<std::string> behind;
  for (int rank = 0; rank < size(); ++rank) {
    const Progress& progress = of[static_cast<size_t>(rank)];
    if (progress.entered >= furthest || behind.size() == kNamedRanks) continue;
    behind.push_back(fmt::format("{}, which is still at {}", who(rank), progress.name));
  }
  const std::string missing =
      behind.empty() ? what : fmt::format("it was not joined by {}", fmt::join(behind, "; "));
  return {ErrorCode::kIo,
          fmt::format("{} timed out: {}", where, missing),
          "see what keeps that rank so long; all ranks wait for the slowest",
          {}};
}

Error Watch::State::hear(std::string_view where, const std::string& what, bool timed_out) {
  const auto deadline = Clock::now() + options.hearing;
  const auto said = at_store([this, name = timed_out ? std::string(where) : std::string()] {
    if (!name.empty()) store->set("timed_out", name);
    store->set("trouble", "");
    answer();
    return true;
  });
  cut_connections();
  while (said) {
    auto answers = at_store([this] { return look_for_answers(); });
    if (!answers) break;
    if (answers->failure) return *std::move(answers->failure);
    if (!answers->awaited.empty() && Clock::now() < deadline) {
      std::this_thread::sleep_for(kLook);
      continue;
    }
    std::vector<int> gone = std::move(answers->awaited);
    gone.insert(gone.end(), answers->silent.begin(), answers->silent.end());
    std::ranges::sort(gone);
    if (!gone.empty()) return of_lost(std::move(gone), where);
    if (answers->timed_out) {
      auto verdict =
          at_store([this, in = *answers->timed_out, what] { return of_timeout(in, what); });
      if (!verdict) break;
      return *std::move(verdict);
    }
    return {ErrorCode::kIo,
            fmt::format("{} failed although all ranks are there: {}", where, what),
            "see whether the network between the machines is steady",
            {}};
  }
  return of_lost({0}, where);
}

Error Watch::explain(std::string_view name, std::string_view what, bool timed_out) {
  State& state = *state_;
  if (auto known = failure()) return *std::move(known);
  Error error = state.hear(name, first_line(what), timed_out);
  const std::lock_guard lock(state.mutex);
  if (!state.failure) state.failure = std::move(error);
  return *state.failure;
}

void Watch::report(const Error& error) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    if (state.failure) return;
    state.failure = error;
  }
  Error message = error;
  message.hint.clear();
  const std::string text = join_lines({std::to_string(state.options.rank),
                                       std::to_string(static_cast<int>(error.code)),
                                       message.to_string(),
                                       error.hint});
  // Where rank 0 is gone the others notice that by themselves.
  state.at_store([&state, text] {
    state.store->compareSet("failed", std::string(), text);
    state.store->set("trouble", "");
    return true;
  });
  state.cut_connections();
}

bool Watch::State::all_left(const std::vector<int>& ranks) {
  return std::ranges::all_of(ranks,
                             [&](int rank) { return store->check({rank_key("left", rank)}); });
}

void Watch::leave(bool wait) {
  State& state = *state_;
  std::vector<int> awaited = state.others();
  {
    const std::lock_guard lock(state.mutex);
    std::erase_if(awaited, [&](int rank) { return std::ranges::count(state.lost, rank) > 0; });
  }
  const auto deadline = Clock::now() + state.options.hearing + kLeaving;
  state.at_store([&state] {
    state.store->set(rank_key("left", state.options.rank), "");
    return true;
  });
  while (wait && Clock::now() < deadline) {
    const auto left = state.at_store([&state, awaited] { return state.all_left(awaited); });
    if (!left || *left) return;
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace atl::parallel
