// An object store in memory, for tests: logs every call and can be told to fail.
#pragma once

#include <map>
#include <mutex>

#include "storage/storage.h"

namespace atl::storage {

class FakeStore : public ObjectStore {
 public:
  // Fails the n-th call from now (1 = the next one) with this error, once.
  void fail_call(int n, Error error);
  // "put model.safetensors", in order of the calls.
  std::vector<std::string> calls() const;

  std::string uri() const override { return "fake:"; }
  Result<ObjectInfo> head(std::string_view key) override;
  Result<Blob> get(std::string_view key) override;
  Result<Blob> get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) override;
  Result<void> put(std::string_view key,
                   std::span<const std::span<const std::byte>> parts) override;
  Result<void> append(std::string_view key, std::span<const std::byte> bytes) override;
  Result<void> list(std::string_view prefix,
                    const std::function<bool(const ObjectInfo&)>& visit) override;
  Result<void> remove(std::string_view key) override;

 private:
  Result<void> enter(std::string call);

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::byte>, std::less<>> objects_;
  std::map<std::string, uint64_t, std::less<>> versions_;
  std::vector<std::string> calls_;
  int calls_until_failure_ = 0;
  std::optional<Error> failure_;
};

}  // namespace atl::storage
