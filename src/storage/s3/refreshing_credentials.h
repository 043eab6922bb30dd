// Credentials that are renewed before they end, while the old ones still serve.
//
//   fetched          renew from here        wait from here        end
//   |----------------|----------------------|---------------------|
//     get() gives      and fetches new ones   and waits for them,
//     them             in the background      also for an error
//
// One fetch at a time. A fetch that fails while the old ones hold changes nothing, and is tried again later.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "storage/s3/credentials_sources.h"

namespace atl::storage {

class RefreshingCredentials : public CredentialsProvider {
 public:
  using Fetch = std::function<Result<FetchedCredentials>()>;
  using Clock = std::function<std::chrono::system_clock::time_point()>;
  // Runs a task elsewhere, and soon. False: it could not be started and will not run.
  using Background = std::function<bool(std::function<void()>)>;

  // An empty `background`: a thread, which the destructor waits for. Tests hand in one that keeps the task.
  RefreshingCredentials(Fetch fetch, Clock clock, Background background = {});
  ~RefreshingCredentials() override;

  Result<std::shared_ptr<const Credentials>> get() override;
  void refused(const Credentials& credentials) override;

 private:
  using Time = std::chrono::system_clock::time_point;
  using Lock = std::unique_lock<std::mutex>;

  bool holds(Time now, std::chrono::seconds margin) const;  // mutex_ held, as in all that follow
  void start_in_background();
  void fetch_unlocked(Lock& lock);
  void keep(Result<FetchedCredentials> fetched);
  void keep_fresh(FetchedCredentials fetched, Time now);
  bool start_thread(std::function<void()> task);

  const Fetch fetch_;
  const Clock clock_;
  const Background background_;
  std::mutex mutex_;
  std::condition_variable fetched_;
  std::shared_ptr<const Credentials> current_;
  Error error_;          // of the last fetch, where that failed
  bool failed_ = false;  // the last fetch failed
  bool fetching_ = false;
  uint64_t fetches_ = 0;           // finished ones
  Time next_fetch_{};              // not before
  std::chrono::seconds margin_{};  // before the end, get() waits for new ones
  std::thread thread_;
};

}  // namespace atl::storage
