#include "storage/fake_remote.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/sha256.h"

namespace atl::storage {

namespace {

tl::unexpected<Error> no_such(std::string_view key) {
  return fail(ErrorCode::kNotFound, fmt::format("fake:/{}: no such object", key));
}

tl::unexpected<Error> changed_meanwhile(std::string_view key) {
  return fail(ErrorCode::kConflict, fmt::format("fake:/{}: the object is another one by now", key));
}

}  // namespace

FakeRemote::FakeRemote(std::string identity) : identity_(std::move(identity)) {
  server_ = std::thread([this] { serve(); });
}

FakeRemote::~FakeRemote() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    held_ = false;
  }
  changed_.notify_all();
  server_.join();
}

FakeRemote::Counts FakeRemote::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::optional<std::string> FakeRemote::content(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return std::nullopt;
  return found->second.content;
}

Metadata FakeRemote::metadata(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  return found == objects_.end() ? Metadata{} : found->second.metadata;
}

void FakeRemote::put(std::string_view key, std::string_view content, Metadata metadata) {
  const std::lock_guard lock(mutex_);
  store(key, std::string(content), std::move(metadata));
}

void FakeRemote::erase(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found != objects_.end()) objects_.erase(found);
}

void FakeRemote::set_page_keys(size_t count) {
  const std::lock_guard lock(mutex_);
  page_keys_ = count;
}

void FakeRemote::hold_reads() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeRemote::release_reads() {
  {
    const std::lock_guard lock(mutex_);
    held_ = false;
  }
  changed_.notify_all();
}

void FakeRemote::wait_for_reads(size_t n) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() >= n; });
}

void FakeRemote::set_fault(Fault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void FakeRemote::set_lost_answer(Fault fault) {
  const std::lock_guard lock(mutex_);
  lost_answer_ = std::move(fault);
}

void FakeRemote::set_etags_by_content(bool by_content) {
  const std::lock_guard lock(mutex_);
  etags_by_content_ = by_content;
}

void FakeRemote::set_clock_ahead(std::chrono::seconds ahead) {
  const std::lock_guard lock(mutex_);
  clock_ahead_ = ahead;
}

void FakeRemote::set_sends_again(bool sends_again) {
  const std::lock_guard lock(mutex_);
  sends_again_ = sends_again;
}

ObjectInfo FakeRemote::info_of(std::string_view key, const Object& object) {
  return {std::string(key), object.content.size(), object.modified, object.etag};
}

ObjectInfo FakeRemote::store(std::string_view key, std::string content, Metadata metadata) {
  ++versions_;
  std::string etag = etags_by_content_ ? fmt::format("\"{}\"", sha256_hex(content))
                                       : fmt::format("\"v{}\"", versions_);
  Object object{std::move(content),
                std::move(metadata),
                std::move(etag),
                std::chrono::system_clock::now() + clock_ahead_};
  auto info = info_of(key, object);
  objects_.insert_or_assign(std::string(key), std::move(object));
  return info;
}

Result<void> FakeRemote::consult(const Fault& fault, const std::string& call) const {
  Fault copy;
  {
    const std::lock_guard lock(mutex_);
    copy = fault;
  }
  if (copy) {
    if (auto error = copy(call)) return tl::unexpected(std::move(*error));
  }
  return {};
}

void FakeRemote::read_async(RangeRequest request, OnRange done) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(request), std::move(done)});
  }
  changed_.notify_all();
}

void FakeRemote::serve() {
  for (;;) {
    Waiting next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || (!held_ && !waiting_.empty()); });
      if (waiting_.empty()) return;
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    next.done(answer(next.request));
  }
}

Result<RangeBytes> FakeRemote::answer(const RangeRequest& request) {
  ATOLL_TRY(enter("read " + request.key));
  const std::lock_guard lock(mutex_);
  ++counts_.gets;
  const auto found = objects_.find(request.key);
  if (found == objects_.end()) return no_such(request.key);
  auto info = info_of(request.key, found->second);
  if (!request.if_match.empty() && request.if_match != info.etag) {
    return changed_meanwhile(request.key);
  }
  const std::string& content = found->second.content;
  const uint64_t offset = std::min<uint64_t>(request.offset, content.size());
  const uint64_t size = std::min<uint64_t>(request.size_bytes, content.size() - offset);
  counts_.bytes_read += size;
  const auto bytes = std::as_bytes(std::span(content)).subspan(offset, size);
  return RangeBytes{Blob(std::vector<std::byte>(bytes.begin(), bytes.end())), std::move(info)};
}

