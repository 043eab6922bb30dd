// BucketNames: what is heard of single objects.
#include <algorithm>
#include <utility>

#include "storage/namespace/bucket_names.h"
#include "storage/namespace/entries.h"
#include "storage/namespace/key_order.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {
namespace {

struct Heard {
  int64_t at_ns = kEver;
  std::string sequencer;
};

Result<Heard> heard_of(NamesConnection& c, std::string_view key) {
  auto rows = c.find_heard.run(key);
  if (!ATOLL_TRY(rows.next())) return Heard{};
  return Heard{rows.integer(0), std::string(rows.bytes(1))};
}

Result<void> hear(NamesConnection& c,
                  std::string_view key,
                  int64_t at_ns,
                  std::string_view sequencer,
                  bool guessed) {
  const auto kept = sequencer.empty() ? std::nullopt : std::optional(sequencer);
  return c.put_heard.run(key, at_ns, kept, guessed).finish();
}

// AWS: "right pad the shorter value with zeros, then do a lexicographical comparison".
bool is_later(std::string a, std::string b) {
  a.resize(std::max(a.size(), b.size()), '0');
  b.resize(a.size(), '0');
  return a > b;
}

// The event is in the row already, as that of a change of our own is.
bool says_what_we_know(const ObjectEvent& event, const std::optional<EntryRow>& row) {
  switch (event.change) {
    case ObjectEvent::Change::kPut:
      return row && row->etag == event.info.etag;
    case ObjectEvent::Change::kRemoved:
      return !row;
    case ObjectEvent::Change::kUnclear:
      return false;
  }
  return false;
}

}  // namespace

Result<void> BucketNames::record_as_of(const ObjectInfo& info,
                                       const Metadata* metadata,
                                       int64_t at_ns,
                                       bool guessed) {
  if (info.key.empty()) return fail(ErrorCode::kInvalidInput, "an object without a key");
  auto packed = metadata ? std::optional(pack_metadata(*metadata)) : std::nullopt;
  return database_->write([=](NamesConnection& c) -> Result<void> {
    const auto row = ATOLL_TRY(find_object(c, info.key));
    const bool same = row && row->etag == info.etag && row->size_bytes == info.size_bytes;
    // From later: only the metadata are news, where there are none yet; what is known may be newer. The same content
    // written again, at another time, may have others.
    if (ATOLL_TRY(is_known(c, info.key, at_ns + 1))) {
      if (!same || !packed || row->metadata ||
          whole_seconds(row->modified_ns) != whole_seconds(to_ns(info.modified))) {
        return {};
      }
      return put_object(c, info_of(info.key, *row), packed, true);
    }
    const auto kept = packed || !same ? packed : row->metadata;
    ATOLL_TRY(put_object(c, info, kept, row.has_value()));
    return hear(c, info.key, at_ns, {}, guessed);
  });
}

Result<void> BucketNames::forget_as_of(std::string_view key, int64_t at_ns) {
  return database_->write([=, key = std::string(key)](NamesConnection& c) -> Result<void> {
    if (ATOLL_TRY(is_known(c, key, at_ns + 1))) return {};
    ATOLL_TRY(remove_object(c, key));
    return hear(c, key, at_ns, {}, false);
  });
}

Result<void> BucketNames::doubt(std::string_view key, std::string_view etag) {
  return database_->write(
      [key = std::string(key), etag = std::string(etag)](NamesConnection& c) -> Result<void> {
        if (!ATOLL_TRY(is_known(c, key, kEver + 1))) return {};
        const auto row = ATOLL_TRY(find_object(c, key));
        if (!etag.empty() && (!row || row->etag != etag)) return {};
        const Heard heard = ATOLL_TRY(heard_of(c, key));
        ATOLL_TRY(hear(c, key, kEver, heard.sequencer, false));
        return cover(c, {key, key_after(key)}, kEver);
      });
}

Result<bool> BucketNames::apply(const ObjectEvent& event) {
  const std::string& key = event.info.key;
  if (key.empty()) return fail(ErrorCode::kInvalidInput, "an event without a key");
  const int64_t now = now_ns();
  auto news = std::make_shared<bool>(false);
  ATOLL_TRY(database_->write([=](NamesConnection& c) -> Result<void> {
    *news = false;
    const Heard heard = ATOLL_TRY(heard_of(c, key));
    const bool ordered = !heard.sequencer.empty() && !event.sequencer.empty();
    if (ordered && !is_later(event.sequencer, heard.sequencer)) return {};
    const auto row = ATOLL_TRY(find_object(c, key));
    if (says_what_we_know(event, row)) return hear(c, key, heard.at_ns, event.sequencer, true);
    *news = true;
    const bool ours_is_later = !ordered && heard.at_ns > to_ns(event.info.modified);
    if (ours_is_later || event.change == ObjectEvent::Change::kUnclear) {
      // Where we did something to it ourselves, before or after, the bucket has to say, too. Nothing is
      // known of this key then.
      ATOLL_TRY(hear(c, key, kEver, event.sequencer, false));
      return cover(c, {key, key_after(key)}, kEver);
    }
    ATOLL_TRY(event.change == ObjectEvent::Change::kRemoved
                  ? remove_object(c, key)
                  : put_object(c, event.info, std::nullopt, row.has_value()));
    return hear(c, key, now, event.sequencer, true);
  }));
  if (*news) tell({key});
  return *news;
}

}  // namespace atl::storage
