// Writes of the bucket that were sent and have had no answer: they may still take effect, and what is written or removed
// there next has to wait until they no longer can.
//
// An upload has a condition on what it replaces, so only a removal has to wait for one: it would come back. A copy and a
// removal have none, so everything waits for them; but the same copy may be sent again.
//
// Thread safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace atl::fs {

class LateWrites {
 public:
  // kAny: what an earlier process may have sent.
  enum class Kind { kUpload, kCopy, kRemoval, kAny };

  // `late_write`: how much later one may take effect; a copy so much more for each 256 MiB.
  explicit LateWrites(std::chrono::milliseconds late_write) : late_write_(late_write) {}

  // It has been sent just now, and had no answer. `tag`: the write tag of a copy.
  void note(const std::string& key, Kind kind, std::string_view tag = {}, uint64_t size_bytes = 0);
  // Whether an upload, or a copy with this tag, has to wait.
  bool hold_up_write(std::string_view key, std::optional<std::string_view> copy_tag);
  bool hold_up_removal(std::string_view key);

 private:
  using Clock = std::chrono::steady_clock;
  struct Write {
    Clock::time_point until;
    Kind kind = Kind::kAny;
    std::string tag;
  };
  using Writes = std::map<std::string, Write, std::less<>>;
  const Write* find(Writes& writes, std::string_view key);  // mutex_ held

  const std::chrono::milliseconds late_write_;
  std::mutex mutex_;
  Writes uploads_;
  Writes unconditional_;
  static constexpr size_t kTidyFrom = 4096;
  size_t tidy_from_ = kTidyFrom;  // of either
};

}  // namespace atl::fs
