// Each thread appends to its own buffer, under that buffer's own mutex, which nobody else wants
// except while the trace is written or trimmed: 110 to 170 ns for a Span, its two looks at the
// clock included. Which buffer is a thread's is found through a one-entry thread-local cache; a
// thread that uses several tracers in turn takes the slow way, through the list.
#include "trace/trace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

namespace atl::trace {
namespace {

constexpr int64_t kNoStep = -1;
constexpr int64_t kIsCounter = -1;

struct Event {
  const char* name;
  int64_t begin_ns;     // since the tracer was made
  int64_t duration_ns;  // kIsCounter: a counter
  int64_t step;
  double value;
};

struct Buffer {
  uint64_t thread;  // number_of_this_thread()
  pid_t tid;        // what the viewer and top(1) show
  std::mutex mutex;
  std::string name;
  std::deque<Event> events;
};

// Unlike the system's thread ids, never used twice.
uint64_t number_of_this_thread() {
  static std::atomic<uint64_t> next = 1;
  thread_local const uint64_t number = next++;
  return number;
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Cache {
  uint64_t tracer = 0;
  Buffer* buffer = nullptr;
};

}  // namespace

struct Tracer::Impl {
  explicit Impl(size_t max_events) : max_events(std::max<size_t>(max_events, 2)) {}

  Buffer& buffer_of_this_thread();
  void add(const Event& event);
  void drop_oldest_half();
  int64_t since_start(Clock::time_point time) const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time - start).count();
  }

  static inline std::atomic<uint64_t> next_id = 1;
  const uint64_t id = next_id++;  // never used twice, so a stale cache entry cannot match
  const size_t max_events;
  const Clock::time_point start = Clock::now();
  const std::chrono::system_clock::time_point start_time = std::chrono::system_clock::now();
  std::atomic<size_t> count = 0;
  mutable std::mutex mutex;  // taken before a buffer's
  std::vector<std::unique_ptr<Buffer>> buffers;
  uint64_t dropped = 0;
};

Buffer& Tracer::Impl::buffer_of_this_thread() {
  thread_local Cache cache;
  if (cache.buffer != nullptr && cache.tracer == id) return *cache.buffer;
  const uint64_t thread = number_of_this_thread();
  const std::lock_guard lock(mutex);
  const auto found =
      std::ranges::find_if(buffers, [&](const auto& buffer) { return buffer->thread == thread; });
  if (found == buffers.end()) {
    buffers.push_back(std::make_unique<Buffer>());
    buffers.back()->thread = thread;
    buffers.back()->tid = ::gettid();
    cache = {id, buffers.back().get()};
  } else {
    cache = {id, found->get()};
  }
  return *cache.buffer;
}

void Tracer::Impl::add(const Event& event) {
  Buffer& buffer = buffer_of_this_thread();
  {
    const std::lock_guard lock(buffer.mutex);
    buffer.events.push_back(event);
  }
  if (++count > max_events) drop_oldest_half();
}

void Tracer::Impl::drop_oldest_half() {
  const std::lock_guard lock(mutex);
  if (count <= max_events) return;  // another thread was faster
  std::vector<int64_t> begins;
  for (const auto& buffer : buffers) {
    const std::lock_guard buffer_lock(buffer->mutex);
    for (const Event& event : buffer->events) begins.push_back(event.begin_ns);
  }
  const auto middle = begins.begin() + static_cast<std::ptrdiff_t>(begins.size() / 2);
  std::ranges::nth_element(begins, middle);
  size_t gone = 0;
  for (const auto& buffer : buffers) {
    const std::lock_guard buffer_lock(buffer->mutex);
    gone += std::erase_if(buffer->events,
                          [&](const Event& event) { return event.begin_ns <= *middle; });
  }
  count -= gone;
  dropped += gone;
}

Tracer::Tracer(size_t max_events) : impl_(std::make_unique<Impl>(max_events)) {}
Tracer::~Tracer() = default;

void Tracer::complete(const char* name,
                      Clock::time_point begin,
                      Clock::time_point end,
                      int64_t step) {
  const int64_t begin_ns = impl_->since_start(begin);
  impl_->add({name, begin_ns, std::max<int64_t>(impl_->since_start(end) - begin_ns, 0), step, 0});
}

void Tracer::counter(const char* name, double value) {
  if (!std::isfinite(value)) return;  // JSON has no word for it
  impl_->add({name, impl_->since_start(Clock::now()), kIsCounter, kNoStep, value});
}

void Tracer::name_thread(std::string_view name) {
  Buffer& buffer = impl_->buffer_of_this_thread();
  const std::lock_guard lock(buffer.mutex);
  buffer.name = name;
}

std::string Tracer::to_json() const {
  struct Row {
    pid_t tid;
    Event event;
  };
  std::vector<Row> rows;
  std::string json = "{\"traceEvents\": [\n";
  const pid_t pid = ::getpid();
  json += fmt::format(
      R"({{"ph": "M", "pid": {}, "tid": 0, "name": "process_name", "args": {{"name": "atoll"}}}})",
      pid);
  uint64_t dropped = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    dropped = impl_->dropped;
    for (const auto& buffer : impl_->buffers) {
      const std::lock_guard buffer_lock(buffer->mutex);
      for (const Event& event : buffer->events) rows.push_back({buffer->tid, event});
      if (buffer->name.empty()) continue;
      json += fmt::format(
          ",\n{{\"ph\": \"M\", \"pid\": {}, \"tid\": {}, \"name\": \"thread_name\", "
          "\"args\": {{\"name\": {}}}}}",
          pid,
          buffer->tid,
          json_string(buffer->name));
    }
  }
  // Viewers want a span before the spans within it.
  std::ranges::stable_sort(rows, [](const Row& a, const Row& b) {
    return std::pair(a.event.begin_ns, -a.event.duration_ns) <
           std::pair(b.event.begin_ns, -b.event.duration_ns);
  });
  for (const auto& [tid, event] : rows) {
    json +=
        fmt::format(",\n{{\"ph\": \"{}\", \"pid\": {}, \"tid\": {}, \"name\": {}, \"ts\": {:.3f}",
                    event.duration_ns == kIsCounter ? 'C' : 'X',
                    pid,
                    tid,
                    json_string(event.name),
                    static_cast<double>(event.begin_ns) / 1e3);
    if (event.duration_ns == kIsCounter) {
      json += fmt::format(", \"args\": {{\"value\": {}}}}}", event.value);
      continue;
    }
    json += fmt::format(", \"dur\": {:.3f}", static_cast<double>(event.duration_ns) / 1e3);
    if (event.step != kNoStep) json += fmt::format(", \"args\": {{\"step\": {}}}", event.step);
    json += '}';
  }
  const auto start_us =
      std::chrono::duration_cast<std::chrono::microseconds>(impl_->start_time.time_since_epoch());
  json += fmt::format(
      "\n], \"displayTimeUnit\": \"ms\", "
      "\"otherData\": {{\"started_unix_us\": {}, \"dropped_events\": {}}}}}\n",
      start_us.count(),
      dropped);
  return json;
}

}  // namespace atl::trace
