// For tests: SQLite's own file system, of which one call on a journal's files fails, counted over all of them: a write, a
// sync or a truncation. From then on `keep_failing` says whether the others fail, too. It can tell of each sync that has
// worked. For what is opened after get().
#pragma once

#include <sqlite3.h>

#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

namespace atl::fs {

// Thread safe.
class FailingFiles {
 public:
  static FailingFiles& get() {
    static FailingFiles files;
    return files;
  }
  void fail_at(int call, bool keep_failing, int error) {
    const std::lock_guard lock(mutex_);
    left_ = call;
    keep_failing_ = keep_failing;
    error_ = error;
    failed_ = false;
  }
  void never() {
    const std::lock_guard lock(mutex_);
    left_ = -1;
  }
  bool failed() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  // Called with the mutex held, so that none is on its way when this returns.
  void on_sync(std::function<void()> synced) {
    const std::lock_guard lock(mutex_);
    synced_ = std::move(synced);
  }

 private:
  struct File {
    sqlite3_file base;
    bool is_journal;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  FailingFiles() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    vfs_.zName = "failing";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = open;
    methods_.iVersion = 3;
    methods_.xClose = [](sqlite3_file* f) { return of(f)->pMethods->xClose(of(f)); };
    methods_.xRead = [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
      return of(f)->pMethods->xRead(of(f), to, n, at);
    };
    methods_.xWrite = [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
      if (const int error = get().next(f)) return error;
      return of(f)->pMethods->xWrite(of(f), from, n, at);
    };
    methods_.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
      if (const int error = get().next(f)) return error;
      return of(f)->pMethods->xTruncate(of(f), size);
    };
    methods_.xSync = [](sqlite3_file* f, int flags) {
      if (const int error = get().next(f)) return error;
      const int code = of(f)->pMethods->xSync(of(f), flags);
      if (code == SQLITE_OK) get().tell_of_sync(f);
      return code;
    };
    methods_.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
      return of(f)->pMethods->xFileSize(of(f), size);
    };
    methods_.xLock = [](sqlite3_file* f, int lock) { return of(f)->pMethods->xLock(of(f), lock); };
    methods_.xUnlock = [](sqlite3_file* f, int lock) {
      return of(f)->pMethods->xUnlock(of(f), lock);
    };
    methods_.xCheckReservedLock = [](sqlite3_file* f, int* result) {
      return of(f)->pMethods->xCheckReservedLock(of(f), result);
    };
    methods_.xFileControl = [](sqlite3_file* f, int op, void* arg) {
      return of(f)->pMethods->xFileControl(of(f), op, arg);
    };
    methods_.xSectorSize = [](sqlite3_file* f) { return of(f)->pMethods->xSectorSize(of(f)); };
    methods_.xDeviceCharacteristics = [](sqlite3_file* f) {
      return of(f)->pMethods->xDeviceCharacteristics(of(f));
    };
    methods_.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** to) {
      return of(f)->pMethods->xShmMap(of(f), page, size, extend, to);
    };
    methods_.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
      return of(f)->pMethods->xShmLock(of(f), offset, n, flags);
    };
    methods_.xShmBarrier = [](sqlite3_file* f) { of(f)->pMethods->xShmBarrier(of(f)); };
    methods_.xShmUnmap = [](sqlite3_file* f, int remove) {
      return of(f)->pMethods->xShmUnmap(of(f), remove);
    };
    methods_.xFetch = [](sqlite3_file* f, sqlite3_int64 at, int n, void** to) {
      return of(f)->pMethods->xFetch(of(f), at, n, to);
    };
    methods_.xUnfetch = [](sqlite3_file* f, sqlite3_int64 at, void* from) {
      return of(f)->pMethods->xUnfetch(of(f), at, from);
    };
    sqlite3_vfs_register(&vfs_, 1);
  }
  static sqlite3_file* of(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real(); }
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
    auto* ours = reinterpret_cast<File*>(file);
    ours->base.pMethods = nullptr;
    ours->is_journal = name != nullptr && std::strstr(name, "/journal.db") != nullptr;
    const int code = get().real_->xOpen(get().real_, name, ours->real(), flags, out);
    if (ours->real()->pMethods != nullptr) ours->base.pMethods = &get().methods_;
    return code;
  }
  int next(sqlite3_file* file) {
    const std::lock_guard lock(mutex_);
    if (left_ < 0 || !reinterpret_cast<File*>(file)->is_journal) return SQLITE_OK;
    if (left_ > 0) {
      --left_;
      return SQLITE_OK;
    }
    failed_ = true;
    if (!keep_failing_) left_ = -1;
    return error_;
  }

  void tell_of_sync(sqlite3_file* file) {
    const std::lock_guard lock(mutex_);
    if (synced_ && reinterpret_cast<File*>(file)->is_journal) synced_();
  }

  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
  sqlite3_io_methods methods_{};
  mutable std::mutex mutex_;
  int left_ = -1;
  bool keep_failing_ = false;
  bool failed_ = false;
  int error_ = SQLITE_IOERR_WRITE;
  std::function<void()> synced_;
};

}  // namespace atl::fs
