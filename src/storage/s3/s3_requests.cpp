#include "storage/s3/s3_requests.h"

#include <algorithm>

namespace atl::storage {

S3Requests::S3Requests(S3Client& client, int at_a_time, std::stop_token stop)
    : client_(client), at_a_time_(std::max(at_a_time, 1)), on_stop_(std::move(stop), [this] {
        fail_with({ErrorCode::kCancelled, "cancelled", {}, {}});
      }) {}

S3Requests::~S3Requests() { (void)wait(); }

bool S3Requests::wait_for_place() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ || under_way_ < at_a_time_; });
  return !error_;
}

void S3Requests::send(S3Request request, std::function<Result<void>(const HttpResponse&)> take) {
  {
    const std::lock_guard lock(mutex_);
    ++under_way_;
  }
  const auto call = client_.send(
      std::move(request), [this, take = std::move(take)](Result<HttpResponse> answer, int tries) {
        std::unique_lock lock(mutex_);
        sent_again_ |= tries > 1;
        Result<void> taken;
        if (!answer) {
          taken = tl::unexpected(std::move(answer).error());
        } else {
          taken = take(*answer);
        }
        if (!taken && !error_) {
          error_ = std::move(taken).error();
          cancel_all(lock);
        }
        --under_way_;
        // With the lock held: who waits may take this object away.
        changed_.notify_all();
      });
  std::unique_lock lock(mutex_);
  std::erase_if(calls_, [](const auto& old) { return old.expired(); });
  calls_.push_back(call);
  if (error_) cancel_all(lock);
}

void S3Requests::fail_with(Error error) {
  std::unique_lock lock(mutex_);
  if (!error_) error_ = std::move(error);
  cancel_all(lock);
  changed_.notify_all();
}

Result<void> S3Requests::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return under_way_ == 0; });
  if (error_) return tl::unexpected(*error_);
  return {};
}

void S3Requests::cancel_all(std::unique_lock<std::mutex>& /*lock*/) {
  for (const auto& weak : calls_) {
    if (const auto call = weak.lock()) S3Client::cancel(*call);
  }
}

}  // namespace atl::storage
