// The Namespace that Namespace::open() gives.
//
// Every answer is of the form: in one snapshot of the database, is this part of the key order known,
// and recently enough, and what is there? If it is not known, one LIST makes it so, and the question
// is asked again.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "storage/namespace/listing_claims.h"
#include "storage/namespace/names_database.h"
#include "storage/namespace/namespace.h"
#include "storage/namespace/page_apply.h"
#include "storage/namespace/sweep.h"

namespace atl::storage {

class BucketNames : public Namespace {
 public:
  BucketNames(std::shared_ptr<Remote> remote,
              NamespaceOptions options,
              std::unique_ptr<NamesDatabase> database);
  ~BucketNames() override;

  Result<ObjectInfo> lookup(std::string_view key) override;
  Result<DirectoryEntry> lookup_path(std::string_view path) override;
  Result<void> children(std::string_view directory,
                        std::string_view after,
                        const std::function<bool(const DirectoryEntry&)>& visit) override;
  Result<void> list(std::string_view prefix,
                    const std::function<bool(const ObjectInfo&)>& visit) override;
  Result<RemoteObject> stat(std::string_view key) override;
  Result<ImportCounts> import(std::string_view prefix,
                              ImportPolicy policy,
                              std::stop_token stop,
                              const std::function<void(const ImportCounts&)>& progress) override;
  void set_policy(ImportPolicy policy) override;
  void import_in_background() override;
  std::optional<std::chrono::system_clock::time_point> imported_at() const override;
  Result<void> record(const ObjectInfo& info, const Metadata* metadata) override;
  Result<void> forget(std::string_view key) override;
  Result<void> doubt(std::string_view key, std::string_view etag) override;
  Result<bool> apply(const ObjectEvent& event) override;
  uint64_t hidden_keys() const override;
  void on_change(OnChange changed) override;

 private:
  // Later with each call, so that what came first can be told.
  int64_t now_ns() const;
  int64_t since_ns() const;
  ImportPolicy policy() const;
  // One LIST from `first` on, into the database; or waits for the same one of another thread.
  Result<void> list_once(const std::string& first, int64_t since_ns);
  struct Applying {
    std::future<Result<void>> done;
    std::shared_ptr<AppliedPage> applied;
  };
  Applying apply_later(ListedPage page, std::optional<ListingClaims::Held> claim = {});
  Result<void> finish(Applying applying);
  Result<void> list_directory(const std::string& directory, const std::string& first);
  Result<void> list_run(const std::string& directory,
                        const std::string& first,
                        int64_t since_ns,
                        ListingClaims::Held claim);
  Result<RemoteObject> ask_for(std::string_view key);
  // `guessed`: info.modified is not from the bucket itself.
  Result<void> record_as_of(const ObjectInfo& info,
                            const Metadata* metadata,
                            int64_t at_ns,
                            bool guessed);
  Result<void> forget_as_of(std::string_view key, int64_t at_ns);
  Result<ImportCounts> import_now(const std::string& prefix,
                                  ImportPolicy policy,
                                  const std::stop_token& stop,
                                  const std::function<void(const ImportCounts&)>& progress);
  void tell(const std::vector<std::string>& changed);

  const std::shared_ptr<Remote> remote_;
  const NamespaceOptions options_;
  ListingClaims claims_;  // its writer may be the last to hold some
  const std::unique_ptr<NamesDatabase> database_;

  mutable std::atomic<int64_t> last_now_ns_ = 0;
  mutable std::mutex mutex_;
  ImportPolicy policy_;

  std::mutex observer_mutex_;
  OnChange changed_;

  std::atomic<bool> importing_ = false;
  std::jthread background_;
};

}  // namespace atl::storage
