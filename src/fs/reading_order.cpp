#include "fs/reading_order.h"

#include <algorithm>
#include <numeric>

namespace atl::fs {
namespace {

// So far apart may two files be that still follow each other.
constexpr size_t kSlack = 8;
// Doubled so often, the number ahead has reached its most.
constexpr size_t kMostDoublings = 6;
static_assert(ReadingOrder::kMostAhead == size_t{1} << kMostDoublings);

}  // namespace

ReadingOrder::ReadingOrder(std::vector<File> files) : files_(std::move(files)) {
  Run& by_number = runs_[1];
  by_number.order.resize(files_.size());
  by_number.place.resize(files_.size());
  std::iota(by_number.order.begin(), by_number.order.end(), 0U);
  std::ranges::sort(by_number.order, {}, [&](uint32_t i) { return files_[i].number; });
  for (uint32_t p = 0; p < by_number.order.size(); ++p) by_number.place[by_number.order[p]] = p;
}

// False where the file only came a little late.
bool ReadingOrder::advance(Run& run, size_t place) const {
  if (begun_ && place <= run.at && place + kSlack >= run.at) return false;
  if (begun_ && place > run.at && place <= run.at + kSlack) {
    ++run.kept;
  } else {
    run.kept = begun_ || place > kSlack ? 0 : run.from_before;
    run.asked = 0;
  }
  run.at = place;
  return run.kept > 0;
}

void ReadingOrder::ask(Run& run, const Fetch& fetch) {
  const size_t ahead = size_t{1} << std::min(run.kept, kMostDoublings);
  const size_t begin = std::max(run.at + 1, run.asked);
  const size_t end = std::min(run.at + 1 + ahead, files_.size());
  // Half of them at a time, so that they are asked for together.
  if (begin >= end || (end - begin < ahead / 2 && end != files_.size())) return;
  run.asked = begin;
  while (run.asked < end && fetch(files_[run.index_at(run.asked)])) ++run.asked;
}

bool ReadingOrder::was_read_to_the_end(const Run& run) const {
  return run.kept > 0 && run.at + kSlack >= files_.size();
}

bool ReadingOrder::is_kept() const {
  return was_read_to_the_end(runs_[0]) || was_read_to_the_end(runs_[1]);
}

void ReadingOrder::go_on_from(const ReadingOrder& before) {
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = before.runs_[i];
    if (before.was_read_to_the_end(run)) runs_[i].from_before = run.kept;
  }
}

bool ReadingOrder::read(std::string_view name, const Fetch& fetch) {
  const auto found = std::ranges::lower_bound(
      files_, name, {}, [](const File& file) -> std::string_view { return file.name; });
  if (found == files_.end() || found->name != name) return false;
  const auto index = static_cast<size_t>(found - files_.begin());
  std::array<bool, 2> goes_on{};
  for (size_t i = 0; i < runs_.size(); ++i)
    goes_on[i] = advance(runs_[i], runs_[i].place_of(index));
  begun_ = true;
  // Two neighbours in the one order may be so in the other by chance.
  const size_t longer = runs_[1].kept > runs_[0].kept ? 1 : 0;
  if (goes_on[longer]) ask(runs_[longer], fetch);
  return true;
}

}  // namespace atl::fs
