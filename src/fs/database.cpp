#include "fs/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <utility>

namespace atl::fs {

Query::Query(Query&& other) noexcept
    : database_(other.database_),
      sql_(other.sql_),
      statement_(std::exchange(other.statement_, nullptr)),
      error_(other.error_),
      bound_(other.bound_) {}

Query::~Query() {
  if (statement_ != nullptr) database_->give_back(sql_, statement_);
}

Query& Query::bind(int64_t value) {
  if (error_ == 0) keep_error(sqlite3_bind_int64(statement_, ++bound_, value));
  return *this;
}

Query& Query::bind(uint64_t value) { return bind(static_cast<int64_t>(value)); }

Query& Query::bind(std::string_view bytes) {
  if (error_ != 0) return *this;
  // A null pointer would be NULL, not an empty value.
  const char* data = bytes.empty() ? "" : bytes.data();
  keep_error(
      sqlite3_bind_blob64(statement_, ++bound_, data, bytes.size(), SQLITE_TRANSIENT));  // NOLINT
  return *this;
}

FsResult<bool> Query::step() {
  if (error_ != 0) return database_->failure(error_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  error_ = code;
  return database_->failure(code);
}

FsResult<void> Query::run() {
  ATOLL_TRY(step());
  return {};
}

int64_t Query::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Query::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || size <= 0) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

FsResult<std::unique_ptr<Database>> Database::open(const std::string& path) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(),
      &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  if (handle == nullptr) return fail_fs(ENOMEM, path + ": no memory for SQLite");
  std::unique_ptr<Database> database(new Database(handle));
  if (code != SQLITE_OK) return database->failure(code);
  sqlite3_extended_result_codes(handle, 1);
  return database;
}

Database::~Database() {
  for (auto& [sql, statements] : idle_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  sqlite3_close_v2(handle_);
}

tl::unexpected<FsError> Database::failure(int code) const {
  const char* words = sqlite3_errmsg(handle_);
  const char* path = sqlite3_db_filename(handle_, "main");
  const int number = (code & 0xff) == SQLITE_FULL ? ENOSPC : EIO;
  return fail_fs(
      number, fmt::format("{}: {} (SQLite {})", path == nullptr ? "journal" : path, words, code));
}

Query Database::query(std::string_view sql) {
  auto& statements = idle_[sql];
  if (!statements.empty()) {
    sqlite3_stmt* statement = statements.back();
    statements.pop_back();
    return {*this, sql, statement, 0};
  }
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_,
                                      sql.data(),
                                      static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT,
                                      &statement,
                                      nullptr);
  return {*this, sql, statement, code};
}

void Database::give_back(std::string_view sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  idle_[sql].push_back(statement);
}

FsResult<void> Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(code);
  return {};
}

FsResult<void> Database::sync_at_commit(bool durable) {
  if (durable_ == durable) return {};
  durable_.reset();
  // Not a kept statement: SQLite acts on this one when it is prepared.
  ATOLL_TRY(execute(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  durable_ = durable;
  return {};
}

FsResult<Transaction> Transaction::begin(Database& database, bool durable) {
  // In WAL mode FULL syncs the log at each commit and NORMAL does not; either is safe against the end of
  // this process at any point.
  ATOLL_TRY(database.sync_at_commit(durable));
  ATOLL_TRY(database.query("BEGIN IMMEDIATE").run());
  return Transaction(database);
}

Transaction::~Transaction() {
  // An error may have rolled it back already; a second time does no harm.
  if (database_ != nullptr) (void)database_->query("ROLLBACK").run();
}

FsResult<void> Transaction::commit() {
  ATOLL_TRY(database_->query("COMMIT").run());
  database_ = nullptr;
  return {};
}

}  // namespace atl::fs
