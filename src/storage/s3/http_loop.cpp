#include "storage/s3/http_loop.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/check.h"

namespace atl::storage {

namespace {

using Clock = HttpLoop::Clock;

void initialise_curl_once() {
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  ATOLL_CHECK(result == CURLE_OK) << curl_easy_strerror(result);
}

// Signals are for the threads that wait for them.
std::thread start_without_signals(std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

int milliseconds_until(Clock::time_point then, Clock::time_point now) {
  if (then <= now) return 0;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(then - now).count();
  return static_cast<int>(std::min<int64_t>(wait, 60'000));
}

}  // namespace

HttpLoop::~HttpLoop() {
  // Handles first: they keep their connections in the multi handle.
  idle_handles_.clear();
  multi_.reset();
}

Result<void> HttpLoop::open() {
  initialise_curl_once();
  if (!options_.ca_bundle.empty() && ::access(options_.ca_bundle.c_str(), R_OK) != 0) {
    return fail(ErrorCode::kInvalidInput,
                "the certificates in " + options_.ca_bundle + " cannot be read",
                "AWS_CA_BUNDLE, or CURL_CA_BUNDLE or SSL_CERT_FILE, must name a readable file");
  }
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("making an epoll", errno);
  wakeup_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup_) return fail_errno("making an eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wakeup_.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.get(), &event) != 0) {
    return fail_errno("adding to an epoll", errno);
  }
  multi_.reset(curl_multi_init());
  if (!multi_) return fail(ErrorCode::kIo, "libcurl has no memory");
  CURLM* multi = multi_.get();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, long{CURLPIPE_NOTHING});
  // Kept connections; enough for a few hosts at their limit.
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 4L * options_.max_connections_per_host);
  return {};
}

void HttpLoop::start_thread() {
  thread_ = start_without_signals([this] {
    run();
    const auto itself = std::move(itself_);
  });
  ::pthread_setname_np(thread_.native_handle(), "atoll-http");
}

bool HttpLoop::submit(Id id, HttpRequest& request, OnResponse& done) {
  Command command;
  command.id = id;
  command.when = Clock::now();
  const std::lock_guard lock(mutex_);
  if (ending_) return false;
  command.call = std::make_unique<Call>(id, std::move(request), std::move(done));
  commands_.push_back(std::move(command));
  wake();
  return true;
}

bool HttpLoop::submit(Id id, Clock::time_point when, std::function<void()>& then) {
  const std::lock_guard lock(mutex_);
  if (ending_) return false;
  Command command;
  command.id = id;
  command.then = std::move(then);
  command.when = when;
  commands_.push_back(std::move(command));
  wake();
  return true;
}

void HttpLoop::cancel(Id id) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  wake();
}

// With mutex_ held. The first to leave something wakes the thread, which then takes all.
void HttpLoop::wake() {
  if (commands_.size() + cancelled_.size() > 1) return;
  const uint64_t one = 1;
  (void)!::write(wakeup_.get(), &one, sizeof one);
}

void HttpLoop::end(std::unique_ptr<HttpLoop> loop) {
  HttpLoop& ending = *loop;
  {
    const std::lock_guard lock(ending.mutex_);
    ending.ending_ = true;
    const uint64_t one = 1;
    (void)!::write(ending.wakeup_.get(), &one, sizeof one);
    // The last owner was a callback: the thread cannot wait for itself, and takes the loop with it.
    if (ending.is_own_thread()) {
      ending.thread_.detach();
      ending.itself_ = std::move(loop);
      return;
    }
  }
  ending.thread_.join();
}

void HttpLoop::abandon(std::unique_ptr<HttpLoop> loop) {
  loop->thread_.detach();
  (void)loop.release();
}

int HttpLoop::on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  const int epoll = static_cast<HttpLoop*>(self)->epoll_.get();
  if (what == CURL_POLL_REMOVE) {
    ::epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nullptr);
    return 0;
  }
  epoll_event event{};
  event.data.fd = socket;
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  if (::epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event) == 0) return 0;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) == 0 ? 0 : -1;
}

int HttpLoop::on_timer(CURLM*, long wait_ms, void* self) {
  auto& timer = static_cast<HttpLoop*>(self)->curl_timer_;
  timer.reset();
  if (wait_ms >= 0) timer = Clock::now() + std::chrono::milliseconds(wait_ms);
  return 0;
}

void HttpLoop::run() {
  while (take_commands()) {
    wait_for_events();
    take_finished();
    fire_timers();
  }
  // Whatever is still there ends now; what callbacks start meanwhile is refused by submit().
  while (!calls_.empty()) cancel_now(calls_.begin()->first);
  while (!delayed_.empty()) cancel_now(delayed_.begin()->first);
}

// False once the loop is to end and everything handed in has been taken.
bool HttpLoop::take_commands() {
  std::vector<Command> commands;
  std::vector<Id> cancelled;
  bool is_ending = false;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
    cancelled.swap(cancelled_);
    is_ending = ending_;
  }
  for (Command& command : commands) {
    if (command.call) {
      accept(std::move(command.call), command.when);
    } else {
      const auto timer =
          timers_.emplace(command.when, Timer{command.id, nullptr, std::move(command.then)});
      delayed_.emplace(command.id, timer);
    }
  }
  for (const Id id : cancelled) cancel_now(id);
  return !is_ending;
}

