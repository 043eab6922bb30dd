// What the database says of paths and directories, or where it has to be listed before it can say so.
// Each function reads within the caller's transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/namespace/names_database.h"
#include "storage/namespace/namespace.h"

namespace atl::storage {

struct PathAnswer {
  std::optional<std::string> list_first;  // a listing from this key on is needed
  std::optional<DirectoryEntry> entry;    // where not: what is there, or nothing
};
// `path` can be shown. What was listed before `since_ns` does not count.
Result<PathAnswer> look_at_path(NamesConnection& c, std::string_view path, int64_t since_ns);

// A subdirectory is passed over, and so left unlisted beyond, once so many of its keys are known: fewer
// would make more requests in the end, for a listing that begins in each directory anew fills its last
// page only in part.
inline constexpr size_t kKeysToPass = 2500;

// Where the directory ("" or "a/b/") has to be listed before its entries from the key `first` on are
// known; nothing where they are.
Result<std::optional<std::string>> unlisted_part(NamesConnection& c,
                                                 std::string_view directory,
                                                 std::string_view first,
                                                 int64_t since_ns);

// Up to `limit` rows' worth of entries behind the name `after`, in byte order of their names;
// `last` is where to go on, nothing at the end. kNotFound where there is no such directory and
// `after` is empty.
struct EntriesPage {
  std::vector<DirectoryEntry> entries;
  std::optional<std::string> last;
};
Result<EntriesPage> shown_entries(NamesConnection& c,
                                  std::string_view directory,
                                  std::string_view after,
                                  int limit);

}  // namespace atl::storage
