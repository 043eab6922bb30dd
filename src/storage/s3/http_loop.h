// The I/O thread of an HttpEngine and what it works on.
//
//   submit(), cancel()  leave a command and wake the thread
//   the thread          takes the commands; waits for sockets, its own timers and libcurl's; lets libcurl work on
//                       what is ready; hands out what has ended; looks at stalls and deadlines
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/http_transfer.h"

namespace atl::storage {

// What only the I/O thread touches, but for what mutex_ guards.
class HttpLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = HttpEngine::Id;
  using OnResponse = HttpEngine::OnResponse;

  explicit HttpLoop(HttpEngineOptions options) : options_(std::move(options)) {}
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  Result<void> open();
  void start_thread();
  // Handed to the thread; false where the loop is ending and nobody will take it.
  bool submit(Id id, HttpRequest& request, OnResponse& done);
  bool submit(Id id, Clock::time_point when, std::function<void()>& then);
  void cancel(Id id);
  Id next_id() { return ++last_id_; }
  bool is_own_thread() const { return std::this_thread::get_id() == thread_.get_id(); }
  // Ends the thread and what is left.
  static void end(std::unique_ptr<HttpLoop> loop);
  // In a child process the thread is not there to be ended, nor anything else to be taken apart.
  static void abandon(std::unique_ptr<HttpLoop> loop);

 private:
  struct MultiDeleter {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  struct Timer;
  using Timers = std::multimap<Clock::time_point, Timer>;
  struct Call;
  struct Timer {
    Id id;
    Call* call;                  // whose stalls and deadline are to be looked at, or
    std::function<void()> then;  // what is to be called
  };
  struct Call {
    Call(Id its_id, HttpRequest request, OnResponse its_done)
        : id(its_id), transfer(std::move(request)), done(std::move(its_done)) {}
    const Id id;
    HttpTransfer transfer;
    OnResponse done;
    std::string origin;
    Clock::time_point deadline = Clock::time_point::max();
    bool is_running = false;  // otherwise it waits for a connection
    Clock::time_point stall_check;
    uint64_t bytes_at_last_check = 0;
    Timers::iterator timer;
    bool has_timer = false;
  };
  struct Origin {
    int running = 0;
    std::deque<Call*> waiting;
  };
  struct Command {
    Id id = 0;
    std::unique_ptr<Call> call;
    std::function<void()> then;
    Clock::time_point when;  // of `then`, and when the call was made
  };

  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*);
  static int on_timer(CURLM*, long wait_ms, void* self);

  void run();
  void wake();
  bool take_commands();
  void wait_for_events();
  void take_finished();
  void fire_timers();
  void accept(std::unique_ptr<Call> call, Clock::time_point now);
  void begin(Call& call);
  void add_to_libcurl(Call& call);
  void check(Call& call);
  void set_timer(Call& call);
  void cancel_now(Id id);
  void finish(Call& call, Result<HttpResponse> result);
  CurlEasy easy_handle();

  const HttpEngineOptions options_;
  UniqueFd epoll_;
  UniqueFd wakeup_;
  std::thread thread_;
  std::atomic<Id> last_id_{0};

  std::mutex mutex_;
  std::vector<Command> commands_;
  std::vector<Id> cancelled_;
  bool ending_ = false;
  std::unique_ptr<HttpLoop> itself_;  // while it ends in its own thread

  std::unique_ptr<CURLM, MultiDeleter> multi_;
  std::vector<CurlEasy> idle_handles_;
  std::unordered_map<Id, std::unique_ptr<Call>> calls_;
  std::unordered_map<Id, Timers::iterator> delayed_;
  std::map<std::string, Origin> origins_;
  Timers timers_;
  std::optional<Clock::time_point> curl_timer_;
};

}  // namespace atl::storage
