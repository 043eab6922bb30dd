#include "fs/journal.h"

#include <fmt/format.h>

#include <cerrno>

namespace atl::fs {
namespace {

// Another number when the tables change; a journal of another number is refused.
constexpr int64_t kFormat = 1;

// Numbers below are the root's and, from 2^62 on, those made of paths (tree.cpp).
constexpr uint64_t kFirstNumber = 2;

constexpr const char* kTables = R"sql(
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
  inode INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL,
  mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
  accessed_ns INTEGER NOT NULL, modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL, opaque INTEGER NOT NULL, target BLOB NOT NULL,
  has_content INTEGER NOT NULL, present BLOB NOT NULL,
  base_key BLOB NOT NULL, base_etag BLOB NOT NULL, base_size INTEGER NOT NULL, base_limit INTEGER NOT NULL,
  known_etag BLOB NOT NULL, maybe_gone INTEGER NOT NULL, xattrs_here INTEGER NOT NULL, content_dirty INTEGER NOT NULL, attributes_dirty INTEGER NOT NULL,
  change INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_place ON rows (parent, name);
CREATE INDEX IF NOT EXISTS by_dirt ON rows (change) WHERE content_dirty OR attributes_dirty;
CREATE INDEX IF NOT EXISTS by_content ON rows (change) WHERE has_content;
CREATE INDEX IF NOT EXISTS by_base ON rows (base_key) WHERE base_key <> x'';
CREATE TABLE IF NOT EXISTS removals (key BLOB PRIMARY KEY, etag BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS xattrs (
  inode INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (inode, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accesses (path BLOB PRIMARY KEY, when_s INTEGER NOT NULL) WITHOUT ROWID;
)sql";

#define ATOLL_ROW_COLUMNS                                                              \
  "inode, parent, name, kind, mode, uid, gid, accessed_ns, modified_ns, changed_ns, "  \
  "size_bytes, opaque, target, has_content, present, base_key, base_etag, base_size, " \
  "base_limit, known_etag, maybe_gone, xattrs_here, content_dirty, attributes_dirty, change"

FsResult<Row> read_row(const Query& query) {
  Row row;
  row.inode = query.number(0);
  row.parent = query.number(1);
  row.name = query.bytes(2);
  row.kind = static_cast<Kind>(query.integer(3));
  row.mode = static_cast<uint32_t>(query.integer(4));
  row.uid = static_cast<uint32_t>(query.integer(5));
  row.gid = static_cast<uint32_t>(query.integer(6));
  row.accessed_ns = query.integer(7);
  row.modified_ns = query.integer(8);
  row.changed_ns = query.integer(9);
  row.size_bytes = query.number(10);
  row.opaque = query.flag(11);
  row.target = query.bytes(12);
  row.has_content = query.flag(13);
  auto present = Extents::parse(query.bytes(14));
  if (!present) return fail_fs(EIO, "journal: the extents of a file are damaged: " + row.name);
  row.present = std::move(*present);
  row.base.key = query.bytes(15);
  row.base.etag = query.bytes(16);
  row.base.size_bytes = query.number(17);
  row.base.limit = query.number(18);
  row.known_etag = query.bytes(19);
  row.maybe_gone = query.flag(20);
  row.xattrs_here = query.flag(21);
  row.content_dirty = query.flag(22);
  row.attributes_dirty = query.flag(23);
  row.change = query.number(24);
  return row;
}

FsResult<std::optional<Row>> one_row(Query& query) {
  if (!ATOLL_TRY(query.step())) return std::nullopt;
  return ATOLL_TRY(read_row(query));
}

Query& bind_row(Query& query, const Row& row) {
  return query.bind(row.inode)
      .bind(row.parent)
      .bind(std::string_view(row.name))
      .bind(static_cast<int64_t>(row.kind))
      .bind(row.mode)
      .bind(row.uid)
      .bind(row.gid)
      .bind(row.accessed_ns)
      .bind(row.modified_ns)
      .bind(row.changed_ns)
      .bind(row.size_bytes)
      .bind(row.opaque)
      .bind(std::string_view(row.target))
      .bind(row.has_content)
      .bind(std::string_view(row.present.text()))
      .bind(std::string_view(row.base.key))
      .bind(std::string_view(row.base.etag))
      .bind(row.base.size_bytes)
      .bind(row.base.limit)
      .bind(std::string_view(row.known_etag))
      .bind(row.maybe_gone)
      .bind(row.xattrs_here)
      .bind(row.content_dirty)
      .bind(row.attributes_dirty)
      .bind(row.change);
}

// The first key behind all that begin with "PATH/".
std::string after_all_below(std::string_view path) { return fmt::format("{}{}", path, '0'); }
static_assert('/' + 1 == '0');

}  // namespace

FsResult<std::unique_ptr<Journal>> Journal::open(const std::string& path,
                                                 const std::string& identity) {
  auto database = ATOLL_TRY(Database::open(path));
  ATOLL_TRY(database->execute("PRAGMA journal_mode=WAL"));
  ATOLL_TRY(database->execute("PRAGMA wal_autocheckpoint=4000"));
  std::unique_ptr<Journal> journal(new Journal(std::move(database)));
  auto transaction = ATOLL_TRY(Transaction::begin(journal->database(), true));
  ATOLL_TRY(journal->database().execute(kTables));
  {
    auto query = journal->database().query(
        "INSERT INTO facts VALUES ('format', ?), ('identity', ?), ('number', ?), "
        "('name', lower(hex(randomblob(8)))) ON CONFLICT DO NOTHING");
    ATOLL_TRY(query.bind(kFormat).bind(std::string_view(identity)).bind(kFirstNumber).run());
  }
  {
    auto query = journal->database().query("SELECT value FROM facts WHERE name = 'format'");
    if (!ATOLL_TRY(query.step()) || query.integer(0) != kFormat) {
      return fail_fs(EINVAL, fmt::format("{}: made by another version of atoll", path));
    }
  }
  {
    auto query = journal->database().query("SELECT value FROM facts WHERE name = 'identity'");
    if (!ATOLL_TRY(query.step()) || query.bytes(0) != identity) {
      return fail_fs(EINVAL,
                     fmt::format("{} belongs to the bucket {}, not to {}; choose another directory",
                                 path,
                                 query.bytes(0),
                                 identity));
    }
  }
  ATOLL_TRY(transaction.commit());
  return journal;
}

FsResult<std::string> Journal::name() {
  auto query = database_->query("SELECT value FROM facts WHERE name = 'name'");
  if (!ATOLL_TRY(query.step())) return fail_fs(EIO, "journal: its name is gone");
  return query.bytes(0);
}

FsResult<std::optional<Row>> Journal::row(InodeNumber inode) {
  auto query = database_->query("SELECT " ATOLL_ROW_COLUMNS " FROM rows WHERE inode = ?");
  return one_row(query.bind(inode));
}

FsResult<std::optional<Row>> Journal::child(InodeNumber parent, std::string_view name) {
  auto query =
      database_->query("SELECT " ATOLL_ROW_COLUMNS " FROM rows WHERE parent = ? AND name = ?");
  return one_row(query.bind(parent).bind(name));
}

FsResult<std::vector<Row>> Journal::children(InodeNumber parent,
                                             std::string_view after,
                                             size_t limit) {
  auto query = database_->query("SELECT " ATOLL_ROW_COLUMNS
                                " FROM rows WHERE parent = ? AND name > ? ORDER BY name LIMIT ?");
  query.bind(parent).bind(after).bind(static_cast<uint64_t>(limit));
  std::vector<Row> rows;
  while (ATOLL_TRY(query.step())) rows.push_back(ATOLL_TRY(read_row(query)));
  return rows;
}

FsResult<bool> Journal::has_children(InodeNumber parent, bool also_gone) {
  auto query = database_->query("SELECT 1 FROM rows WHERE parent = ? AND (? OR kind <> 0) LIMIT 1");
  return query.bind(parent).bind(also_gone).step();
}

FsResult<void> Journal::insert(const Row& row) {
  auto query = database_->query("INSERT INTO rows (" ATOLL_ROW_COLUMNS
                                ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  return bind_row(query, row).run();
}

FsResult<void> Journal::update(const Row& row) {
  auto query = database_->query("UPDATE rows SET (" ATOLL_ROW_COLUMNS
                                ") = (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
                                "WHERE inode = ?");
  return bind_row(query, row).bind(row.inode).run();
}

FsResult<void> Journal::erase(InodeNumber inode) {
  ATOLL_TRY(database_->query("DELETE FROM xattrs WHERE inode = ?").bind(inode).run());
  return database_->query("DELETE FROM rows WHERE inode = ?").bind(inode).run();
}

FsResult<std::vector<InodeNumber>> Journal::inodes(Query query) {
  std::vector<InodeNumber> inodes;
  while (ATOLL_TRY(query.step())) inodes.push_back(query.number(0));
  return inodes;
}

FsResult<std::vector<InodeNumber>> Journal::dirty_rows() {
  return inodes(database_->query(
      "SELECT inode FROM rows WHERE content_dirty OR attributes_dirty ORDER BY change"));
}

FsResult<std::vector<InodeNumber>> Journal::kept_rows() {
  return inodes(database_->query(
      "SELECT inode FROM rows WHERE has_content AND NOT content_dirty AND NOT attributes_dirty "
      "ORDER BY change"));
}

FsResult<std::vector<InodeNumber>> Journal::rows_with_content() {
  return inodes(database_->query("SELECT inode FROM rows WHERE has_content ORDER BY change"));
}

FsResult<std::vector<InodeNumber>> Journal::rows_based_on(std::string_view key) {
  auto query = database_->query("SELECT inode FROM rows WHERE base_key = ? AND base_key <> x''");
  query.bind(key);
  return inodes(std::move(query));
}

FsResult<std::vector<InodeNumber>> Journal::opaque_rows() {
  return inodes(database_->query("SELECT inode FROM rows WHERE opaque"));
}

FsResult<std::optional<std::string>> Journal::removal(std::string_view key) {
  auto query = database_->query("SELECT etag FROM removals WHERE key = ?");
  if (!ATOLL_TRY(query.bind(key).step())) return std::nullopt;
  return query.bytes(0);
}

FsResult<void> Journal::add_removal(std::string_view key, std::string_view etag) {
  return database_->query("INSERT OR REPLACE INTO removals VALUES (?, ?)")
      .bind(key)
      .bind(etag)
      .run();
}

FsResult<void> Journal::erase_removal(std::string_view key) {
  return database_->query("DELETE FROM removals WHERE key = ?").bind(key).run();
}

FsResult<std::vector<Removal>> Journal::removals(std::string_view after, size_t limit) {
  auto query =
      database_->query("SELECT key, etag FROM removals WHERE key > ? ORDER BY key LIMIT ?");
  query.bind(after).bind(static_cast<uint64_t>(limit));
  std::vector<Removal> removals;
  while (ATOLL_TRY(query.step())) removals.push_back({query.bytes(0), query.bytes(1)});
  return removals;
}

FsResult<bool> Journal::has_removals(std::string_view path) {
  auto query =
      database_->query("SELECT 1 FROM removals WHERE key = ? OR (key >= ? AND key < ?) LIMIT 1");
  const std::string below = fmt::format("{}/", path);
  return query.bind(path)
      .bind(std::string_view(below))
      .bind(std::string_view(after_all_below(path)))
      .step();
}

FsResult<uint64_t> Journal::count_removals() {
  auto query = database_->query("SELECT count(*) FROM removals");
  ATOLL_TRY(query.step());
  return query.number(0);
}

FsResult<Xattrs> Journal::xattrs(InodeNumber inode) {
  auto query = database_->query("SELECT name, value FROM xattrs WHERE inode = ?");
  query.bind(inode);
  Xattrs xattrs;
  while (ATOLL_TRY(query.step())) xattrs.emplace(query.bytes(0), query.bytes(1));
  return xattrs;
}

FsResult<void> Journal::set_xattr(InodeNumber inode,
                                  std::string_view name,
                                  std::string_view value) {
  return database_->query("INSERT OR REPLACE INTO xattrs VALUES (?, ?, ?)")
      .bind(inode)
      .bind(name)
      .bind(value)
      .run();
}

FsResult<void> Journal::remove_xattr(InodeNumber inode, std::string_view name) {
  return database_->query("DELETE FROM xattrs WHERE inode = ? AND name = ?")
      .bind(inode)
      .bind(name)
      .run();
}

FsResult<void> Journal::note_access(std::string_view path, int64_t when_s) {
  return database_->query("INSERT OR REPLACE INTO accesses VALUES (?, ?)")
      .bind(path)
      .bind(when_s)
      .run();
}

FsResult<std::optional<int64_t>> Journal::last_access(std::string_view path) {
  auto query = database_->query("SELECT when_s FROM accesses WHERE path = ?");
  if (!ATOLL_TRY(query.bind(path).step())) return std::nullopt;
  return query.integer(0);
}

FsResult<uint64_t> Journal::next_number() {
  auto query = database_->query(
      "UPDATE facts SET value = value + 1 WHERE name = 'number' RETURNING value - 1");
  if (!ATOLL_TRY(query.step())) return fail_fs(EIO, "journal: its counter is gone");
  const uint64_t number = query.number(0);
  ATOLL_TRY(query.step());  // to the end of the statement
  return number;
}

}  // namespace atl::fs
