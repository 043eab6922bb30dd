#include "storage/namespace/page_apply.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "storage/namespace/key_order.h"
#include "storage/namespace/key_walk.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
// What was heard of may carry another idea of the time than the bucket's own, by so much.
constexpr int64_t kClockSlack = 5 * kSecond;

// One part of a page that nothing later is known of.
class SliceApply {
 public:
  SliceApply(NamesConnection& c, const ListedPage& page, const ImportPolicy& policy, KeyRange slice)
      : c_(c), page_(page), policy_(policy), slice_(std::move(slice)) {}

  Result<void> run(AppliedPage& applied);

 private:
  Result<void> find_out();
  Result<bool> was_listed(std::string_view key);
  Result<void> take_new(const ObjectInfo& info, AppliedPage& applied);
  Result<void> take_known(const EntryRow& row, const ObjectInfo& info, AppliedPage& applied);
  Result<void> take_gone(std::string_view key, AppliedPage& applied);

  NamesConnection& c_;
  const ListedPage& page_;
  const ImportPolicy& policy_;
  const KeyRange slice_;
  enum class Listed { kAll, kNothing, kSome } listed_ = Listed::kNothing;
  std::unordered_set<std::string> heard_later_;
};

Result<void> SliceApply::find_out() {
  const auto gap = ATOLL_TRY(first_gap(c_, slice_.first, slice_.past, kEver));
  if (!gap) {
    listed_ = Listed::kAll;
  } else if (gap->first != slice_.first || gap->past != slice_.past) {
    listed_ = Listed::kSome;
  }
  auto rows = c_.list_heard.run(slice_.first, slice_.past, page_.asked_ns);
  while (ATOLL_TRY(rows.next())) heard_later_.emplace(rows.bytes(0));
  return {};
}

Result<bool> SliceApply::was_listed(std::string_view key) {
  if (listed_ != Listed::kSome) return listed_ == Listed::kAll;
  return !ATOLL_TRY(first_gap(c_, key, key_after(key), kEver));
}

Result<void> SliceApply::take_new(const ObjectInfo& info, AppliedPage& applied) {
  const bool listed = ATOLL_TRY(was_listed(info.key));
  if (listed && !policy_.new_objects) return {};
  ATOLL_TRY(put_object(c_, info, std::nullopt, false));
  ++applied.counts.created;
  if (listed) applied.changed.push_back(info.key);
  return {};
}

Result<void> SliceApply::take_known(const EntryRow& row,
                                    const ObjectInfo& info,
                                    AppliedPage& applied) {
  const auto difference = ATOLL_TRY(compare(c_, row, info));
  if (difference.is_quiet) {
    ATOLL_TRY(c_.settle_heard.run(std::string_view(info.key)).finish());
    return put_object(c_, info, row.metadata, true);
  }
  if (!difference.is_other || !policy_.changed_objects) return {};
  ATOLL_TRY(put_object(c_, info, std::nullopt, true));
  ++applied.counts.changed;
  applied.changed.push_back(info.key);
  return {};
}

Result<void> SliceApply::take_gone(std::string_view key, AppliedPage& applied) {
  if (!policy_.deleted_objects || heard_later_.contains(std::string(key))) return {};
  ATOLL_TRY(remove_object(c_, key));
  ++applied.counts.deleted;
  applied.changed.emplace_back(key);
  return {};
}

Result<void> SliceApply::run(AppliedPage& applied) {
  ATOLL_TRY(find_out());
  auto object = std::ranges::lower_bound(page_.objects, slice_.first, {}, &ObjectInfo::key);
  const auto end = std::ranges::lower_bound(page_.objects, slice_.past, {}, &ObjectInfo::key);
  applied.counts.listed += static_cast<uint64_t>(end - object);

  // Both are in byte order: one pass over them. Only a row that was passed is changed (KeyWalk).
  KeyWalk walk(c_, slice_.first);
  auto known = ATOLL_TRY(walk.next());
  const auto in_slice = [&] { return known && known->key < slice_.past; };
  while (object != end || in_slice()) {
    const bool has_known = in_slice();
    if (has_known && (object == end || known->key < object->key)) {
      ATOLL_TRY(take_gone(known->key, applied));
      known = ATOLL_TRY(walk.next());
    } else if (has_known && known->key == object->key) {
      if (!heard_later_.contains(object->key)) {
        ATOLL_TRY(take_known(known->row, *object, applied));
      }
      known = ATOLL_TRY(walk.next());
      ++object;
    } else {
      if (!heard_later_.contains(object->key)) ATOLL_TRY(take_new(*object, applied));
      ++object;
    }
  }
  return {};
}

// One page of what lies behind the key `after`; empty: from the prefix on.
Result<ListedPage> list_after(Remote& remote,
                              std::string_view prefix,
                              const std::string& after,
                              int64_t now_ns) {
  ListedPage page;
  page.asked_ns = now_ns;
  auto listed = ATOLL_TRY(page_after(remote, prefix, after));
  page.first = after.empty() ? std::string(prefix) : key_after(after);
  page.objects = std::move(listed.objects);
  // The prefix itself as a key of no name: what a bucket's "folder" leaves below its own prefix.
  std::erase_if(page.objects, [](const ObjectInfo& info) { return info.key.empty(); });
  std::string_view last = after;
  for (const ObjectInfo& info : page.objects) {
    if (info.key <= last || !std::string_view(info.key).starts_with(prefix)) {
      return fail(ErrorCode::kIo,
                  fmt::format("{}: the server's listing is not in byte order", remote.uri()),
                  "this server cannot be listed in parts; is it a directory bucket?");
    }
    last = info.key;
  }
  if (listed.next.empty()) {
    page.past = prefix_end(prefix);
  } else if (page.objects.empty()) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: a page of the listing is empty but not the last", remote.uri()));
  } else {
    page.past = key_after(last);
  }
  return page;
}

}  // namespace

Result<Difference> compare(NamesConnection& c, const EntryRow& row, const ObjectInfo& info) {
  if (row.etag != info.etag || row.size_bytes != info.size_bytes) return Difference{true, false};
  const int64_t modified = to_ns(info.modified);
  if (whole_seconds(row.modified_ns) == whole_seconds(modified)) return Difference{};
  // The same content, written again: the metadata may be others. Unless the time was only guessed.
  auto rows = c.find_heard.run(std::string_view(info.key));
  const bool guessed = ATOLL_TRY(rows.next()) && rows.integer(2) != 0 &&
                       std::abs(row.modified_ns - modified) <= kClockSlack;
  return Difference{!guessed, guessed};
}

Result<ListedPage> list_from(Remote& remote,
                             std::string_view prefix,
                             std::string_view first,
                             int64_t now_ns) {
  std::string after = first <= prefix ? std::string() : just_before(first);
  if (after < prefix) after.clear();
  for (;;) {
    auto page = ATOLL_TRY(list_after(remote, prefix, after, now_ns));
    if (page.past > first || page.objects.empty()) return page;
    // Between the two lie keys whose bytes are no text, a whole page of them.
    after = page.objects.back().key;
  }
}

Result<AppliedPage> apply_page(NamesConnection& c,
                               const ListedPage& page,
                               const ImportPolicy& policy,
                               int64_t known_ns) {
  AppliedPage applied;
  std::string at = page.first;
  while (auto slice = ATOLL_TRY(first_gap(c, at, page.past, page.asked_ns))) {
    ATOLL_TRY(SliceApply(c, page, policy, *slice).run(applied));
    at = slice->past;
    ATOLL_TRY(cover(c, std::move(*slice), known_ns));
  }
  return applied;
}

}  // namespace atl::storage
