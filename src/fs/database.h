// SQLite as the journal needs it: statements prepared once, values bound and read by type, transactions
// that are rolled back unless they are committed. Not thread safe: whoever owns it has a lock.
//
// A full disk is ENOSPC; everything else that SQLite may answer is EIO, with its words.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/fs_error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace atl::fs {

class Database;

// One run of a statement. Rows are read while it lives; text is copied out.
class Query {
 public:
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;
  ~Query();

  Query& bind(uint64_t value);  // the same 64 bits
  Query& bind(int64_t value);
  Query& bind(uint32_t value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(bool value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(std::string_view bytes);  // a BLOB

  FsResult<bool> step();  // whether there is a row
  FsResult<void> run();   // for what gives no rows

  int64_t integer(int column) const;
  uint64_t number(int column) const { return static_cast<uint64_t>(integer(column)); }
  bool flag(int column) const { return integer(column) != 0; }
  std::string bytes(int column) const;

 private:
  friend class Database;
  Query(Database& database, std::string_view sql, sqlite3_stmt* statement, int error)
      : database_(&database), sql_(sql), statement_(statement), error_(error) {}
  void keep_error(int code) {
    if (error_ == 0) error_ = code;
  }

  Database* database_;
  std::string_view sql_;
  sqlite3_stmt* statement_;
  int error_;
  int bound_ = 0;
};

class Database {
 public:
  static FsResult<std::unique_ptr<Database>> open(const std::string& path);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // `sql` must be a literal: it is the key of the prepared statement.
  Query query(std::string_view sql);
  FsResult<void> execute(const std::string& sql);

 private:
  friend class Query;
  friend class Transaction;
  FsResult<void> sync_at_commit(bool durable);
  explicit Database(sqlite3* handle) : handle_(handle) {}
  tl::unexpected<FsError> failure(int code) const;
  void give_back(std::string_view sql, sqlite3_stmt* statement);

  sqlite3* handle_;
  std::optional<bool> durable_;  // how commits are synced at present
  std::map<std::string_view, std::vector<sqlite3_stmt*>> idle_;
};

// begin() … commit(); what is not committed is rolled back.
class Transaction {
 public:
  // `durable`: when commit() returns, this and everything before it survives the machine's crash; else
  // only this process's.
  static FsResult<Transaction> begin(Database& database, bool durable);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  FsResult<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace atl::fs
