#include "storage/fake_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "storage/key.h"

namespace atl::storage {
namespace {

constexpr std::chrono::minutes kMostHeld{1};

tl::unexpected<Error> not_found(std::string_view key) {
  return fail(ErrorCode::kNotFound, fmt::format("fake:{}: no such object", key));
}

ObjectInfo info_of(std::string_view key, size_t size_bytes, uint64_t version) {
  const std::chrono::system_clock::time_point modified{std::chrono::seconds(version)};
  return {std::string(key), size_bytes, modified, fmt::format("v{}", version)};
}

}  // namespace

void FakeStore::fail_call(int n, Error error) {
  const std::lock_guard lock(mutex_);
  calls_until_failure_ = n;
  failure_ = std::move(error);
}

std::vector<std::string> FakeStore::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

void FakeStore::fail_calls(std::string beginning, std::optional<Error> error) {
  const std::lock_guard lock(mutex_);
  failing_ = std::move(beginning);
  failure_of_all_ = std::move(error);
}

void FakeStore::hold_calls(std::string beginning) {
  const std::lock_guard lock(mutex_);
  held_ = std::move(beginning);
}

void FakeStore::release() {
  const std::lock_guard lock(mutex_);
  held_.reset();
  changed_.notify_all();
}

void FakeStore::wait_until_one_is_held() const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kMostHeld, [this] { return waiting_ > 0; });
}

Result<void> FakeStore::enter(std::unique_lock<std::mutex>& lock, const std::string& call) {
  calls_.push_back(call);
  if (held_ && call.starts_with(*held_)) {
    ++waiting_;
    changed_.notify_all();
    const bool released = changed_.wait_for(lock, kMostHeld, [this] { return !held_; });
    --waiting_;
    if (!released) return fail(ErrorCode::kIo, fmt::format("fake: {}: never released", call));
  }
  if (failure_ && --calls_until_failure_ == 0) {
    Error error = *std::exchange(failure_, std::nullopt);
    return tl::unexpected(std::move(error).with_context("fake:"));
  }
  if (failure_of_all_ && call.starts_with(failing_)) {
    return tl::unexpected(Error(*failure_of_all_).with_context("fake:"));
  }
  return {};
}

Result<ObjectInfo> FakeStore::head(std::string_view key) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("head {}", key)));
  ATOLL_TRY(check_key(key));
  const auto found = objects_.find(key);
  if (found == objects_.end()) return not_found(key);
  return info_of(key, found->second.size(), versions_.find(key)->second);
}

Result<Blob> FakeStore::get(std::string_view key) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("get {}", key)));
  ATOLL_TRY(check_key(key));
  const auto found = objects_.find(key);
  if (found == objects_.end()) return not_found(key);
  return Blob(found->second);
}

Result<Blob> FakeStore::get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("get_range {} {} {}", key, offset, size_bytes)));
  ATOLL_TRY(check_key(key));
  const auto found = objects_.find(key);
  if (found == objects_.end()) return not_found(key);
  const std::span<const std::byte> all(found->second);
  const auto begin = std::min<uint64_t>(offset, all.size());
  const auto part = all.subspan(begin, std::min<uint64_t>(size_bytes, all.size() - begin));
  return Blob(std::vector<std::byte>(part.begin(), part.end()));
}

Result<void> FakeStore::put(std::string_view key,
                            std::span<const std::span<const std::byte>> parts) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("put {}", key)));
  ATOLL_TRY(check_key(key));
  std::vector<std::byte> bytes;
  for (const auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  objects_.insert_or_assign(std::string(key), std::move(bytes));
  ++versions_[std::string(key)];
  return {};
}

Result<void> FakeStore::append(std::string_view key, std::span<const std::byte> bytes) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("append {}", key)));
  ATOLL_TRY(check_key(key));
  auto& object = objects_[std::string(key)];
  object.insert(object.end(), bytes.begin(), bytes.end());
  ++versions_[std::string(key)];
  return {};
}

Result<void> FakeStore::list(std::string_view prefix,
                             const std::function<bool(const ObjectInfo&)>& visit) {
  std::vector<ObjectInfo> found;  // the visitor may call this store
  {
    std::unique_lock lock(mutex_);
    ATOLL_TRY(enter(lock, fmt::format("list {}", prefix)));
    ATOLL_TRY(check_prefix(prefix));
    for (auto object = objects_.lower_bound(prefix);
         object != objects_.end() && object->first.starts_with(prefix);
         ++object) {
      found.push_back(
          info_of(object->first, object->second.size(), versions_.find(object->first)->second));
    }
  }
  for (const ObjectInfo& info : found) {
    if (!visit(info)) break;
  }
  return {};
}

Result<void> FakeStore::remove(std::string_view key) {
  std::unique_lock lock(mutex_);
  ATOLL_TRY(enter(lock, fmt::format("remove {}", key)));
  ATOLL_TRY(check_key(key));
  const auto found = objects_.find(key);
  if (found != objects_.end()) objects_.erase(found);
  return {};
}

}  // namespace atl::storage
