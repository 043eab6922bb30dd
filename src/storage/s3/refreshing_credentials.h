// Credentials that are renewed before they end, while the old ones still serve.
//
//   fetched          renew from here        wait from here        end
//   |----------------|----------------------|---------------------|
//     get() gives      and fetches new ones   and waits for them,
//     them             in the background      also for an error
//
// One fetch at a time. A fetch that fails while the old ones hold changes nothing, and is tried again later.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "storage/s3/credentials_sources.h"

namespace atl::storage {

class RefreshingCredentials : public CredentialsProvider {
 public:
  using Fetch = std::function<Result<FetchedCredentials>()>;
  using Clock = std::function<std::chrono::system_clock::time_point()>;
  // Runs a task elsewhere, and soon. False: it could not be started and will not run.
  using Background = std::function<bool(std::function<void()>)>;

  // An empty `background`: a thread. Tests hand in one that keeps the task.
  RefreshingCredentials(Fetch fetch, Clock clock, Background background = {});
  // A fetch under way in the background is not waited for: it may need the thread that runs this. It owns all
  // that it uses.
  ~RefreshingCredentials() override;

  Result<std::shared_ptr<const Credentials>> get() override;
  // The next get() waits for new ones, once a minute at most: their source may have no others.
  void refused(const Credentials& credentials) override;

 private:
  struct State;
  bool start_thread(std::function<void()> task);

  const std::shared_ptr<State> state_;
  const Background background_;
  std::thread thread_;  // with the state's mutex
};

}  // namespace atl::storage
