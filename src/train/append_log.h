// A log in an object store: bytes are collected and appended in larger pieces. A store that refuses
// (a full disk) costs no more than the log's tail: the failure is reported once, the bytes are
// kept, up to a bound, and tried again with the next flush. Not thread safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::train {

class AppendLog {
 public:
  // Continues the object, of which only the first `keep_bytes` stay (rewritten atomically where it
  // is longer). The store must outlive the log.
  static Result<AppendLog> open(storage::ObjectStore& store,
                                std::string key,
                                uint64_t keep_bytes = 0);

  void add(std::string_view bytes);
  Result<void> flush();
  // Of the object once everything added has reached it.
  uint64_t size_bytes() const { return written_bytes_ + pending_.size(); }
  size_t pending_bytes() const { return pending_.size(); }

 private:
  AppendLog(storage::ObjectStore& store, std::string key, uint64_t written_bytes)
      : store_(&store), key_(std::move(key)), written_bytes_(written_bytes) {}

  storage::ObjectStore* store_;
  std::string key_;
  uint64_t written_bytes_ = 0;
  std::string pending_;
};

}  // namespace atl::train
