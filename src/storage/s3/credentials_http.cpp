#include "storage/s3/credentials_http.h"

#include <thread>

namespace atl::storage {
namespace {

constexpr int kAttempts = 3;
constexpr std::chrono::milliseconds kFirstPause{400};

// A random part of the longest pause, so that machines that started together do not come back together.
// The clock's low digits are random enough for that, and a test's clock is not.
std::chrono::milliseconds jittered(std::chrono::milliseconds longest,
                                   std::chrono::system_clock::time_point now) {
  const auto ticks = now.time_since_epoch() / std::chrono::microseconds(1);
  return std::chrono::milliseconds(1 + ticks % longest.count());
}

}  // namespace

bool is_passing_status(int status) { return status == 429 || (status >= 500 && status <= 599); }

Result<HttpResponse> request_credentials(const CredentialsContext& context,
                                         const HttpRequest& request,
                                         std::string_view source) {
  std::chrono::milliseconds longest = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    Result<HttpResponse> response = context.http(request);
    if (response && !is_passing_status(response->status)) return response;
    if (attempt == kAttempts) {
      if (response) return response;
      return tl::unexpected(std::move(response).error().with_context(source));
    }
    const std::chrono::milliseconds pause = jittered(longest, context.now());
    if (context.pause) {
      context.pause(pause);
    } else {
      std::this_thread::sleep_for(pause);
    }
    longest *= 2;
  }
}

}  // namespace atl::storage
