// A namespace in memory, for tests of what looks keys up in one: asks for each key once, and believes the
// answer until it is told to forget.
#pragma once

#include <map>
#include <mutex>

#include "storage/namespace/namespace.h"

namespace atl::storage {

class FakeNamespace : public Namespace {
 public:
  explicit FakeNamespace(std::shared_ptr<Remote> remote) : remote_(std::move(remote)) {}

  int imports() const {
    const std::lock_guard lock(mutex_);
    return imports_;
  }

  Result<ObjectInfo> lookup(std::string_view key) override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = known_.find(key); found != known_.end()) return found->second;
    }
    const auto found = ATOLL_TRY(remote_->stat(key));
    ATOLL_TRY(record(found.info, nullptr));
    return found.info;
  }
  Result<DirectoryEntry> lookup_path(std::string_view) override { return not_here(); }
  Result<void> children(std::string_view,
                        std::string_view,
                        const std::function<bool(const DirectoryEntry&)>&) override {
    return not_here();
  }
  // Of what is known.
  Result<void> list(std::string_view prefix,
                    const std::function<bool(const ObjectInfo&)>& visit) override {
    const std::lock_guard lock(mutex_);
    for (auto at = known_.lower_bound(prefix); at != known_.end(); ++at) {
      if (!at->first.starts_with(prefix) || !visit(at->second)) break;
    }
    return {};
  }
  Result<RemoteObject> stat(std::string_view key) override { return remote_->stat(key); }
  Result<ImportCounts> import(std::string_view prefix,
                              ImportPolicy,
                              std::stop_token,
                              const std::function<void(const ImportCounts&)>&) override {
    std::string next;
    do {
      const ListPage page = ATOLL_TRY(remote_->list_page(prefix, next));
      for (const ObjectInfo& info : page.objects) ATOLL_TRY(record(info, nullptr));
      next = page.next;
    } while (!next.empty());
    return ImportCounts{};
  }
  void set_policy(ImportPolicy) override {}
  void import_in_background() override {
    const std::lock_guard lock(mutex_);
    ++imports_;
  }
  std::optional<std::chrono::system_clock::time_point> imported_at() const override {
    return std::nullopt;
  }
  Result<void> record(const ObjectInfo& info, const Metadata*) override {
    const std::lock_guard lock(mutex_);
    known_.insert_or_assign(info.key, info);
    return {};
  }
  Result<void> forget(std::string_view key) override {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) known_.erase(found);
    return {};
  }
  Result<void> doubt(std::string_view key, std::string_view) override { return forget(key); }
  Result<bool> apply(const ObjectEvent&) override { return not_here(); }
  uint64_t hidden_keys() const override { return 0; }
  void on_change(OnChange) override {}

 private:
  static tl::unexpected<Error> not_here() {
    return fail(ErrorCode::kUnsupported, "a fake namespace knows single keys only");
  }

  const std::shared_ptr<Remote> remote_;
  mutable std::mutex mutex_;
  std::map<std::string, ObjectInfo, std::less<>> known_;
  int imports_ = 0;
};

}  // namespace atl::storage
