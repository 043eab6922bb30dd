// SQLite with this program's manners: connections and statements that close themselves, Result
// instead of codes, names and keys as bytes.
//
// A connection belongs to one thread at a time. Errors: kCorrupt for a file that is damaged or no
// database, kPermission, kIo for the rest (a full disk has its hint). The path is in the message.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace atl::storage {

// A value that is bound as text; a plain string_view is bound as bytes, and compares as bytes.
struct SqliteText {
  std::string_view text;
};
struct SqliteNull {};

// One execution of a statement. Ends with the object.
class SqliteRows {
 public:
  explicit SqliteRows(sqlite3_stmt* statement) : statement_(statement) {}
  SqliteRows(const SqliteRows&) = delete;
  SqliteRows& operator=(const SqliteRows&) = delete;
  ~SqliteRows() { sqlite3_reset(statement_); }

  // Whether there is another row.
  Result<bool> next();
  // For a statement that gives no rows.
  Result<void> finish();

  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  // Of bytes or text; lives until next().
  std::string_view bytes(int column) const;
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  bool is_text(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_TEXT; }

 private:
  sqlite3_stmt* statement_;
};

class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  // Strings must live until the end of the execution.
  template <typename... Values>
  SqliteRows run(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    return SqliteRows(statement_.get());
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };

  template <std::integral T>
  void bind(int index, T value) {
    sqlite3_bind_int64(statement_.get(), index, static_cast<int64_t>(value));
  }
  void bind(int index, std::string_view bytes);
  void bind(int index, SqliteText text);
  void bind(int index, SqliteNull) { sqlite3_bind_null(statement_.get(), index); }
  template <typename T>
  void bind(int index, const std::optional<T>& value) {
    value ? bind(index, *value) : bind(index, SqliteNull{});
  }
  template <typename... Ts>
  void bind(int index, const std::variant<Ts...>& value) {
    std::visit([&](const auto& held) { bind(index, held); }, value);
  }

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class SqliteConnection {
 public:
  SqliteConnection() = default;
  // The file must exist; it may be empty. `busy_timeout`: how long to wait for another writer.
  static Result<SqliteConnection> open(const std::string& path,
                                       std::chrono::milliseconds busy_timeout);

  Result<void> execute(const char* sql);
  Result<SqliteStatement> prepare(std::string_view sql);
  bool in_transaction() const { return sqlite3_get_autocommit(connection_.get()) == 0; }
  // Rows that the last INSERT, UPDATE or DELETE touched.
  int64_t changes() const { return sqlite3_changes(connection_.get()); }

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace atl::storage
