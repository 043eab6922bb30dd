// Where the time goes: spans and counters of one run, written as Chrome trace JSON (opens in
// Perfetto and chrome://tracing).
//
//   trace::Tracer tracer;
//   { trace::Span span(&tracer, "backward"); ... }
//   tracer.counter("images_per_s", 41.5);
//   write(tracer.to_json());
//
// A null tracer is allowed everywhere and costs a branch. Thread safe: each thread appends to a
// buffer of its own. Memory is bounded: past max_events the oldest half is dropped, and the count
// of what was dropped stands in the JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace atl::trace {

using Clock = std::chrono::steady_clock;

class Tracer {
 public:
  explicit Tracer(size_t max_events = 400'000);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // `name` must outlive the tracer (a string literal).
  void complete(const char* name,
                Clock::time_point begin,
                Clock::time_point end,
                int64_t step = -1);
  void counter(const char* name, double value);
  // Shown as the row's title in the viewer, for the calling thread.
  void name_thread(std::string_view name);

  // {"traceEvents": [...], "displayTimeUnit": "ms"}; safe while others still record.
  std::string to_json() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Records the time from its construction to its destruction.
class Span {
 public:
  Span(Tracer* tracer, const char* name, int64_t step = -1)
      : tracer_(tracer), name_(name), step_(step), begin_(Clock::now()) {}
  ~Span() {
    if (tracer_ != nullptr) tracer_->complete(name_, begin_, Clock::now(), step_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Tracer* tracer_;
  const char* name_;
  int64_t step_;
  Clock::time_point begin_;
};

}  // namespace atl::trace
