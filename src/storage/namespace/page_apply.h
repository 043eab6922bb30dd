// A page of a listing into the database: which objects are new, changed or gone, and that this part of
// the key order is known now. One transaction, so a crash leaves all of a page or nothing of it.
//
// Gone is only what lies between two keys of one page, or between its start and its first key, or behind
// its last key where the listing ends: what was not listed is never removed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/namespace/entries.h"
#include "storage/namespace/names_database.h"
#include "storage/namespace/namespace.h"
#include "storage/remote.h"

namespace atl::storage {

// Every object in [first, past) when it was asked for.
struct ListedPage {
  std::string first;
  std::string past;
  std::vector<ObjectInfo> objects;
  int64_t asked_ns = 0;  // before the request went out
};

// One LIST from `first` on, within `prefix`; more only where keys that no LIST can begin behind fill a page before it.
// So the page reaches past `first`. `now_ns` is the time. kIo where the answer is not in byte order or does not go
// forward: what is built on it would be wrong.
Result<ListedPage> list_from(Remote& remote,
                             std::string_view prefix,
                             std::string_view first,
                             int64_t now_ns);

struct AppliedPage {
  ImportCounts counts;
  std::vector<std::string> changed;  // keys, for Namespace::on_change
};

// On the writer's connection. `known_ns`, at most page.asked_ns: how the page is dated in `ranges`; pages
// of one date make one row. What is known from later than asked_ns stays as it is.
Result<AppliedPage> apply_page(NamesConnection& c,
                               const ListedPage& page,
                               const ImportPolicy& policy,
                               int64_t known_ns);

// Whether an object that was known as `row` has become another one: another content, or other metadata.
struct Difference {
  bool is_other = false;
  bool is_quiet = false;  // only the time is known better
};
Result<Difference> compare(NamesConnection& c, const EntryRow& row, const ObjectInfo& info);

}  // namespace atl::storage
