// The tree's local changes on disk: a row for each name that is not, or not only, as the bucket has it.
//
// A row says what is at (parent, name): a file, a directory, a symlink, or that nothing is there although
// the bucket has something (kGone). A directory's row lets the bucket's names show through beneath its
// own rows, unless it is opaque. The ancestors of a row have rows, too, up to the root; a name without a
// row is as the bucket has it.
//
// What is to become of the bucket is a state, not a list of steps: a row whose content or attributes are
// dirty shall be an object at its path; a key among the removals shall not be there. Doing that a second
// time changes nothing, so a crash between the bucket's answer and the journal's note of it is harmless.
//
// Not thread safe: the tree's lock guards it. Every change happens inside a Transaction of database().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/database.h"
#include "fs/extents.h"
#include "fs/file_layer.h"

namespace atl::fs {

enum class Kind : uint8_t { kGone = 0, kFile = 1, kDirectory = 2, kSymlink = 3 };

// The object that a row was made from: where a file's bytes are that are not on the local disk, and
// where metadata that is not ours comes from.
struct Base {
  std::string key;  // "": nowhere
  std::string etag;
  uint64_t size_bytes = 0;
  uint64_t limit = 0;  // bytes from here on have been truncated away, and are zeros
  bool operator==(const Base&) const = default;
};

struct Row {
  InodeNumber inode = 0;
  InodeNumber parent = 0;
  std::string name;
  Kind kind = Kind::kFile;
  uint32_t mode = 0;  // with the type
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t accessed_ns = 0;  // since 1970
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  uint64_t size_bytes = 0;
  bool opaque = false;
  std::string target;        // of a symlink
  bool has_content = false;  // there is a file of local content
  Extents present;           // which bytes below base.limit it holds; beyond, it is right anyway
  Base base;
  std::string known_etag;    // of the object at this very path, as we know it; "": none
  bool maybe_gone = false;   // an order to remove that object was taken back, perhaps too late
  bool xattrs_here = false;  // all of them are in the journal; else they are the base's
  bool content_dirty = false;
  bool attributes_dirty = false;  // metadata, or the place
  uint64_t change = 0;            // another number after each change that is to be exported

  // Of the bucket: what it is could not be asked for. Such a row never gets into the journal.
  bool guessed = false;

  bool dirty() const { return content_dirty || attributes_dirty; }
  bool operator==(const Row&) const = default;
};

struct Removal {
  std::string key;
  std::string etag;  // of the version that is to go; one that this journal wrote goes in any case
};

using Xattrs = std::map<std::string, std::string>;

class Journal {
 public:
  // Makes it where it is not there. `identity`: of the remote that it belongs to; EINVAL where the journal
  // is another one's.
  static FsResult<std::unique_ptr<Journal>> open(const std::string& path,
                                                 const std::string& identity);

  Database& database() { return *database_; }
  // Of this journal alone.
  FsResult<std::string> name();

  FsResult<std::optional<Row>> row(InodeNumber inode);
  FsResult<std::optional<Row>> child(InodeNumber parent, std::string_view name);
  // In byte order of the names, from the first after `after`, at most `limit`.
  FsResult<std::vector<Row>> children(InodeNumber parent, std::string_view after, size_t limit);
  FsResult<bool> has_children(InodeNumber parent, bool also_gone);
  FsResult<void> insert(const Row& row);
  FsResult<void> update(const Row& row);  // all of it but its xattrs
  FsResult<void> erase(InodeNumber inode);

  // Rows to be exported, and rows that keep a content which the bucket has, too, oldest change first.
  FsResult<std::vector<InodeNumber>> dirty_rows();
  FsResult<std::vector<InodeNumber>> kept_rows();
  FsResult<std::vector<InodeNumber>> rows_with_content();
  FsResult<std::vector<InodeNumber>> opaque_rows();
  // Rows, at any path, whose missing bytes are in the object `key`.
  FsResult<std::vector<InodeNumber>> rows_based_on(std::string_view key);

  FsResult<std::optional<std::string>> removal(std::string_view key);  // its ETag
  FsResult<void> add_removal(std::string_view key, std::string_view etag);
  FsResult<void> erase_removal(std::string_view key);
  FsResult<std::vector<Removal>> removals(std::string_view after, size_t limit);
  // Whether `path` itself or something below it is to be removed.
  FsResult<bool> has_removals(std::string_view path);
  FsResult<uint64_t> count_removals();

  FsResult<Xattrs> xattrs(InodeNumber inode);
  FsResult<void> set_xattr(InodeNumber inode, std::string_view name, std::string_view value);
  FsResult<void> remove_xattr(InodeNumber inode, std::string_view name);

  // When a file was last opened for reading, in seconds since 1970.
  FsResult<void> note_access(std::string_view path, int64_t when_s);
  FsResult<std::optional<int64_t>> last_access(std::string_view path);

  // Numbers that were never given before, also not by an earlier process.
  FsResult<uint64_t> next_number();

 private:
  explicit Journal(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  FsResult<std::vector<InodeNumber>> inodes(Query query);

  std::unique_ptr<Database> database_;
};

}  // namespace atl::fs
