// What a bucket holds, without asking it each time: its listing in an embedded database, shared by the
// processes of a machine, usable while it is still coming in.
//
// SQLite in WAL mode, one file for each remote: many readers beside one writer, safe against crashes
// at any point, and a transaction for 1,000 keys at a time.
//
// A key that nobody has seen yet is looked up by one LIST from that key on, which makes its up to 999
// successors known, too: one LIST for 1,000 keys, never one for each key or path component.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/remote.h"

namespace atl::storage {

struct NamespaceOptions {
  std::string directory;  // of the database; made 0700
  // How long what the bucket said is believed without asking again.
  std::chrono::seconds max_age{60};
  // An import in the background begins so much later: who wants it made has something else to read first.
  std::chrono::milliseconds head_start{1000};
  // A line for the user: a damaged database was made anew, an import in the background failed. From any
  // thread; null: to standard error.
  std::function<void(std::string_view line)> log;
  // For tests; null: the system's clock, which the processes of a machine share.
  std::function<std::chrono::system_clock::time_point()> now;
};

// Which differences an import takes over. What was never listed before is no difference: there, every
// object is taken over.
struct ImportPolicy {
  bool new_objects = true;
  bool changed_objects = true;
  bool deleted_objects = true;
};

struct ImportCounts {
  uint64_t listed = 0;
  uint64_t created = 0;
  uint64_t changed = 0;
  uint64_t deleted = 0;
  uint64_t requests = 0;
};

// A name in a directory. A key "a/b/c" makes the directories "a" and "a/b"; a key "a/" makes "a" a
// directory with an object of its own, whose metadata it carries.
struct DirectoryEntry {
  std::string name;  // the last component, without '/'
  bool is_directory = false;
  bool has_object = false;           // false for a directory that exists only by what lies in it
  ObjectInfo info;                   // where has_object; info.key ends in '/' for a directory
  std::optional<Metadata> metadata;  // where it has been asked for since the object's last change
};

// A change in the bucket as somebody tells it, an S3 event.
struct ObjectEvent {
  enum class Change {
    kPut,
    kRemoved,
    kUnclear,  // something happened to it; the bucket has to be asked when it is wanted
  };
  Change change = Change::kPut;
  ObjectInfo info;        // kPut: all of it; else the key, and as `modified` the event's time
  std::string sequencer;  // orders the events of one key: S3's hexadecimal number; may be ""
};

// Thread safe; many processes may have it open.
class Namespace {
 public:
  static Result<std::shared_ptr<Namespace>> open(std::shared_ptr<Remote> remote,
                                                 NamespaceOptions options);
  virtual ~Namespace() = default;

  // The object of this very key, at most max_age old. kNotFound. While an import is made in the background, an unknown
  // key is asked for by itself: its neighbours come with the import, and a HEAD takes less than a LIST.
  virtual Result<ObjectInfo> lookup(std::string_view key) = 0;
  // A path without leading or trailing '/', "" for the root: what is there, file or directory. Where
  // both "a" and "a/…" exist, the directory wins; the object "a" is counted in hidden_keys().
  virtual Result<DirectoryEntry> lookup_path(std::string_view path) = 0;
  // In byte order of the names, from the first name after `after`, until the visitor returns false. Keys
  // that no directory can show (storage/key.h) are left out and counted in hidden_keys().
  virtual Result<void> children(std::string_view directory,
                                std::string_view after,
                                const std::function<bool(const DirectoryEntry&)>& visit) = 0;
  // Every object whose key begins with `prefix`, in byte order, from a listing at most max_age old.
  virtual Result<void> list(std::string_view prefix,
                            const std::function<bool(const ObjectInfo&)>& visit) = 0;
  // With user metadata; one HEAD, once for each version.
  virtual Result<RemoteObject> stat(std::string_view key) = 0;

  // Lists the bucket below `prefix` and takes over what differs. One at a time for all processes: a
  // second one waits and shares the result.
  virtual Result<ImportCounts> import(std::string_view prefix,
                                      ImportPolicy policy,
                                      std::stop_token stop,
                                      const std::function<void(const ImportCounts&)>& progress) = 0;
  // Which differences a listing on demand and an import in the background take over; at first all.
  virtual void set_policy(ImportPolicy policy) = 0;
  // An import of everything in a thread of its own.
  virtual void import_in_background() = 0;
  // Whether a whole import has ended since the database was made; when.
  virtual std::optional<std::chrono::system_clock::time_point> imported_at() const = 0;

  // What we know because we did it, or heard it from an answer or an event.
  virtual Result<void> record(const ObjectInfo& info, const Metadata* metadata) = 0;
  virtual Result<void> forget(std::string_view key) = 0;
  // This version may not be there any more; "": whatever we know. When the key is next wanted, the bucket is asked.
  virtual Result<void> doubt(std::string_view key, std::string_view etag) = 0;
  // Whether it was news: an event that comes after a later one of its key changes nothing.
  virtual Result<bool> apply(const ObjectEvent& event) = 0;

  // Keys that lookup_path() and children() do not show.
  virtual uint64_t hidden_keys() const = 0;

  // An object that was known, or known not to be there, has been created, changed or removed in the
  // bucket, by others than record() and forget(): an import of this process or a listing has found it,
  // or an event told it.
  using OnChange = std::function<void(std::string_view key)>;
  // Called from a thread of the namespace's, which must not wait for the namespace; null ends it.
  virtual void on_change(OnChange changed) = 0;
};

}  // namespace atl::storage
