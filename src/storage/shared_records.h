// Small records that several machines share, in a directory that they all see or in a bucket: what machines that
// know nothing of each other need in order to agree upon one thing. The one step that only one of them can do is
// create(); it holds on NFS, too, where locks may not.
//
// Thread safe. Keys are a store's (storage/key.h). Nothing is cached: what is read is what lies there now.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/remote.h"

namespace atl::storage {

// A record is read up to here.
inline constexpr uint64_t kMaxRecordBytes = 64 << 10;

class SharedRecords {
 public:
  virtual ~SharedRecords() = default;

  virtual std::string uri() const = 0;  // for messages
  // false: there is one already, and it stays as it is. Of several that create at the same time one gets true.
  // Where an answer is lost, false may also mean that it is our own: who asks puts something of its own into it.
  // kUnsupported: a bucket whose server knows no conditional PUT.
  virtual Result<bool> create(std::string_view key, std::string_view text) = 0;
  virtual Result<void> replace(std::string_view key, std::string_view text) = 0;
  virtual Result<std::optional<std::string>> read(std::string_view key) = 0;
  // In byte order.
  virtual Result<std::vector<std::string>> keys(std::string_view prefix) = 0;
  // Of what is not there: no error.
  virtual Result<void> remove(std::string_view key) = 0;
};

// "DIR", "file:///DIR", which is made where it is missing, or "s3://BUCKET/PREFIX", none of whose requests takes
// longer than `patience`.
Result<std::unique_ptr<SharedRecords>> open_shared_records(std::string_view uri,
                                                           std::chrono::milliseconds patience);
std::unique_ptr<SharedRecords> records_in(std::shared_ptr<Remote> remote);

}  // namespace atl::storage
