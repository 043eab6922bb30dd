#include "storage/namespace/names_database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/unique_fd.h"
#include "storage/file_bytes.h"

namespace atl::storage {
namespace {

constexpr int64_t kSchemaVersion = 1;
constexpr size_t kIdleReaders = 16;
constexpr std::chrono::milliseconds kBusyTimeout{30000};

// WAL: readers and the writer do not wait for each other. NORMAL: no fsync for each transaction; after
// a power failure the last ones may be missing, which is as if they had not been listed yet.
constexpr const char* kManners =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = NORMAL;"
    "PRAGMA journal_size_limit = 67108864;"
    "PRAGMA cache_size = -8192;"
    "PRAGMA temp_store = MEMORY;";

constexpr const char* kSchema =
    "CREATE TABLE facts(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE entries(parent INTEGER NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL,"
    "  id INTEGER, size INTEGER, modified INTEGER, etag, metadata BLOB,"
    "  PRIMARY KEY(parent, name, kind)) WITHOUT ROWID;"
    "CREATE TABLE ranges(first BLOB PRIMARY KEY, past BLOB NOT NULL, listed INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE TABLE heard(key BLOB PRIMARY KEY, at INTEGER NOT NULL, sequencer BLOB,"
    "  guessed INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE bounds(key BLOB PRIMARY KEY) WITHOUT ROWID;"
    "INSERT INTO facts VALUES('next_directory', 1), ('hidden', 0);";

// Holds the lock beside the database for as long as it lives: while a connection is made, and while the
// file is replaced. Never two connections at once: changing a new file to WAL is no transaction that
// waits for its turn, SQLite says at once that the file is locked.
Result<UniqueFd> lock_beside(const std::string& path) {
  const std::string name = path + ".lock";
  UniqueFd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail_on("opening", name);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_on("locking", name);
  }
  return fd;
}

Result<void> prepare_all(NamesConnection& c) {
  const std::array<std::pair<SqliteStatement*, const char*>, 24> all = {{
      {&c.begin, "BEGIN"},
      {&c.commit, "COMMIT"},
      {&c.find_directory, "SELECT id FROM entries WHERE parent=? AND name=? AND kind=0"},
      {&c.find_entry,
       "SELECT id, size, modified, etag, metadata FROM entries"
       " WHERE parent=? AND name=? AND kind=?"},
      {&c.first_entries,
       "SELECT name, kind, id, size, modified, etag, metadata FROM entries"
       " WHERE parent=? AND name>=? ORDER BY name, kind LIMIT ?"},
      {&c.next_entries,
       "SELECT name, kind, id, size, modified, etag, metadata FROM entries"
       " WHERE parent=? AND (name, kind)>(?, ?) ORDER BY name, kind LIMIT ?"},
      {&c.any_entry, "SELECT 1 FROM entries WHERE parent=? LIMIT 1"},
      {&c.put_object,
       "INSERT OR REPLACE INTO entries(parent, name, kind, size, modified, etag, metadata)"
       " VALUES(?, ?, 1, ?, ?, ?, ?)"},
      {&c.remove_entry, "DELETE FROM entries WHERE parent=? AND name=? AND kind=?"},
      {&c.put_directory, "INSERT INTO entries(parent, name, kind, id) VALUES(?, ?, 0, ?)"},
      {&c.set_directory_object,
       "UPDATE entries SET size=?, modified=?, etag=?, metadata=?"
       " WHERE parent=? AND name=? AND kind=0"},
      {&c.find_range,
       "SELECT first, past, listed FROM ranges WHERE first<=? ORDER BY first DESC LIMIT 1"},
      {&c.next_range,
       "SELECT first, past, listed FROM ranges WHERE first>? ORDER BY first LIMIT 1"},
      {&c.put_range, "INSERT OR REPLACE INTO ranges VALUES(?, ?, ?)"},
      {&c.remove_range, "DELETE FROM ranges WHERE first=?"},
      {&c.find_heard, "SELECT at, sequencer, guessed FROM heard WHERE key=?"},
      {&c.list_heard, "SELECT key FROM heard WHERE key>=? AND key<? AND at>=?"},
      {&c.put_heard,
       "INSERT INTO heard VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key)"
       " DO UPDATE SET at=?2, sequencer=coalesce(?3, sequencer), guessed=?4"},
      {&c.settle_heard, "UPDATE heard SET guessed=0 WHERE key=?"},
      {&c.list_bounds, "SELECT key FROM bounds WHERE key>? AND key<? ORDER BY key"},
      {&c.put_bound, "INSERT OR IGNORE INTO bounds VALUES(?)"},
      {&c.remove_bounds, "DELETE FROM bounds"},
      {&c.get_fact, "SELECT value FROM facts WHERE name=?"},
      {&c.put_fact, "INSERT OR REPLACE INTO facts VALUES(?, ?)"},
  }};
  for (const auto& [statement, sql] : all) *statement = ATOLL_TRY(c.sqlite.prepare(sql));
  // Without the sequencer's limit: what was heard without one matters only to listings under way.
  c.purge_heard =
      ATOLL_TRY(c.sqlite.prepare("DELETE FROM heard WHERE at<?1 AND (sequencer IS NULL OR at<?2)"));
  return {};
}

// What a transaction before this one knew may be wrong by now.
void begin_work(NamesConnection& c) {
  c.path.clear();
  c.path_ids.clear();
  c.hidden_change = 0;
  c.next_directory = 0;
}

Result<ino_t> inode_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail_on("looking at", path);
  return status.st_ino;
}

