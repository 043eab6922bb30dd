// HTTP over libcurl's multi interface: any number of requests under way, one thread that does all I/O.
//
// The thread runs libcurl's socket interface over an epoll of its own, so that a step costs what the ready
// connections cost, not what all of them do. Connections are kept and reused; so many to one host, and
// requests beyond that wait in the order in which they came.
//
// The engine belongs to the process that made it: made before a fork, it fails every request in the child
// (its thread is not there), and the child makes one of its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "storage/s3/http.h"

namespace atl::storage {

class HttpLoop;

struct HttpEngineOptions {
  std::string ca_bundle;  // a file of certificates instead of the system's; AWS_CA_BUNDLE
  int max_connections_per_host = 64;
  // What libcurl reads at a time, and copies from there to where it belongs. With 64 and 128 KiB the copy cost
  // 100 us a MiB, with 256 KiB, which leave less of a 1 MiB cache to others, up to 200; with 16 KiB, libcurl's own
  // choice, a transfer took half as long again.
  size_t receive_buffer_bytes = size_t{128} << 10;
};

// Thread safe.
class HttpEngine {
 public:
  using OnResponse = std::function<void(Result<HttpResponse>)>;
  using Id = uint64_t;

  // kIo: no descriptors or threads left; kInvalidInput: the bundle cannot be read.
  static Result<std::shared_ptr<HttpEngine>> make(HttpEngineOptions options = {});
  // What is under way ends with kCancelled, what waits in call_after() is called. Not from a callback.
  ~HttpEngine();
  HttpEngine(const HttpEngine&) = delete;
  HttpEngine& operator=(const HttpEngine&) = delete;

  // Starts a request and returns. `done` is called once, on the I/O thread (in the calling one if the
  // engine is ending or another process's); it must not block. Any status is a response; errors as for
  // HttpPerform, and kInvalidInput for what another try cannot mend (a malformed URL, a certificate that
  // does not hold).
  Id start(HttpRequest request, OnResponse done);
  // Calls `then` on the I/O thread when `delay` has passed: the back-off before a further try.
  Id call_after(std::chrono::milliseconds delay, std::function<void()> then);
  // A request that is not done yet ends with kCancelled; a delayed call is made now.
  void cancel(Id id);

  // Whether this is a callback.
  bool is_own_thread() const;

  // Starts and waits. Not from a callback.
  Result<HttpResponse> perform(const HttpRequest& request);

 private:
  explicit HttpEngine(std::unique_ptr<HttpLoop> loop);

  std::unique_ptr<HttpLoop> loop_;
  const pid_t pid_;
};

}  // namespace atl::storage
