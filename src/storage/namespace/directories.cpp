#include "storage/namespace/directories.h"

#include <fmt/format.h>

#include <utility>

#include "storage/namespace/entries.h"
#include "storage/namespace/key_order.h"
#include "storage/namespace/key_walk.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {
namespace {

DirectoryEntry entry_of(std::string_view directory, EntryRow row) {
  DirectoryEntry entry;
  entry.is_directory = row.is_directory;
  entry.has_object = row.has_object;
  if (row.has_object) {
    std::string key = std::string(directory) + row.name + (row.is_directory ? "/" : "");
    entry.info = info_of(std::move(key), row);
    if (row.metadata) entry.metadata = unpack_metadata(*row.metadata);
  }
  entry.name = std::move(row.name);
  return entry;
}

// The first key of a directory, "a/b/" itself included.
Result<std::optional<std::string>> first_key_in(NamesConnection& c, std::string_view directory) {
  KeyWalk walk(c, std::string(directory));
  auto first = ATOLL_TRY(walk.next());
  if (!first || !first->key.starts_with(directory)) return std::nullopt;
  return std::move(first->key);
}

// Whether so many keys that begin with `prefix` come before `past`.
Result<bool> has_keys_before(NamesConnection& c,
                             const std::string& prefix,
                             const std::string& past,
                             size_t count) {
  KeyWalk walk(c, prefix);
  for (; count > 0; --count) {
    const auto next = ATOLL_TRY(walk.next());
    if (!next || next->key >= past || !next->key.starts_with(prefix)) return false;
  }
  return true;
}

}  // namespace

Result<PathAnswer> look_at_path(NamesConnection& c, std::string_view path, int64_t since_ns) {
  if (path.empty()) {
    DirectoryEntry root;
    root.is_directory = true;
    return PathAnswer{{}, std::move(root)};
  }
  const auto [above, name] = split_key(path);
  const std::string directory = std::string(path) + '/';
  const auto parent = ATOLL_TRY(find_directory(c, above));
  const auto gap = ATOLL_TRY(first_gap(c, directory, prefix_end(directory), since_ns));
  // A directory is there if a key in it is, and all before that one is known: its own object, too.
  if (parent) {
    auto row = ATOLL_TRY(find_entry(c, *parent, name, kDirectoryKind));
    if (row) {
      const auto first = ATOLL_TRY(first_key_in(c, directory));
      const bool certain =
          first && (!gap || *first < gap->first ||
                    (*first == directory && ATOLL_TRY(is_known(c, directory, since_ns))));
      if (certain) return PathAnswer{{}, entry_of(above, std::move(*row))};
    }
  }
  // One listing from the path on mostly reaches what lies in it, too.
  if (!ATOLL_TRY(is_known(c, path, since_ns))) return PathAnswer{std::string(path), {}};
  if (gap) return PathAnswer{gap->first, {}};
  if (parent) {
    auto row = ATOLL_TRY(find_entry(c, *parent, name, kObjectKind));
    if (row) return PathAnswer{{}, entry_of(above, std::move(*row))};
  }
  return PathAnswer{};
}

Result<std::optional<std::string>> unlisted_part(NamesConnection& c,
                                                 std::string_view directory,
                                                 std::string_view first,
                                                 int64_t since_ns) {
  const std::string past = prefix_end(directory);
  std::string at(first);
  while (auto gap = ATOLL_TRY(first_gap(c, at, past, since_ns))) {
    // Inside of "a/b/sub/", behind keys of it that are known: then "sub" is an entry, whatever else is
    // in it.
    const auto behind = std::string_view(gap->first).substr(directory.size());
    const size_t slash = behind.find('/');
    if (slash == std::string_view::npos) return gap->first;
    const auto subdirectory = gap->first.substr(0, directory.size() + slash + 1);
    if (subdirectory < at ||
        !ATOLL_TRY(has_keys_before(c, subdirectory, gap->first, kKeysToPass))) {
      return gap->first;
    }
    at = prefix_end(subdirectory);
  }
  return std::nullopt;
}

Result<EntriesPage> shown_entries(NamesConnection& c,
                                  std::string_view directory,
                                  std::string_view after,
                                  int limit) {
  const auto id = ATOLL_TRY(find_directory(c, directory));
  // Behind a name, only what lies behind it has been asked for; the directory's start may be unknown.
  if (!id && !after.empty()) return EntriesPage{};
  if (!id) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: no such directory", directory.substr(0, directory.size() - 1)));
  }
  EntriesPage page;
  auto rows = ATOLL_TRY(entries_behind(c, *id, after, kObjectKind, limit));
  if (rows.size() == static_cast<size_t>(limit)) page.last = rows.back().name;
  std::string shadowed;  // the directory just seen hides an object of its name; no name is ""
  for (EntryRow& row : rows) {
    if (!can_be_name(row.name)) continue;
    if (!row.is_directory && row.name == shadowed) continue;
    if (row.is_directory) shadowed = row.name;
    page.entries.push_back(entry_of(directory, std::move(row)));
  }
  return page;
}

}  // namespace atl::storage
