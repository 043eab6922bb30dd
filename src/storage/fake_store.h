// An object store in memory, for tests: logs every call and can be told to fail, or to wait.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>

#include "storage/storage.h"

namespace atl::storage {

class FakeStore : public ObjectStore {
 public:
  // Fails the n-th call from now (1 = the next one) with this error, once.
  void fail_call(int n, Error error);
  // Fails every call from now on that begins with this ("put checkpoints/"); nullopt: none any more.
  void fail_calls(std::string beginning, std::optional<Error> error);
  // Calls from now on that begin with this wait until release() (or, so that a test ends, a minute: then they
  // fail).
  void hold_calls(std::string beginning);
  void release();
  void wait_until_one_is_held() const;
  // "put model.safetensors", in order of the calls, also of those that failed or wait.
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
  Result<void> enter(std::unique_lock<std::mutex>& lock, const std::string& call);

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::byte>, std::less<>> objects_;
  std::map<std::string, uint64_t, std::less<>> versions_;
  std::vector<std::string> calls_;
  int calls_until_failure_ = 0;
  std::optional<Error> failure_;
  std::string failing_;
  std::optional<Error> failure_of_all_;
  mutable std::condition_variable changed_;
  std::optional<std::string> held_;  // the beginning of the calls that wait
  int waiting_ = 0;
};

}  // namespace atl::storage
