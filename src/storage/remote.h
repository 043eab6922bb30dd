// What lies behind a network: a bucket, or the part of it below a prefix. The cache, the namespace and
// the file system are written against this interface; storage/s3/s3_remote.h is the real one,
// storage/fake_remote.h the one in memory for tests.
//
// Keys are the bucket's own, relative to the prefix: any 1 to 1,024 bytes, also ones that no directory
// could hold ("a//b", "../x", "dir/"). Whoever turns one into a path on disk checks it first
// (storage/key.h).
//
// All members are thread safe. What can be tried again has been tried again, within the deadline, when
// an error comes out. Errors, with the bucket and the key in the message:
//   kNotFound    no such object or bucket
//   kPermission  the server refused these credentials; the hint says what to check
//   kConflict    if_match or if_none_match did not hold: the object is another one by now
//   kUnsupported the server lacks a way of writing (501): conditional PUT, a copy
//   kCancelled   the caller gave up
//   kIo          the rest: no answer within the deadline, a broken connection, a broken body
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::storage {

// User metadata: names in lower case without "x-amz-meta-".
using Metadata = std::map<std::string, std::string>;

struct RemoteObject {
  ObjectInfo info;
  Metadata metadata;
};

// A part of an object, and what the answer said of the whole.
struct RangeBytes {
  Blob bytes;       // fewer than asked where the object ends first
  ObjectInfo info;  // size_bytes is the whole object's
};

struct RangeRequest {
  std::string key;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;  // at least 1
  std::string if_match;     // an ETag; "": whatever is there
};

struct ListPage {
  std::vector<ObjectInfo> objects;  // in byte order of their keys
  std::string next;                 // hand it to the next call; "" on the last page
};

// What replaces an object: bytes in memory, or a file read in pieces while it is sent.
struct UploadSource {
  uint64_t size_bytes = 0;
  // The bytes [offset, offset + size). Called from any thread, also several at a time, and again
  // where a part is tried again; must give the same bytes each time.
  std::function<Result<Blob>(uint64_t offset, uint64_t size_bytes)> read;
};
UploadSource upload_source(Blob bytes);

struct UploadOptions {
  Metadata metadata;
  std::string content_type;
  std::string if_match;    // replace only this version
  bool if_absent = false;  // create only
  std::stop_token stop;
};

class Remote {
 public:
  using OnRange = std::function<void(Result<RangeBytes>)>;

  virtual ~Remote() = default;

  // "s3://bucket/prefix", without a '/' at its end.
  virtual std::string uri() const = 0;
  // What tells this bucket from every other one, endpoint included; the cache's keys begin with it.
  virtual std::string identity() const = 0;

  // Starts one ranged GET and returns. `done` is called once, on the I/O thread: it must not block and
  // must not call the blocking members below. An offset at or past the end gives no bytes.
  virtual void read_async(RangeRequest request, OnRange done) = 0;
  // The same, waiting. Not from `done`.
  Result<RangeBytes> read(RangeRequest request);

  virtual Result<RemoteObject> stat(std::string_view key) = 0;
  // One request for up to 1,000 keys that begin with `prefix`, after `next` of the page before or,
  // at the start, after the key `start_after`.
  virtual Result<ListPage> list_page(std::string_view prefix,
                                     std::string_view next,
                                     std::string_view start_after = {}) = 0;
  // Replaces the object atomically; large ones in parts, several at a time; nothing is left behind
  // on failure. Gives the new object's ETag.
  virtual Result<ObjectInfo> upload(std::string_view key,
                                    const UploadSource& source,
                                    const UploadOptions& options) = 0;
  // Inside the server, with new metadata; `from` = `to` changes the metadata alone. if_match is of `from`.
  // Neither this nor a removal has a condition on what it replaces: one that was sent and not answered may take effect late,
  // over what was written there since. `sent_again`, if not null, is set where that is so although an answer came: it was
  // sent more than once.
  virtual Result<ObjectInfo> copy(std::string_view from,
                                  std::string_view to,
                                  const Metadata& metadata,
                                  std::string_view if_match = {},
                                  bool* sent_again = nullptr) = 0;
  // Removing what is not there is no error. One request for 1,000 keys. The error names the first key
  // that is still there; the others may be gone.
  virtual Result<void> remove(std::span<const std::string> keys, bool* sent_again = nullptr) = 0;
};

// One page of what begins with `prefix` and lies behind the key `start_after`. That the bucket is not there, as behind an
// endpoint that is being set up, is kIo: it is not that nothing is in it.
Result<ListPage> page_after(Remote& remote,
                            std::string_view prefix,
                            std::string_view start_after = {});

// The object, asked of the bucket itself. kNotFound means that it has gone: neither does a HEAD find it nor a LIST show
// it. A HEAD alone cannot tell that from a bucket that is not there. kInconsistent: it is listed, and not found.
Result<RemoteObject> look_for(Remote& remote, std::string_view key);

}  // namespace atl::storage