// 0700 and ours, or an error.
Result<void> make_private_directory(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0700) == 0) return {};
  if (errno == ENOENT && directory.find_last_of('/') > 0) {
    const size_t slash = directory.find_last_of('/');
    if (slash != std::string::npos) {
      ATOLL_TRY(make_private_directory(directory.substr(0, slash)));
      if (::mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return {};
    }
    return fail_on("making", directory);
  }
  return errno == EEXIST ? Result<void>{} : fail_on("making", directory);
}

Result<void> check_private_directory(const std::string& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return fail_on("looking at", directory);
  if (!S_ISDIR(status.st_mode)) {
    return fail(ErrorCode::kInvalidInput, fmt::format("{} is not a directory", directory));
  }
  if (status.st_uid != ::geteuid()) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} belongs to another user (uid {})", directory, status.st_uid),
                "name a cache directory of your own");
  }
  if ((status.st_mode & 077) != 0 && ::chmod(directory.c_str(), 0700) != 0) {
    return fail_on("making private", directory);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<NamesDatabase>> NamesDatabase::open(std::string path,
                                                           std::string identity,
                                                           Log log) {
  const std::string directory = path.substr(0, path.find_last_of('/'));
  ATOLL_TRY(make_private_directory(directory));
  ATOLL_TRY(check_private_directory(directory));
  std::unique_ptr<NamesDatabase> database(
      new NamesDatabase(std::move(path), std::move(identity), std::move(log)));
  ATOLL_TRY(database->read([](NamesConnection&) { return Result<void>{}; }));
  database->writer_ = std::thread([raw = database.get()] { raw->write_jobs(); });
  return database;
}

NamesDatabase::NamesDatabase(std::string path, std::string identity, Log log)
    : path_(std::move(path)), identity_(std::move(identity)), log_(std::move(log)) {}

NamesDatabase::~NamesDatabase() {
  {
    const std::lock_guard lock(jobs_mutex_);
    ending_ = true;
  }
  jobs_changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

// A damaged file is replaced here, once.
Result<std::unique_ptr<NamesConnection>> NamesDatabase::connect() {
  for (int attempt = 0;; ++attempt) {
    auto connection = std::make_unique<NamesConnection>();
    const auto ready = set_up(*connection);
    if (ready) return connection;
    if (ready.error().code != ErrorCode::kCorrupt || attempt > 0) {
      return tl::unexpected(ready.error());
    }
    ATOLL_TRY(remove_damaged(connection->inode, ready.error()));
  }
}

Result<void> NamesDatabase::set_up(NamesConnection& connection) {
  const UniqueFd lock = ATOLL_TRY(lock_beside(path_));
  {
    // Made here, and not by SQLite, for its mode, which those of the -wal and -shm files follow. Never
    // opened where it exists: closing any descriptor of a file drops this process's locks on it.
    const UniqueFd made(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made && errno != EEXIST) return fail_on("making", path_);
  }
  connection.inode = ATOLL_TRY(inode_of(path_));
  connection.sqlite = ATOLL_TRY(SqliteConnection::open(path_, kBusyTimeout));
  ATOLL_TRY(connection.sqlite.execute(kManners));
  ATOLL_TRY(make_schema(connection));
  return prepare_all(connection);
}

Result<void> NamesDatabase::make_schema(NamesConnection& connection) {
  const auto version = [&]() -> Result<int64_t> {
    auto statement = ATOLL_TRY(connection.sqlite.prepare("PRAGMA user_version"));
    auto rows = statement.run();
    ATOLL_TRY(rows.next());
    return rows.integer(0);
  };
  int64_t found = ATOLL_TRY(version());
  if (found == 0) {
    ATOLL_TRY(connection.sqlite.execute("BEGIN IMMEDIATE"));
    found = ATOLL_TRY(version());  // another process may have been faster
    if (found == 0) {
      ATOLL_TRY(connection.sqlite.execute(kSchema));
      auto put = ATOLL_TRY(connection.sqlite.prepare("INSERT INTO facts VALUES('identity', ?)"));
      ATOLL_TRY(put.run(std::string_view(identity_)).finish());
      ATOLL_TRY(connection.sqlite.execute(
          fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str()));
      found = kSchemaVersion;
    }
    ATOLL_TRY(connection.sqlite.execute("COMMIT"));
  }
  if (found != kSchemaVersion) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: schema version {}, not {}", path_, found, kSchemaVersion));
  }
  auto get = ATOLL_TRY(connection.sqlite.prepare("SELECT value FROM facts WHERE name='identity'"));
  auto rows = get.run();
  if (!ATOLL_TRY(rows.next()) || rows.bytes(0) != identity_) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: it is another bucket's", path_));
  }
  return {};
}

