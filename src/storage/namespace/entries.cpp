#include "storage/namespace/entries.h"

#include <algorithm>
#include <variant>

#include "storage/namespace/key_order.h"

namespace atl::storage {
namespace {

// Most ETags are "MD5 in hex", in quotes: kept as 16 bytes, the others as text.
constexpr size_t kDigestBytes = 16;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<std::string> digest_of(std::string_view etag) {
  if (etag.size() != 2 * kDigestBytes + 2 || etag.front() != '"' || etag.back() != '"') return {};
  std::string digest(kDigestBytes, '\0');
  for (size_t i = 0; i < kDigestBytes; ++i) {
    const int high = hex_digit(etag[2 * i + 1]);
    const int low = hex_digit(etag[2 * i + 2]);
    if (high < 0 || low < 0) return {};
    digest[i] = static_cast<char>(high * 16 + low);
  }
  return digest;
}

std::string etag_of(std::string_view digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string etag = "\"";
  for (const char c : digest) {
    const auto byte = static_cast<unsigned char>(c);
    etag += kDigits[byte >> 4U];
    etag += kDigits[byte & 0xfU];
  }
  etag += '"';
  return etag;
}

// Columns from `first` on: id, size, modified, etag, metadata.
void fill(EntryRow& row, const SqliteRows& rows, int first) {
  row.id = rows.integer(first);
  row.has_object = !rows.is_null(first + 1);
  if (!row.has_object) return;
  row.size_bytes = static_cast<uint64_t>(rows.integer(first + 1));
  row.modified_ns = rows.integer(first + 2);
  row.etag =
      rows.is_text(first + 3) ? std::string(rows.bytes(first + 3)) : etag_of(rows.bytes(first + 3));
  if (!rows.is_null(first + 4)) row.metadata = std::string(rows.bytes(first + 4));
}

Result<std::vector<EntryRow>> take_all(SqliteRows rows, int limit) {
  std::vector<EntryRow> taken;
  taken.reserve(static_cast<size_t>(std::min(limit, 256)));
  while (ATOLL_TRY(rows.next())) {
    EntryRow& row = taken.emplace_back();
    row.name = rows.bytes(0);
    row.is_directory = rows.integer(1) == kDirectoryKind;
    fill(row, rows, 2);
  }
  return taken;
}

Result<bool> exists(NamesConnection& c, int64_t parent, std::string_view name, int kind) {
  auto rows = c.find_entry.run(parent, name, kind);
  return rows.next();
}

Result<int64_t> make_directory(NamesConnection& c, int64_t parent, std::string_view name) {
  if (c.next_directory == 0) c.next_directory = ATOLL_TRY(integer_fact(c, "next_directory"));
  const int64_t id = c.next_directory++;
  ATOLL_TRY(c.put_directory.run(parent, name, id).finish());
  return id;
}

// c.path holds the directories of the last call: a listing's keys mostly share theirs.
Result<std::optional<int64_t>> walk_to(NamesConnection& c, std::string_view directory, bool make) {
  size_t common = 0;
  size_t depth = 0;
  const size_t both = std::min(c.path.size(), directory.size());
  for (size_t i = 0; i < both && c.path[i] == directory[i]; ++i) {
    if (directory[i] == '/') {
      common = i + 1;
      ++depth;
    }
  }
  c.path.resize(common);
  c.path_ids.resize(depth);
  while (c.path.size() < directory.size()) {
    const size_t begin = c.path.size();
    const auto name = directory.substr(begin, directory.find('/', begin) - begin);
    const int64_t parent = c.path_ids.empty() ? kRootDirectory : c.path_ids.back();
    std::optional<int64_t> id;
    {
      auto rows = c.find_directory.run(parent, name);
      if (ATOLL_TRY(rows.next())) id = rows.integer(0);
    }
    if (!id) {
      if (!make) return std::nullopt;
      id = ATOLL_TRY(make_directory(c, parent, name));
      // An object of that name is hidden from now on.
      const std::string path(directory.substr(0, begin + name.size()));
      if (can_be_shown(path) && ATOLL_TRY(exists(c, parent, name, kObjectKind))) ++c.hidden_change;
    }
    c.path.append(name);
    c.path += '/';
    c.path_ids.push_back(*id);
  }
  return c.path_ids.empty() ? kRootDirectory : c.path_ids.back();
}

// "a/b/": the directory "a/" and the name "b".
SplitKey split_directory(std::string_view directory) {
  return split_key(directory.substr(0, directory.size() - 1));
}

// From `directory` upwards, what neither holds anything nor has an object.
Result<void> remove_empty(NamesConnection& c, std::string_view directory) {
  while (!directory.empty()) {
    const auto id = ATOLL_TRY(walk_to(c, directory, false));
    if (!id) return {};
    {
      auto rows = c.any_entry.run(*id);
      if (ATOLL_TRY(rows.next())) return {};
    }
    const auto [above, name] = split_directory(directory);
    const auto parent = ATOLL_TRY(walk_to(c, above, false));
    const auto row = ATOLL_TRY(find_entry(c, *parent, name, kDirectoryKind));
    if (!row || row->has_object) return {};
    ATOLL_TRY(c.remove_entry.run(*parent, name, kDirectoryKind).finish());
    const auto path = directory.substr(0, directory.size() - 1);
    if (can_be_shown(path) && ATOLL_TRY(exists(c, *parent, name, kObjectKind))) --c.hidden_change;
    directory = above;
  }
  return {};
}

// Whether this object counts as hidden; `parent` is its directory's number.
Result<bool> is_hidden(NamesConnection& c, std::string_view key, int64_t parent) {
  if (!can_be_shown(key)) return true;
  return exists(c, parent, split_key(key).name, kDirectoryKind);
}

}  // namespace

SplitKey split_key(std::string_view key) {
  const size_t slash = key.rfind('/');
  if (slash == std::string_view::npos) return {{}, key};
  return {key.substr(0, slash + 1), key.substr(slash + 1)};
}

Result<std::optional<int64_t>> find_directory(NamesConnection& c, std::string_view directory) {
  return walk_to(c, directory, false);
}

Result<std::optional<EntryRow>> find_entry(NamesConnection& c,
                                           int64_t parent,
                                           std::string_view name,
                                           int kind) {
  auto rows = c.find_entry.run(parent, name, kind);
  if (!ATOLL_TRY(rows.next())) return std::nullopt;
  EntryRow row;
  row.name = name;
  row.is_directory = kind == kDirectoryKind;
  fill(row, rows, 0);
  return row;
}

Result<std::optional<EntryRow>> find_object(NamesConnection& c, std::string_view key) {
  const bool of_directory = key.ends_with('/');
  const auto [directory, name] = of_directory ? split_directory(key) : split_key(key);
  const auto parent = ATOLL_TRY(walk_to(c, directory, false));
  if (!parent) return std::nullopt;
  auto row = ATOLL_TRY(find_entry(c, *parent, name, of_directory ? kDirectoryKind : kObjectKind));
  if (row && !row->has_object) return std::nullopt;
  return row;
}

Result<std::vector<EntryRow>> entries_from(NamesConnection& c,
                                           int64_t parent,
                                           std::string_view name,
                                           int limit) {
  return take_all(c.first_entries.run(parent, name, limit), limit);
}

Result<std::vector<EntryRow>> entries_behind(
    NamesConnection& c, int64_t parent, std::string_view name, int kind, int limit) {
  return take_all(c.next_entries.run(parent, name, kind, limit), limit);
}

Result<void> put_object(NamesConnection& c,
                        const ObjectInfo& info,
                        const std::optional<std::string>& metadata,
                        bool is_there_before) {
  const auto digest = digest_of(info.etag);
  using Etag = std::variant<std::string_view, SqliteText>;
  const Etag etag = digest ? Etag(std::string_view(*digest)) : Etag(SqliteText{info.etag});
  const int64_t modified = to_ns(info.modified);
  const std::string_view key = info.key;
  if (key.ends_with('/')) {
    ATOLL_TRY(walk_to(c, key, true));
    const auto [above, name] = split_directory(key);
    const auto parent = ATOLL_TRY(walk_to(c, above, false));
    ATOLL_TRY(c.set_directory_object.run(info.size_bytes, modified, etag, metadata, *parent, name)
                  .finish());
    if (!is_there_before && !can_be_shown(key)) ++c.hidden_change;
    return {};
  }
  const auto [directory, name] = split_key(key);
  const auto parent = ATOLL_TRY(walk_to(c, directory, true));
  ATOLL_TRY(c.put_object.run(*parent, name, info.size_bytes, modified, etag, metadata).finish());
  if (!is_there_before && ATOLL_TRY(is_hidden(c, key, *parent))) ++c.hidden_change;
  return {};
}

Result<void> remove_object(NamesConnection& c, std::string_view key) {
  if (key.ends_with('/')) {
    const auto [above, name] = split_directory(key);
    const auto parent = ATOLL_TRY(walk_to(c, above, false));
    if (!parent) return {};
    const auto row = ATOLL_TRY(find_entry(c, *parent, name, kDirectoryKind));
    if (!row || !row->has_object) return {};
    const SqliteNull none;
    ATOLL_TRY(c.set_directory_object.run(none, none, none, none, *parent, name).finish());
    if (!can_be_shown(key)) --c.hidden_change;
    return remove_empty(c, key);
  }
  const auto [directory, name] = split_key(key);
  const auto parent = ATOLL_TRY(walk_to(c, directory, false));
  if (!parent) return {};
  const bool hidden = ATOLL_TRY(is_hidden(c, key, *parent));
  ATOLL_TRY(c.remove_entry.run(*parent, name, kObjectKind).finish());
  if (c.sqlite.changes() == 0) return {};
  if (hidden) --c.hidden_change;
  return remove_empty(c, directory);
}

ObjectInfo info_of(std::string key, const EntryRow& row) {
  return {std::move(key), row.size_bytes, from_ns(row.modified_ns), row.etag};
}

// "name\0value\0…": neither can hold a NUL, for they are HTTP headers.
std::string pack_metadata(const Metadata& metadata) {
  std::string packed;
  for (const auto& [name, value] : metadata) {
    packed.append(name) += '\0';
    packed.append(value) += '\0';
  }
  return packed;
}

Metadata unpack_metadata(std::string_view packed) {
  Metadata metadata;
  const auto take = [&] {
    const size_t end = std::min(packed.find('\0'), packed.size());
    std::string text(packed.substr(0, end));
    packed.remove_prefix(std::min(end + 1, packed.size()));
    return text;
  };
  while (!packed.empty()) {
    std::string name = take();
    metadata[std::move(name)] = take();
  }
  return metadata;
}

int64_t to_ns(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

int64_t whole_seconds(int64_t ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  return ns >= 0 ? ns / kSecond : -((-ns + kSecond - 1) / kSecond);
}

std::chrono::system_clock::time_point from_ns(int64_t ns) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(ns)));
}

}  // namespace atl::storage
