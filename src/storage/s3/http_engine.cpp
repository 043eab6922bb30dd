#include "storage/s3/http_engine.h"

#include <unistd.h>

#include <future>

#include "base/check.h"
#include "storage/s3/http_loop.h"

namespace atl::storage {

HttpEngine::HttpEngine(std::unique_ptr<HttpLoop> loop) : loop_(std::move(loop)), pid_(::getpid()) {}

Result<std::shared_ptr<HttpEngine>> HttpEngine::make(HttpEngineOptions options) {
  ATOLL_CHECK(options.max_connections_per_host > 0);
  auto loop = std::make_unique<HttpLoop>(std::move(options));
  ATOLL_TRY(loop->open());
  loop->start_thread();
  return std::shared_ptr<HttpEngine>(new HttpEngine(std::move(loop)));
}

HttpEngine::~HttpEngine() {
  if (::getpid() != pid_) {
    HttpLoop::abandon(std::move(loop_));
  } else {
    HttpLoop::end(std::move(loop_));
  }
}

HttpEngine::Id HttpEngine::start(HttpRequest request, OnResponse done) {
  const Id id = loop_->next_id();
  if (::getpid() != pid_) {
    done(fail(ErrorCode::kInternal, "this HTTP engine was made before the process was forked"));
  } else if (!loop_->submit(id, request, done)) {
    done(fail(ErrorCode::kCancelled, "cancelled"));
  }
  return id;
}

HttpEngine::Id HttpEngine::call_after(std::chrono::milliseconds delay, std::function<void()> then) {
  const Id id = loop_->next_id();
  if (::getpid() != pid_ || !loop_->submit(id, HttpLoop::Clock::now() + delay, then)) then();
  return id;
}

void HttpEngine::cancel(Id id) {
  if (::getpid() == pid_) loop_->cancel(id);
}

bool HttpEngine::is_own_thread() const { return loop_->is_own_thread(); }

Result<HttpResponse> HttpEngine::perform(const HttpRequest& request) {
  ATOLL_CHECK(!loop_->is_own_thread()) << "the I/O thread cannot wait for itself";
  // Shared, because setting the value may still touch the promise when the waiter has gone on.
  const auto promise = std::make_shared<std::promise<Result<HttpResponse>>>();
  start(request, [promise](Result<HttpResponse> result) { promise->set_value(std::move(result)); });
  return promise->get_future().get();
}

}  // namespace atl::storage
