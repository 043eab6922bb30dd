#include "storage/cache/append_buffer.h"

#include <algorithm>
#include <vector>

namespace atl::storage {

using Clock = std::chrono::steady_clock;

AppendBuffer::AppendBuffer(Upload upload, AppendOptions options)
    : upload_(std::move(upload)), options_(options) {}

AppendBuffer::~AppendBuffer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  (void)flush();  // whoever wants to know has called flush() himself
}

Result<void> AppendBuffer::append(std::string_view key,
                                  std::span<const std::byte> bytes,
                                  const Load& load) {
  const std::lock_guard appending(append_mutex_);
  std::shared_ptr<Log> log;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = logs_.find(key); found != logs_.end()) log = found->second;
  }
  const bool is_new = log == nullptr;
  if (is_new) {
    log = std::make_shared<Log>(ATOLL_TRY(NamelessFile::create()));
    const Blob before = ATOLL_TRY(load());
    ATOLL_TRY(log->file.write_at(0, before.bytes()));
    log->size_bytes = log->sent_bytes = before.size();
  }
  // Beyond what a thread that sends looks at.
  ATOLL_TRY(log->file.write_at(log->size_bytes, bytes));
  const std::lock_guard lock(mutex_);
  if (log->size_bytes == log->sent_bytes) log->due = Clock::now() + options_.upload_after;
  log->size_bytes += bytes.size();
  if (is_new) logs_.emplace(key, std::move(log));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_all();
  return {};
}

bool AppendBuffer::is_due(const Log& log, Clock::time_point now) const {
  const uint64_t unsent = log.size_bytes - log.sent_bytes;
  if (unsent == 0 || log.sending) return false;
  return now >= log.due || unsent >= std::max(options_.upload_bytes, log.sent_bytes / 8);
}

void AppendBuffer::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const auto now = Clock::now();
    auto next = Clock::time_point::max();
    const auto due =
        std::ranges::find_if(logs_, [&](const auto& entry) { return is_due(*entry.second, now); });
    if (due != logs_.end()) {
      const auto [key, log] = *due;
      // Tried again after the same time; flush() has the error.
      if (!send(key, log, lock)) log->due = Clock::now() + options_.upload_after;
      continue;
    }
    for (const auto& [key, log] : logs_) {
      if (log->size_bytes > log->sent_bytes && !log->sending) next = std::min(next, log->due);
    }
    if (next == Clock::time_point::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, next);
    }
  }
}

// Unlocks while it sends; the key is the caller's own copy. The log does not change under it: appending only makes it longer.
Result<void> AppendBuffer::send(const std::string& key,
                                const std::shared_ptr<Log>& log,
                                std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [&] { return !log->sending; });
  const uint64_t size_bytes = log->size_bytes;
  if (log->sent_bytes >= size_bytes) return {};
  log->sending = true;
  lock.unlock();
  auto sent = upload_(key, {size_bytes, [log](uint64_t offset, uint64_t size) {
                              return log->file.read_at(offset, size);
                            }});
  lock.lock();
  log->sending = false;
  if (sent) {
    log->sent_bytes = std::max(log->sent_bytes, size_bytes);
    log->due = Clock::now() + options_.upload_after;
  }
  changed_.notify_all();
  return sent;
}

Result<void> AppendBuffer::flush() {
  std::unique_lock lock(mutex_);
  const Logs logs = logs_;
  Result<void> result;
  for (const auto& [key, log] : logs) {
    auto sent = send(key, log, lock);
    if (!sent && result) result = std::move(sent);
  }
  return result;
}

Result<void> AppendBuffer::flush(std::string_view key) {
  std::unique_lock lock(mutex_);
  const auto found = logs_.find(key);
  if (found == logs_.end()) return {};
  const std::string name = found->first;
  const std::shared_ptr<Log> log = found->second;
  return send(name, log, lock);
}

void AppendBuffer::forget(std::string_view key) {
  std::unique_lock lock(mutex_);
  const auto found = logs_.find(key);
  if (found == logs_.end()) return;
  const std::shared_ptr<Log> log = found->second;
  logs_.erase(found);
  // An older content must not arrive after what the caller is about to do.
  changed_.wait(lock, [&] { return !log->sending; });
  log->sent_bytes = log->size_bytes;
}

}  // namespace atl::storage
