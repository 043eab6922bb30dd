// Credentials for those who cannot wait. CredentialsProvider::get() may ask the network, through the very I/O
// thread that needs the answer; so one thread of our own asks, and everybody else gets what it found last.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "base/error.h"
#include "storage/s3/credentials.h"

namespace atl::storage {

// Thread safe.
class FreshCredentials {
 public:
  using Found = std::shared_ptr<const Credentials>;  // null: go unsigned
  using Then = std::function<void(Result<Found>)>;
  using Now = std::function<std::chrono::system_clock::time_point()>;

  FreshCredentials(std::shared_ptr<CredentialsProvider> provider, Now now);
  // Who still waits gets kCancelled. A provider that is being asked is not waited for.
  ~FreshCredentials();

  // Calls `then` at once where what was found last is good, else from the thread that asks.
  void get(Then then);
  // The server took these for expired: they are not given again.
  void refused(const Found& credentials);

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace atl::storage
