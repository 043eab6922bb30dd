// A bucket in memory, for tests: counts requests and bytes, can be slow, can fail.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "storage/remote.h"

namespace atl::storage {

class FakeRemote : public Remote {
 public:
  explicit FakeRemote(std::string identity = "fake/bucket");
  ~FakeRemote() override;

  struct Counts {
    uint64_t gets = 0;
    uint64_t bytes_read = 0;
    uint64_t lists = 0;
    uint64_t stats = 0;
    uint64_t uploads = 0;
    uint64_t copies = 0;
    uint64_t removals = 0;
  };
  Counts counts() const;

  // The content of an object, past the counters; nullopt where there is none.
  std::optional<std::string> content(std::string_view key) const;
  Metadata metadata(std::string_view key) const;
  // Puts or replaces an object, as somebody else would. Each version has another ETag.
  void put(std::string_view key, std::string_view content, Metadata metadata = {});
  void erase(std::string_view key);
  // How many keys a page of a listing has (1,000), so that few keys make many pages.
  void set_page_keys(size_t count);

  // While held, reads wait; release lets them go on. For tests of what happens meanwhile.
  void hold_reads();
  void release_reads();
  // How many reads are waiting; wait_for_reads returns once there are n.
  void wait_for_reads(size_t n) const;

  // Consulted before each call ("read KEY", "list PREFIX", "upload KEY", "stat KEY", "copy KEY",
  // "remove KEY"); an Error that it returns is the call's.
  using Fault = std::function<std::optional<Error>(std::string_view call)>;
  void set_fault(Fault fault);
  // Consulted after an upload, a copy or a removal has had its effect: an Error that it returns is all that the caller
  // gets.
  void set_lost_answer(Fault fault);
  // As S3 makes them of what comes in one piece: the same bytes have the same ETag, whatever metadata they carry.
  void set_etags_by_content(bool by_content);
  // What is written from here on was modified so much later than now.
  void set_clock_ahead(std::chrono::seconds ahead);
  // Copies and removals say that they were sent more than once.
  void set_sends_again(bool sends_again);

  std::string uri() const override { return "fake:"; }
  std::string identity() const override { return identity_; }
  void read_async(RangeRequest request, OnRange done) override;
  Result<RemoteObject> stat(std::string_view key) override;
  Result<ListPage> list_page(std::string_view prefix,
                             std::string_view next,
                             std::string_view start_after = {}) override;
  Result<ObjectInfo> upload(std::string_view key,
                            const UploadSource& source,
                            const UploadOptions& options) override;
  Result<ObjectInfo> copy(std::string_view from,
                          std::string_view to,
                          const Metadata& metadata,
                          std::string_view if_match = {},
                          bool* sent_again = nullptr) override;
  Result<void> remove(std::span<const std::string> keys, bool* sent_again = nullptr) override;

 private:
  struct Object {
    std::string content;
    Metadata metadata;
    std::string etag;
    std::chrono::system_clock::time_point modified;
  };
  struct Waiting {
    RangeRequest request;
    OnRange done;
  };

  void serve();
  Result<RangeBytes> answer(const RangeRequest& request);
  Result<void> consult(const Fault& fault, const std::string& call) const;
  Result<void> enter(const std::string& call) const { return consult(fault_, call); }
  static ObjectInfo info_of(std::string_view key, const Object& object);
  ObjectInfo store(std::string_view key, std::string content, Metadata metadata);  // mutex_ held

  const std::string identity_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, Object, std::less<>> objects_;
  uint64_t versions_ = 0;
  size_t page_keys_ = 1000;
  Counts counts_;
  Fault fault_;
  Fault lost_answer_;
  bool sends_again_ = false;
  bool etags_by_content_ = false;
  std::chrono::seconds clock_ahead_{0};
  bool held_ = false;
  bool ending_ = false;
  std::deque<Waiting> waiting_;
  std::thread server_;  // plays the I/O thread
};

}  // namespace atl::storage
