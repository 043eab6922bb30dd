#include "train/append_log.h"

#include <algorithm>

namespace atl::train {
namespace {

// While a store refuses; a few thousand lines of metrics.
constexpr size_t kMaxPendingBytes = size_t{1} << 20;

}  // namespace

Result<AppendLog> AppendLog::open(storage::ObjectStore& store,
                                  std::string key,
                                  uint64_t keep_bytes) {
  const auto old = store.head(key);
  if (!old && old.error().code != ErrorCode::kNotFound) return tl::unexpected(old.error());
  uint64_t size_bytes = old ? old->size_bytes : 0;
  if (size_bytes > keep_bytes) {
    const auto blob = ATOLL_TRY(store.get(key));
    // A copy: the blob may be a view of the file that is replaced.
    const std::string kept(blob.text().substr(0, keep_bytes));
    ATOLL_TRY(storage::put_text(store, key, kept));
    size_bytes = kept.size();
  }
  return AppendLog(store, std::move(key), size_bytes);
}

void AppendLog::add(std::string_view bytes) {
  if (pending_.size() + bytes.size() > kMaxPendingBytes) return;
  pending_ += bytes;
}

Result<void> AppendLog::flush() {
  if (pending_.empty()) return {};
  auto appended = store_->append(key_, std::as_bytes(std::span(pending_)));
  if (appended) {
    written_bytes_ += pending_.size();
    pending_.clear();
    return {};
  }
  // A part may have reached the object; what has must not be written again.
  if (const auto info = store_->head(key_); info && info->size_bytes > written_bytes_) {
    const auto arrived = std::min<uint64_t>(info->size_bytes - written_bytes_, pending_.size());
    pending_.erase(0, arrived);
    written_bytes_ += arrived;
  }
  return appended;
}

}  // namespace atl::train
