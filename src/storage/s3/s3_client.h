// Requests to one bucket: addressed, signed, tried again, understood. What the operations are is
// s3_remote.h's and s3_upload.h's business.
//
// A request is a chain of steps on the I/O thread: credentials, signature, HTTP, verdict; the verdict ends it
// or begins the next try:
//   no whole answer, 429, 5xx       after a wait (retry.h), until the deadline
//   301, 307, 400 naming a region   at once, there; the region is remembered for all
//   ExpiredToken                    at once, with fresh credentials, one time
//   RequestTimeTooSkewed            at once, by the server's clock, one time; remembered for all
//   the rest                        it is the caller's error, with what to check
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "storage/s3/fresh_credentials.h"
#include "storage/s3/http.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/retry.h"
#include "storage/s3/s3_endpoint.h"
#include "storage/s3/s3_xml.h"

namespace atl::storage {

struct S3ClientOptions {
  std::string region;  // "": us-east-1, until the server says where the bucket is
  RetryOptions retries;
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds stall_timeout{10'000};
  uint64_t stall_bytes = uint64_t{32}
                         << 10;  // slower than this in stall_timeout is as good as nothing
  // A try that begins just before the deadline of all may still take so long.
  std::chrono::milliseconds last_try{60'000};
  std::function<std::chrono::system_clock::time_point()> now;  // nullptr: the system's clock
};

struct S3Request {
  std::string method = "GET";
  std::string key;  // whole; "" for the bucket
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<HttpHeader> headers;
  Blob body;
  std::string body_sha256;  // of a body; "": computed where the connection needs it
  std::span<std::byte> into;
  uint64_t max_body_bytes = uint64_t{64} << 20;
  int accepted = 0;             // a status besides 2xx that is the caller's answer
  bool may_hold_error = false;  // a 200 may turn out to be an <Error>: copies, completed uploads
  std::chrono::milliseconds patience{0};  // the server may be silent for so long; 0: stall_timeout
  // Looks at an answer; what it finds wrong is tried again.
  std::function<Result<void>(const HttpResponse&)> check;
};

// Thread safe.
class S3Client : public std::enable_shared_from_this<S3Client> {
 public:
  // `tries`: how often it has been sent; more than once, and an earlier one may have been carried out.
  using OnAnswer = std::function<void(Result<HttpResponse> answer, int tries)>;
  struct Answer {
    Result<HttpResponse> response;
    int tries = 0;
  };
  class Call;

  static std::shared_ptr<S3Client> make(S3Endpoint endpoint,
                                        S3ClientOptions options,
                                        std::shared_ptr<HttpEngine> engine,
                                        std::shared_ptr<CredentialsProvider> credentials);
  ~S3Client();

  const S3Endpoint& endpoint() const { return endpoint_; }
  std::string region() const;
  std::chrono::system_clock::time_point now() const;

  // `done` is called once, on the I/O thread or a thread of ours (or at once, after end()).
  std::shared_ptr<Call> send(S3Request request, OnAnswer done);
  // It ends with kCancelled, soon.
  static void cancel(Call& call);
  // Waits. Not from `done`.
  Answer perform(S3Request request, std::stop_token stop = {});
  // "GET s3://bucket/key", for messages.
  std::string what(const S3Request& request) const;

  // Cancels everything and, unless called from a callback, waits until it has ended.
  void end();

 private:
  S3Client(S3Endpoint endpoint,
           S3ClientOptions options,
           std::shared_ptr<HttpEngine> engine,
           std::shared_ptr<CredentialsProvider> credentials);

  void attempt(const std::shared_ptr<Call>& call);
  void send_signed(const std::shared_ptr<Call>& call, const FreshCredentials::Found& credentials);
  void on_answer(const std::shared_ptr<Call>& call, Result<HttpResponse> answer);
  bool take_redirect(Call& call, const HttpResponse& response, const S3ErrorBody& body);
  bool take_clock(Call& call, const HttpResponse& response, const S3ErrorBody& body);
  bool take_expiry(Call& call, const HttpResponse& response, const S3ErrorBody& body);
  void try_later(const std::shared_ptr<Call>& call, Error error);
  void finish(Call& call, Result<HttpResponse> answer);

  const S3Endpoint endpoint_;
  const S3ClientOptions options_;
  const std::shared_ptr<HttpEngine> engine_;
  FreshCredentials credentials_;
  Retries retries_;
  std::atomic<bool> has_answered_ = false;
  std::atomic<int64_t> skew_ms_ = 0;  // the server's clock minus ours

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::string region_;
  bool ending_ = false;
  std::unordered_set<Call*> calls_;
};

}  // namespace atl::storage
