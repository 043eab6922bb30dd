#include "storage/sqlite.h"

#include <fmt/format.h>

namespace atl::storage {
namespace {

tl::unexpected<Error> fail_sqlite(sqlite3* connection, int result) {
  const char* path = sqlite3_db_filename(connection, "main");
  auto message = fmt::format("{}: {}", path ? path : "database", sqlite3_errmsg(connection));
  switch (result & 0xff) {  // the rest is detail
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      return fail(ErrorCode::kCorrupt, std::move(message));
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      return fail(
          ErrorCode::kPermission, std::move(message), "check the directory's owner and mode");
    case SQLITE_FULL:
      return fail(ErrorCode::kIo, std::move(message), "free some space on this disk");
    default:
      return fail(ErrorCode::kIo, std::move(message));
  }
}

}  // namespace

Result<bool> SqliteRows::next() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return fail_sqlite(sqlite3_db_handle(statement_), result);
}

Result<void> SqliteRows::finish() {
  while (ATOLL_TRY(next())) {
  }
  return {};
}

std::string_view SqliteRows::bytes(int column) const {
  const auto* begin = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (begin == nullptr) return {};
  return {begin, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

void SqliteStatement::bind(int index, std::string_view bytes) {
  // A null pointer would bind NULL.
  sqlite3_bind_blob64(
      statement_.get(), index, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
}

void SqliteStatement::bind(int index, SqliteText text) {
  sqlite3_bind_text64(statement_.get(),
                      index,
                      text.text.empty() ? "" : text.text.data(),
                      text.text.size(),
                      SQLITE_STATIC,
                      SQLITE_UTF8);
}

Result<SqliteConnection> SqliteConnection::open(const std::string& path,
                                                std::chrono::milliseconds busy_timeout) {
  sqlite3* raw = nullptr;
  const int result =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  SqliteConnection connection;
  connection.connection_.reset(raw);  // also where opening failed
  if (result != SQLITE_OK) {
    return fail(ErrorCode::kIo, fmt::format("{}: {}", path, sqlite3_errstr(result)));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, static_cast<int>(busy_timeout.count()));
  return connection;
}

Result<void> SqliteConnection::execute(const char* sql) {
  const int result = sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return fail_sqlite(connection_.get(), result);
  return {};
}

Result<SqliteStatement> SqliteConnection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v3(connection_.get(),
                                        sql.data(),
                                        static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT,
                                        &statement,
                                        nullptr);
  if (result != SQLITE_OK) return fail_sqlite(connection_.get(), result);
  return SqliteStatement(statement);
}

}  // namespace atl::storage