void HttpLoop::wait_for_events() {
  constexpr int kEvents = 64;
  std::array<epoll_event, kEvents> events;
  const auto now = Clock::now();
  int wait_ms = -1;
  if (curl_timer_) wait_ms = milliseconds_until(*curl_timer_, now);
  if (!timers_.empty()) {
    const int until = milliseconds_until(timers_.begin()->first, now);
    wait_ms = wait_ms < 0 ? until : std::min(wait_ms, until);
  }
  const int ready = ::epoll_wait(epoll_.get(), events.data(), kEvents, wait_ms);
  int running = 0;
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = events[i];
    if (event.data.fd == wakeup_.get()) {
      uint64_t count = 0;
      (void)!::read(wakeup_.get(), &count, sizeof count);
      continue;
    }
    int what = 0;
    if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
    if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(multi_.get(), event.data.fd, what, &running);
  }
  if (curl_timer_ && *curl_timer_ <= Clock::now()) {
    curl_timer_.reset();
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

void HttpLoop::take_finished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* pointer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
    Call& call = *static_cast<Call*>(pointer);
    const CURLcode result = message->data.result;
    if (call.transfer.begins_again(result)) {
      curl_multi_remove_handle(multi_.get(), call.transfer.handle());
      add_to_libcurl(call);
    } else {
      finish(call, call.transfer.finish(result));
    }
  }
}

void HttpLoop::fire_timers() {
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    auto node = timers_.extract(timers_.begin());
    Timer& timer = node.mapped();
    if (timer.call != nullptr) {
      timer.call->has_timer = false;
      check(*timer.call);
    } else {
      delayed_.erase(timer.id);
      timer.then();
    }
  }
}

void HttpLoop::accept(std::unique_ptr<Call> call, Clock::time_point now) {
  Call& added = *call;
  calls_.emplace(added.id, std::move(call));
  added.origin = added.transfer.origin();
  const auto deadline = added.transfer.request().deadline;
  if (deadline.count() > 0) added.deadline = now + deadline;
  Origin& origin = origins_[added.origin];
  if (origin.running < options_.max_connections_per_host) {
    ++origin.running;
    begin(added);
  } else {
    origin.waiting.push_back(&added);
    set_timer(added);
  }
}

// Its origin has counted it.
void HttpLoop::begin(Call& call) {
  call.is_running = true;
  auto prepared =
      call.transfer.prepare(easy_handle(), options_.ca_bundle, options_.receive_buffer_bytes);
  if (!prepared) return finish(call, tl::unexpected(std::move(prepared).error()));
  call.stall_check = Clock::now() + call.transfer.request().stall_timeout;
  set_timer(call);
  curl_easy_setopt(call.transfer.handle(), CURLOPT_PRIVATE, &call);
  add_to_libcurl(call);
}

void HttpLoop::add_to_libcurl(Call& call) {
  const CURLMcode code = curl_multi_add_handle(multi_.get(), call.transfer.handle());
  ATOLL_CHECK(code == CURLM_OK) << curl_multi_strerror(code);
}

void HttpLoop::check(Call& call) {
  const auto now = Clock::now();
  const HttpRequest& request = call.transfer.request();
  if (now >= call.deadline) {
    return finish(
        call,
        tl::unexpected(call.transfer.error(ErrorCode::kIo, "no whole answer within the deadline")));
  }
  if (call.is_running && now >= call.stall_check) {
    const uint64_t bytes = call.transfer.bytes_moved();
    if (bytes - call.bytes_at_last_check < request.stall_bytes) {
      return finish(
          call,
          tl::unexpected(call.transfer.error(ErrorCode::kIo,
                                             fmt::format("stalled: {} bytes in {} ms",
                                                         bytes - call.bytes_at_last_check,
                                                         request.stall_timeout.count()))));
    }
    call.bytes_at_last_check = bytes;
    call.stall_check = now + request.stall_timeout;
  }
  set_timer(call);
}

void HttpLoop::set_timer(Call& call) {
  if (call.has_timer) timers_.erase(call.timer);
  const auto next = call.is_running ? std::min(call.deadline, call.stall_check) : call.deadline;
  call.has_timer = next != Clock::time_point::max();
  if (call.has_timer) call.timer = timers_.emplace(next, Timer{call.id, &call, nullptr});
}

void HttpLoop::cancel_now(Id id) {
  if (const auto found = calls_.find(id); found != calls_.end()) {
    Call& call = *found->second;
    finish(call, tl::unexpected(call.transfer.error(ErrorCode::kCancelled, "cancelled")));
  } else if (const auto delayed = delayed_.find(id); delayed != delayed_.end()) {
    auto node = timers_.extract(delayed->second);
    delayed_.erase(delayed);
    node.mapped().then();
  }
}

// Takes the call away, lets the next one of its origin begin, and hands out the result.
void HttpLoop::finish(Call& call, Result<HttpResponse> result) {
  if (call.has_timer) timers_.erase(call.timer);
  Origin& origin = origins_[call.origin];
  if (call.is_running) {
    if (auto handle = call.transfer.release_handle()) {
      curl_multi_remove_handle(multi_.get(), handle.get());
      curl_easy_reset(handle.get());
      idle_handles_.push_back(std::move(handle));
    }
    --origin.running;
  } else {
    std::erase(origin.waiting, &call);
  }
  const auto owner = std::move(calls_.extract(call.id).mapped());
  if (!origin.waiting.empty() && origin.running < options_.max_connections_per_host) {
    Call& next = *origin.waiting.front();
    origin.waiting.pop_front();
    ++origin.running;
    begin(next);
  } else if (origin.running == 0 && origin.waiting.empty()) {
    origins_.erase(owner->origin);
  }
  owner->done(std::move(result));
}

CurlEasy HttpLoop::easy_handle() {
  if (idle_handles_.empty()) return CurlEasy(curl_easy_init());
  CurlEasy handle = std::move(idle_handles_.back());
  idle_handles_.pop_back();
  return handle;
}

}  // namespace atl::storage
