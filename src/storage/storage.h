// Object stores: everything that reads a dataset or writes a run goes through this interface, so a
// directory and a bucket are the same to the rooms above.
//
// Keys are relative, '/'-separated, and never leave the store: "", ".", "..", a leading '/' or an
// empty component is refused with kInvalidInput (hostile keys come from JSON's file_name). The rest
// of the rules: storage/key.h.
//
// All members are thread safe. Errors: kNotFound for a key that is not there, kInconsistent for one that a bucket has
// and does not give, kIo for the rest, with the store's URI and the key in the message.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::storage {

struct ObjectInfo {
  std::string key;
  uint64_t size_bytes = 0;
  std::chrono::system_clock::time_point modified;
  std::string etag;  // changes when the content does; for local files made of inode, size and mtime
};

// Bytes of an object, as get_range() is asked for them.
struct ObjectRange {
  std::string key;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
};

// Immutable bytes that keep what they live in alive: a mapped file or a buffer. Cheap to copy.
class Blob {
 public:
  Blob() = default;
  explicit Blob(std::vector<std::byte> bytes);
  Blob(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  size_t size() const { return bytes_.size(); }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

// The right to be a store's only writer, for as long as the guard lives.
struct Claim {
  std::shared_ptr<const void> guard;  // null where the store knows no locks
  std::string note;                   // for the user, where a lock was wanted and could not be had
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // For messages: "/data/coco", "s3://bucket/coco".
  virtual std::string uri() const = 0;

  // As it is now. What it says holds for the reads that follow.
  virtual Result<ObjectInfo> head(std::string_view key) = 0;
  // The whole object. Small files are read, large ones mapped.
  virtual Result<Blob> get(std::string_view key) = 0;
  // Fewer bytes where the object ends first, none from its end on.
  virtual Result<Blob> get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) = 0;
  // Replaces the object atomically and durably: a reader, or a restart after a crash or a full
  // disk, sees the old content or the new, never a part. The parts are written one after the other.
  virtual Result<void> put(std::string_view key,
                           std::span<const std::span<const std::byte>> parts) = 0;
  // Adds to the end (logs). A crash may lose the tail, never what was there before.
  virtual Result<void> append(std::string_view key, std::span<const std::byte> bytes) = 0;
  // Every object whose key begins with `prefix`, in byte order of the keys; the visitor returns
  // false to stop. Unfinished temporary files of put() are not shown.
  virtual Result<void> list(std::string_view prefix,
                            const std::function<bool(const ObjectInfo&)>& visit) = 0;
  // Removing what is not there is no error.
  virtual Result<void> remove(std::string_view key) = 0;
  // What will be read next, in this order, whole objects: a store behind a network fetches them ahead,
  // within its memory. Keys of a later call come after those of an earlier one. A hint: nothing fails.
  virtual void will_need(std::span<const std::string> /*keys*/) {}
  // The same for parts of objects (records of a large file): each will be read by a get_range() of just
  // these bytes. Both kinds make one order.
  virtual void will_need_ranges(std::span<const ObjectRange> /*ranges*/) {}
  // Returns when everything appended so far is where a crash of this machine does not reach it.
  virtual Result<void> flush() { return {}; }
  // Keeps a second writer out: while the claim lives, another one, from this process or any other,
  // is refused with kInvalidInput. It ends with the process, however that ends. Reading and writing
  // need no claim. A store that knows no locks gives one that keeps nobody out.
  virtual Result<Claim> claim() { return Claim{}; }
};

// "DIR", "file:///DIR": the directory, which need not exist yet (put makes it). "s3://BUCKET/PREFIX": that part
// of the bucket, through the cache, with the settings of the environment (storage/environment.h). `for_writing`
// checks that the place can be made and written to, so that a bad --out fails at the start.
Result<std::unique_ptr<ObjectStore>> open_store(std::string_view uri, bool for_writing = false);

// A single file or object named by path or URI: its store and its key.
struct Location {
  std::unique_ptr<ObjectStore> store;
  std::string key;
};
Result<Location> open_location(std::string_view uri);

// Convenience over put().
Result<void> put_text(ObjectStore& store, std::string_view key, std::string_view text);

}  // namespace atl::storage