Result<void> NamesDatabase::remove_damaged(ino_t inode, const Error& damage) {
  const UniqueFd lock = ATOLL_TRY(lock_beside(path_));
  const auto now = inode_of(path_);
  if (!now || *now != inode) return {};  // somebody else has been here
  log_(fmt::format("{}; the bucket is listed anew", damage.message));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string name = path_ + suffix;
    if (::unlink(name.c_str()) != 0 && errno != ENOENT) return fail_on("removing", name);
  }
  return {};
}

// A connection to the file that has the name now.
Result<std::unique_ptr<NamesConnection>> NamesDatabase::take() {
  const auto inode = inode_of(path_);
  {
    const std::lock_guard lock(pool_mutex_);
    if (inode && !pool_.empty() && pool_.back()->inode == *inode) {
      auto connection = std::move(pool_.back());
      pool_.pop_back();
      return connection;
    }
    pool_.clear();
  }
  return connect();
}

Result<void> NamesDatabase::read(const Work& work) {
  for (int attempt = 0;; ++attempt) {
    auto connection = ATOLL_TRY(take());
    begin_work(*connection);
    auto result = connection->begin.run().finish();
    if (result) result = work(*connection);
    auto ended = connection->commit.run().finish();
    if (result && !ended) result = std::move(ended);
    if (!result && result.error().code == ErrorCode::kCorrupt && attempt == 0) {
      ATOLL_TRY(remove_damaged(connection->inode, result.error()));
      continue;
    }
    const std::lock_guard lock(pool_mutex_);
    if (!connection->sqlite.in_transaction() && pool_.size() < kIdleReaders) {
      pool_.push_back(std::move(connection));
    }
    return result;
  }
}

std::future<Result<void>> NamesDatabase::write_later(Work work) {
  Job job{std::move(work), {}};
  auto future = job.done.get_future();
  {
    const std::lock_guard lock(jobs_mutex_);
    jobs_.push_back(std::move(job));
  }
  jobs_changed_.notify_one();
  return future;
}

Result<void> NamesDatabase::write_once(const Work& work) {
  if (writer_connection_) {
    const auto inode = inode_of(path_);
    if (!inode || *inode != writer_connection_->inode) writer_connection_.reset();
  }
  if (!writer_connection_) writer_connection_ = ATOLL_TRY(take());
  NamesConnection& c = *writer_connection_;
  auto result = in_transaction(c, work);
  // What failed is undone; where even that fails, by closing the connection.
  if (!result && c.sqlite.in_transaction() && !c.sqlite.execute("ROLLBACK") &&
      result.error().code != ErrorCode::kCorrupt) {
    writer_connection_.reset();
  }
  return result;
}

Result<void> NamesDatabase::in_transaction(NamesConnection& c, const Work& work) {
  begin_work(c);
  ATOLL_TRY(c.sqlite.execute("BEGIN IMMEDIATE"));
  ATOLL_TRY(work(c));
  if (c.hidden_change != 0) {
    ATOLL_TRY(set_fact(c, "hidden", ATOLL_TRY(integer_fact(c, "hidden")) + c.hidden_change));
  }
  if (c.next_directory != 0) ATOLL_TRY(set_fact(c, "next_directory", c.next_directory));
  return c.sqlite.execute("COMMIT");
}

void NamesDatabase::write_jobs() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(jobs_mutex_);
      jobs_changed_.wait(lock, [&] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) break;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    auto result = write_once(job.work);
    if (!result && result.error().code == ErrorCode::kCorrupt && writer_connection_) {
      const ino_t inode = writer_connection_->inode;
      writer_connection_.reset();
      const auto removed = remove_damaged(inode, result.error());
      result = removed ? write_once(job.work) : removed;
    }
    job.done.set_value(std::move(result));
  }
  writer_connection_.reset();
}

Result<int64_t> integer_fact(NamesConnection& connection, std::string_view name) {
  auto rows = connection.get_fact.run(SqliteText{name});
  if (!ATOLL_TRY(rows.next())) return 0;
  return rows.integer(0);
}

Result<void> set_fact(NamesConnection& connection, std::string_view name, int64_t value) {
  return connection.put_fact.run(SqliteText{name}, value).finish();
}

}  // namespace atl::storage
