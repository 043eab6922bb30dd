#include "storage/namespace/known_ranges.h"

#include <utility>

#include "storage/namespace/key_order.h"

namespace atl::storage {
namespace {

struct Listed {
  std::string first;
  std::string past;
  int64_t at = 0;
};

Result<std::optional<Listed>> take(SqliteRows rows) {
  if (!ATOLL_TRY(rows.next())) return std::nullopt;
  return Listed{std::string(rows.bytes(0)), std::string(rows.bytes(1)), rows.integer(2)};
}

Result<void> put(NamesConnection& c, const Listed& range) {
  return c.put_range.run(range.first, range.past, range.at).finish();
}

}  // namespace

Result<std::optional<KeyRange>> first_gap(NamesConnection& c,
                                          std::string_view first,
                                          std::string_view past,
                                          int64_t since_ns) {
  std::string at(first);
  while (at < past) {
    const auto range = ATOLL_TRY(take(c.find_range.run(at)));
    if (!range || range->past <= at || range->at < since_ns) break;
    at = range->past;
  }
  if (at >= past) return std::nullopt;
  KeyRange gap{at, std::string(past)};
  for (;;) {
    const auto next = ATOLL_TRY(take(c.next_range.run(at)));
    if (!next || next->first >= past) return gap;
    if (next->at >= since_ns) {
      gap.past = next->first;
      return gap;
    }
    at = next->first;
  }
}

Result<bool> is_known(NamesConnection& c, std::string_view key, int64_t since_ns) {
  {
    auto rows = c.find_range.run(key);
    if (ATOLL_TRY(rows.next()) && rows.bytes(1) > key && rows.integer(2) >= since_ns) return true;
  }
  auto rows = c.find_heard.run(key);
  return ATOLL_TRY(rows.next()) && rows.integer(0) >= since_ns;
}

Result<void> cover(NamesConnection& c, KeyRange range, int64_t listed_ns) {
  Listed now{std::move(range.first), std::move(range.past), listed_ns};
  const auto before = ATOLL_TRY(take(c.find_range.run(now.first)));
  if (before && before->past >= now.first) {
    if (before->at == now.at) {
      now.first = before->first;
      if (before->past > now.past) now.past = before->past;
    } else if (before->past > now.first) {
      if (before->first < now.first) ATOLL_TRY(put(c, {before->first, now.first, before->at}));
      if (before->past > now.past) ATOLL_TRY(put(c, {now.past, before->past, before->at}));
    }
  }
  for (;;) {
    const auto next = ATOLL_TRY(take(c.next_range.run(now.first)));
    if (!next || next->first > now.past || (next->first == now.past && next->at != now.at)) break;
    ATOLL_TRY(c.remove_range.run(next->first).finish());
    if (next->past <= now.past) continue;
    if (next->at == now.at) {
      now.past = next->past;
    } else {
      ATOLL_TRY(put(c, {now.past, next->past, next->at}));
      break;
    }
  }
  return put(c, now);
}

}  // namespace atl::storage