Result<RemoteObject> FakeRemote::stat(std::string_view key) {
  ATOLL_TRY(enter(fmt::format("stat {}", key)));
  const std::lock_guard lock(mutex_);
  ++counts_.stats;
  const auto found = objects_.find(key);
  if (found == objects_.end()) return no_such(key);
  return RemoteObject{info_of(key, found->second), found->second.metadata};
}

Result<ListPage> FakeRemote::list_page(std::string_view prefix,
                                       std::string_view next,
                                       std::string_view start_after) {
  ATOLL_TRY(enter(fmt::format("list {}", prefix)));
  const std::lock_guard lock(mutex_);
  ++counts_.lists;
  const std::string_view after = std::max(next, start_after);
  ListPage page;
  auto at = after.empty() ? objects_.lower_bound(prefix)
                          : std::max(objects_.upper_bound(after),
                                     objects_.lower_bound(prefix),
                                     [&](auto a, auto b) {
                                       if (a == objects_.end()) return false;
                                       return b == objects_.end() || a->first < b->first;
                                     });
  for (; at != objects_.end() && at->first.starts_with(prefix); ++at) {
    if (page.objects.size() == page_keys_) {
      page.next = page.objects.back().key;
      break;
    }
    page.objects.push_back(info_of(at->first, at->second));
  }
  return page;
}

Result<ObjectInfo> FakeRemote::upload(std::string_view key,
                                      const UploadSource& source,
                                      const UploadOptions& options) {
  ATOLL_TRY(enter(fmt::format("upload {}", key)));
  const Blob bytes = ATOLL_TRY(source.read(0, source.size_bytes));
  if (options.stop.stop_requested()) return fail(ErrorCode::kCancelled, "the upload was stopped");
  ObjectInfo info;
  {
    const std::lock_guard lock(mutex_);
    ++counts_.uploads;
    const auto found = objects_.find(key);
    const bool wrong_version =
        !options.if_match.empty() &&
        (found == objects_.end() || info_of(key, found->second).etag != options.if_match);
    if (wrong_version || (options.if_absent && found != objects_.end())) {
      return changed_meanwhile(key);
    }
    info = store(key, std::string(bytes.text()), options.metadata);
  }
  ATOLL_TRY(consult(lost_answer_, fmt::format("upload {}", key)));
  return info;
}

Result<ObjectInfo> FakeRemote::copy(std::string_view from,
                                    std::string_view to,
                                    const Metadata& metadata,
                                    std::string_view if_match,
                                    bool* sent_again) {
  ATOLL_TRY(enter(fmt::format("copy {}", from)));
  ObjectInfo info;
  {
    const std::lock_guard lock(mutex_);
    ++counts_.copies;
    if (sent_again != nullptr) *sent_again |= sends_again_;
    const auto found = objects_.find(from);
    if (found == objects_.end()) return no_such(from);
    if (!if_match.empty() && info_of(from, found->second).etag != if_match) {
      return changed_meanwhile(from);
    }
    info = store(to, found->second.content, metadata);
  }
  ATOLL_TRY(consult(lost_answer_, fmt::format("copy {}", from)));
  return info;
}

Result<void> FakeRemote::remove(std::span<const std::string> keys, bool* sent_again) {
  for (const std::string& key : keys) {
    const std::string call = "remove " + key;
    ATOLL_TRY(enter(call));
    {
      const std::lock_guard lock(mutex_);
      ++counts_.removals;
      if (sent_again != nullptr) *sent_again |= sends_again_;
      objects_.erase(key);
    }
    ATOLL_TRY(consult(lost_answer_, call));
  }
  return {};
}

}  // namespace atl::storage
