#include "fs/late_writes.h"

#include <algorithm>

namespace atl::fs {

void LateWrites::note(const std::string& key,
                      Kind kind,
                      std::string_view tag,
                      uint64_t size_bytes) {
  constexpr uint64_t kBytesInThatTime = uint64_t{256} << 20;
  const uint64_t copied = kind == Kind::kUpload ? 0 : size_bytes;
  const auto now = Clock::now();
  const auto until = now + late_write_ * (1 + static_cast<int64_t>(copied / kBytesInThatTime));
  const std::lock_guard lock(mutex_);
  Writes& writes = kind == Kind::kUpload ? uploads_ : unconditional_;
  // Those that are over are thrown out now and then.
  if (writes.size() >= tidy_from_) {
    std::erase_if(writes, [&](const auto& write) { return write.second.until <= now; });
    tidy_from_ = std::max(kTidyFrom, 2 * writes.size());
  }
  writes[key] = {until, kind, std::string(tag)};
}

const LateWrites::Write* LateWrites::find(Writes& writes, std::string_view key) {
  const auto found = writes.find(key);
  if (found == writes.end()) return nullptr;
  if (Clock::now() < found->second.until) return &found->second;
  writes.erase(found);
  return nullptr;
}

bool LateWrites::hold_up_write(std::string_view key, std::optional<std::string_view> copy_tag) {
  const std::lock_guard lock(mutex_);
  const Write* write = find(unconditional_, key);
  if (write == nullptr) return false;
  return write->kind != Kind::kCopy || !copy_tag || write->tag != *copy_tag;
}

bool LateWrites::hold_up_removal(std::string_view key) {
  const std::lock_guard lock(mutex_);
  if (find(uploads_, key) != nullptr) return true;
  const Write* write = find(unconditional_, key);
  return write != nullptr && write->kind != Kind::kRemoval;
}

}  // namespace atl::fs
