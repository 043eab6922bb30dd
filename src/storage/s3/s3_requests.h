// Several requests that belong together: parts of an upload or of a copy, keys to be removed.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "storage/s3/s3_client.h"

namespace atl::storage {

// So many at a time; the first error cancels the others. For one thread.
class S3Requests {
 public:
  S3Requests(S3Client& client, int at_a_time, std::stop_token stop);
  // Waits for what is under way.
  ~S3Requests();

  // Waits until another one may be sent; false once one has failed or the caller is to stop.
  bool wait_for_place();
  // After wait_for_place(). `take` looks at the answer, on another thread, one answer at a time.
  void send(S3Request request, std::function<Result<void>(const HttpResponse&)> take);
  // Ends the group with an error of the caller's own.
  void fail_with(Error error);
  // Waits for all.
  Result<void> wait();
  // Whether one of them went out more than once. After wait().
  bool sent_again() const { return sent_again_; }

 private:
  void cancel_all(std::unique_lock<std::mutex>& lock);

  S3Client& client_;
  const int at_a_time_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int under_way_ = 0;
  bool sent_again_ = false;
  std::optional<Error> error_;
  std::vector<std::weak_ptr<S3Client::Call>> calls_;
  std::stop_callback<std::function<void()>> on_stop_;
};

}  // namespace atl::storage
