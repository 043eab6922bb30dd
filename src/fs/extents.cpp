#include "fs/extents.h"

#include <algorithm>
#include <cstring>

namespace atl::fs {

void Extents::add(Range range) {
  if (range.begin >= range.end) return;
  auto at = ranges_.upper_bound(range.begin);
  if (at != ranges_.begin() && std::prev(at)->second >= range.begin) --at;
  while (at != ranges_.end() && at->first <= range.end) {
    range.begin = std::min(range.begin, at->first);
    range.end = std::max(range.end, at->second);
    at = ranges_.erase(at);
  }
  ranges_.emplace(range.begin, range.end);
}

void Extents::clip(uint64_t size) {
  ranges_.erase(ranges_.lower_bound(size), ranges_.end());
  if (!ranges_.empty()) {
    auto last = std::prev(ranges_.end());
    last->second = std::min(last->second, size);
  }
}

bool Extents::covers(Range range) const {
  if (range.begin >= range.end) return true;
  auto at = ranges_.upper_bound(range.begin);
  if (at == ranges_.begin()) return false;
  return std::prev(at)->second >= range.end;
}

uint64_t Extents::bytes() const {
  uint64_t sum = 0;
  for (const auto& [begin, end] : ranges_) sum += end - begin;
  return sum;
}

std::vector<Extents::Piece> Extents::pieces(Range range) const {
  std::vector<Piece> pieces;
  auto at = ranges_.upper_bound(range.begin);
  if (at != ranges_.begin() && std::prev(at)->second > range.begin) --at;
  uint64_t position = range.begin;
  for (; position < range.end && at != ranges_.end() && at->first < range.end; ++at) {
    if (at->first > position) pieces.push_back({{position, at->first}, false});
    const Range here{std::max(position, at->first), std::min(range.end, at->second)};
    pieces.push_back({here, true});
    position = here.end;
  }
  if (position < range.end) pieces.push_back({{position, range.end}, false});
  return pieces;
}

std::string Extents::text() const {
  std::string text;
  text.reserve(ranges_.size() * 2 * sizeof(uint64_t));
  for (const auto& [begin, end] : ranges_) {
    text.append(reinterpret_cast<const char*>(&begin), sizeof begin);
    text.append(reinterpret_cast<const char*>(&end), sizeof end);
  }
  return text;
}

std::optional<Extents> Extents::parse(std::string_view text) {
  constexpr size_t kPair = 2 * sizeof(uint64_t);
  if (text.size() % kPair != 0) return std::nullopt;
  Extents extents;
  uint64_t last = 0;
  for (size_t at = 0; at < text.size(); at += kPair) {
    Range range;
    std::memcpy(&range.begin, text.data() + at, sizeof range.begin);
    std::memcpy(&range.end, text.data() + at + sizeof range.begin, sizeof range.end);
    if (range.begin >= range.end || (at > 0 && range.begin <= last)) return std::nullopt;
    extents.ranges_.emplace_hint(extents.ranges_.end(), range.begin, range.end);
    last = range.end;
  }
  return extents;
}

}  // namespace atl::fs
