// What has passed through the proxy, and what befell it. Thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "settings.h"

namespace atl::fault_proxy {

class Counts {
 public:
  void connection() {
    const std::scoped_lock lock(mutex_);
    ++connections_;
  }
  void request_begins(const std::string& kind) {
    const std::scoped_lock lock(mutex_);
    ++requests_[kind];
    most_at_once_ = std::max(most_at_once_, ++under_way_);
  }
  // Bytes of the bodies, as far as they were passed on.
  void request_ends(const std::string& kind, uint64_t request_bytes, uint64_t response_bytes) {
    const std::scoped_lock lock(mutex_);
    --under_way_;
    request_bytes_[kind] += request_bytes;
    response_bytes_[kind] += response_bytes;
  }
  void fault(Fault fault) {
    const std::scoped_lock lock(mutex_);
    ++faults_[static_cast<size_t>(fault)];
  }
  void unplugged() {
    const std::scoped_lock lock(mutex_);
    ++unplugged_;
  }
  void reset();
  // One object: connections, under_way, most_at_once, requests, request_bytes and response_bytes by kind, faults by
  // name. A request is counted when it comes, its bytes when it ends, a moment after its last byte has gone out:
  // whoever wants whole numbers waits until none is under way.
  std::string to_json() const;

 private:
  mutable std::mutex mutex_;
  uint64_t connections_ = 0;
  int64_t under_way_ = 0;
  int64_t most_at_once_ = 0;
  uint64_t unplugged_ = 0;
  std::map<std::string, uint64_t> requests_, request_bytes_, response_bytes_;
  std::array<uint64_t, kFaults> faults_{};
};

}  // namespace atl::fault_proxy
