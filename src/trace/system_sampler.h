// What the machine does while a run goes on, as counters in its trace: processor use, memory and
// disk traffic, from /proc.
//
//   trace::SystemSampler sampler(&tracer, std::chrono::seconds(1));   // until it is destroyed
//
// Counters: "cpu_percent" (this process; 100 = one core), "machine_cpu_percent" (all processes; 100
// = every core busy), "rss_mib", "read_mib_per_s", "write_mib_per_s" (what reaches the disks, not
// the page cache).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "trace/trace.h"

namespace atl::trace {

// Absolute numbers at one moment; a missing one could not be read (a container may hide io).
struct SystemReading {
  Clock::time_point time;
  std::optional<double> process_cpu_s;  // user and system, all threads
  std::optional<double> machine_busy_ticks;
  std::optional<double> machine_total_ticks;
  std::optional<uint64_t> rss_bytes;
  std::optional<uint64_t> read_bytes;
  std::optional<uint64_t> written_bytes;
};

// Reads <proc>/stat, <proc>/self/{stat,statm,io}.
SystemReading read_system(const std::string& proc = "/proc");

// The counters of the time between two readings, and of the later one.
void record(const SystemReading& before, const SystemReading& after, Tracer& tracer);

class SystemSampler {
 public:
  using Read = std::function<SystemReading()>;

  // A null tracer: does nothing. One reading at once, then one every interval, on a thread of its
  // own.
  SystemSampler(
      Tracer* tracer, std::chrono::milliseconds interval, Read read = [] { return read_system(); });
  // Takes a last reading, so that a short run has its counters, too, and ends without waiting for
  // the interval.
  ~SystemSampler();
  SystemSampler(const SystemSampler&) = delete;
  SystemSampler& operator=(const SystemSampler&) = delete;

 private:
  void run(const std::stop_token& stop);

  Tracer* const tracer_;
  const std::chrono::milliseconds interval_;
  const Read read_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses what is above
};

}  // namespace atl::trace
