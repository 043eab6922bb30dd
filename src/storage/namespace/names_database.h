// The file behind a Namespace: connections to it, its schema, its writer thread, and what happens when
// it is damaged.
//
// Tables (names and keys are bytes, times are nanoseconds since 1970):
//   entries   what lies in a directory, by (parent, name, kind): a directory (kind 0; its number is
//             the parent of what lies in it, the root's is 0) or an object (kind 1). A directory
//             exists while something lies in it or while it has an object of its own, "dir/". So a
//             directory's content is one range of one B-tree however large the bucket is, a key's row
//             repeats no path, and rows of a listing are appended, not scattered.
//   ranges    which parts of the key order have been listed, and when; they do not overlap
//   heard     what we know of single keys by ourselves (record, forget, an event), and when: a listing
//             that was asked for earlier does not undo it; `guessed`: the time in the row is not the
//             bucket's own
//   bounds    keys about 16 pages apart, learned by the last import: where several listings can begin
//   facts     single values
//
// Why SQLite and not LMDB, which reads a row several times faster: a lookup takes microseconds here,
// too, beside requests of milliseconds. LMDB maps its file: a full disk or a damaged page is a signal
// or a wrong value, where SQLite has an error code; its size has to be chosen beforehand and never
// shrinks; a reader that was killed keeps old pages alive. And the journal of the file layer wants SQL.
//
// The directory must be on a local disk: WAL needs memory that its processes share.
//
// Damage is noticed by SQLite's own checks as pages are read: whoever meets it removes the file and
// begins a new one, under a lock, and everyone else sees by the inode that theirs is gone. Nothing is
// lost that the bucket does not have.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "storage/sqlite.h"

namespace atl::storage {

// A connection with its prepared statements.
struct NamesConnection {
  SqliteConnection sqlite;
  ino_t inode = 0;

  SqliteStatement begin, commit;
  SqliteStatement find_directory, find_entry, first_entries, next_entries, any_entry;
  SqliteStatement put_object, remove_entry, put_directory, set_directory_object;
  SqliteStatement find_range, next_range, put_range, remove_range;
  SqliteStatement find_heard, list_heard, put_heard, settle_heard, purge_heard;
  SqliteStatement list_bounds, put_bound, remove_bounds;
  SqliteStatement get_fact, put_fact;

  // Of the transaction under way: the path last resolved and its directories' numbers, ("a/b/", [a, b]).
  std::string path;
  std::vector<int64_t> path_ids;
  int64_t hidden_change = 0;
  int64_t next_directory = 0;  // 0: not asked for yet
};

class NamesDatabase {
 public:
  using Work = std::function<Result<void>(NamesConnection&)>;
  using Log = std::function<void(std::string_view)>;

  // `path` is the database's; its directory is made. `identity` is kept in it.
  static Result<std::unique_ptr<NamesDatabase>> open(std::string path,
                                                     std::string identity,
                                                     Log log);
  ~NamesDatabase();
  NamesDatabase(const NamesDatabase&) = delete;
  NamesDatabase& operator=(const NamesDatabase&) = delete;

  // In one snapshot, on this thread. `work` may be run a second time, on an empty database.
  Result<void> read(const Work& work);
  // In one transaction, on the writer thread, in the order of the calls. The same.
  std::future<Result<void>> write_later(Work work);
  Result<void> write(Work work) { return write_later(std::move(work)).get(); }

  const std::string& path() const { return path_; }

 private:
  struct Job {
    Work work;
    std::promise<Result<void>> done;
  };

  NamesDatabase(std::string path, std::string identity, Log log);
  Result<std::unique_ptr<NamesConnection>> connect();
  Result<void> set_up(NamesConnection& connection);
  Result<std::unique_ptr<NamesConnection>> take();
  Result<void> make_schema(NamesConnection& connection);
  // Removes the file, if it is still the one with this inode.
  Result<void> remove_damaged(ino_t inode, const Error& damage);
  Result<void> write_once(const Work& work);
  Result<void> in_transaction(NamesConnection& connection, const Work& work);
  void write_jobs();

  const std::string path_;
  const std::string identity_;
  const Log log_;

  std::mutex pool_mutex_;
  std::vector<std::unique_ptr<NamesConnection>> pool_;  // readers at rest

  std::mutex jobs_mutex_;
  std::condition_variable jobs_changed_;
  std::deque<Job> jobs_;
  bool ending_ = false;
  std::unique_ptr<NamesConnection> writer_connection_;  // the writer thread's
  std::thread writer_;
};

Result<int64_t> integer_fact(NamesConnection& connection, std::string_view name);
Result<void> set_fact(NamesConnection& connection, std::string_view name, int64_t value);

}  // namespace atl::storage
