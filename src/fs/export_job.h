// What the parts of one export share; only the exporter's own files include it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "fs/exporter.h"

namespace atl::fs {

// Holds a key for one writer or remover at a time.
class KeyClaim {
 public:
  KeyClaim(std::mutex& mutex, BusyKeys& busy, std::string key)
      : mutex_(mutex), busy_(busy), key_(std::move(key)) {
    static std::atomic<uint64_t> claims{0};
    const std::lock_guard lock(mutex_);
    held_ = busy_.emplace(key_, ++claims).second;
  }
  KeyClaim(const KeyClaim&) = delete;
  KeyClaim& operator=(const KeyClaim&) = delete;
  ~KeyClaim() {
    if (!held_) return;
    const std::lock_guard lock(mutex_);
    busy_.erase(key_);
  }
  bool held() const { return held_; }

 private:
  std::mutex& mutex_;
  BusyKeys& busy_;
  std::string key_;
  bool held_ = false;
};

struct Exporter::Job {
  Row row;           // as it was when the export began
  std::string path;  // then
  std::string key;
  std::unique_ptr<KeyClaim> claim;  // of the key
  bool insist = false;
  bool sent_again = false;  // by the client, so that there may be two
  bool was_tried = false;   // before, by an export whose answer may not have come
  Xattrs xattrs;            // where row.xattrs_here
  std::shared_ptr<Content> content;
  std::unique_ptr<Content::Export> guard;  // of a file whose content goes out
  storage::Metadata metadata;              // what is written
  std::string journal;                     // its name
  std::string tag;

  bool sends_content() const {
    return row.kind == Kind::kFile ? row.content_dirty : row.base.key.empty();
  }
};

}  // namespace atl::fs
