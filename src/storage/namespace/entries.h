// The rows of the table `entries`: finding, putting and removing objects by key.
//
// A key is taken apart at every '/': "a/b/c" is the object "c" in the directory "b" in the directory
// "a"; "a/" is the directory's own object; "a//b" has a directory "" in it. So every key has its
// place, also those that no directory can show.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/namespace/names_database.h"
#include "storage/remote.h"

namespace atl::storage {

struct EntryRow {
  std::string name;
  bool is_directory = false;
  int64_t id = 0;           // where is_directory
  bool has_object = false;  // always, where not
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;
  std::string etag;
  std::optional<std::string> metadata;  // pack_metadata()
};

inline constexpr int64_t kRootDirectory = 0;
// `kind` in the table, which orders a directory before an object of its name.
inline constexpr int kDirectoryKind = 0;
inline constexpr int kObjectKind = 1;

// "a/b/c": "a/b/" and "c".
struct SplitKey {
  std::string_view directory;
  std::string_view name;
};
SplitKey split_key(std::string_view key);

// The number of "" or "a/b/".
Result<std::optional<int64_t>> find_directory(NamesConnection& c, std::string_view directory);
Result<std::optional<EntryRow>> find_entry(NamesConnection& c,
                                           int64_t parent,
                                           std::string_view name,
                                           int kind);
// The object of this very key.
Result<std::optional<EntryRow>> find_object(NamesConnection& c, std::string_view key);
// Up to `limit` rows of a directory, in the order of (name, kind): from this name on; behind this row.
Result<std::vector<EntryRow>> entries_from(NamesConnection& c,
                                           int64_t parent,
                                           std::string_view name,
                                           int limit);
Result<std::vector<EntryRow>> entries_behind(
    NamesConnection& c, int64_t parent, std::string_view name, int kind, int limit);

// The rest changes the table: on the writer's connection only.
// `is_there_before`: whether it replaces a row.
Result<void> put_object(NamesConnection& c,
                        const ObjectInfo& info,
                        const std::optional<std::string>& metadata,
                        bool is_there_before);
// What was there; directories that are empty then go, too.
Result<void> remove_object(NamesConnection& c, std::string_view key);

ObjectInfo info_of(std::string key, const EntryRow& row);
std::string pack_metadata(const Metadata& metadata);
Metadata unpack_metadata(std::string_view packed);
int64_t to_ns(std::chrono::system_clock::time_point time);
// All that HEAD and some servers' LIST tell of a time. Rounded down.
int64_t whole_seconds(int64_t ns);
std::chrono::system_clock::time_point from_ns(int64_t ns);

}  // namespace atl::storage
