#include "trace/system_sampler.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

namespace atl::trace {
namespace {

constexpr double kMiB = 1 << 20;

std::string contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// "cpu  user nice system idle iowait irq softirq steal guest guest_nice": ticks since boot,
// proc(5). Guest time stands within user time and is not counted twice.
void read_machine(const std::string& text, SystemReading& reading) {
  constexpr size_t kColumns = 8, kIdle = 3, kIoWait = 4;
  std::istringstream line(text);
  std::string label;
  if (!(line >> label) || label != "cpu") return;
  double busy = 0, total = 0;
  for (size_t column = 0; column < kColumns; ++column) {
    double ticks = 0;
    if (!(line >> ticks)) return;
    total += ticks;
    if (column != kIdle && column != kIoWait) busy += ticks;
  }
  reading.machine_busy_ticks = busy;
  reading.machine_total_ticks = total;
}

// Fields 14 and 15 are user and system ticks; field 2 is the program's name in parentheses, which
// may hold spaces and parentheses of its own.
void read_process(const std::string& text, SystemReading& reading) {
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream fields(text.substr(name_end + 1));
  constexpr int kFirst = 3, kUser = 14;
  std::string skipped;
  for (int field = kFirst; field < kUser; ++field) fields >> skipped;
  double user_ticks = 0, system_ticks = 0;
  if (!(fields >> user_ticks >> system_ticks)) return;
  reading.process_cpu_s = (user_ticks + system_ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::optional<uint64_t> labelled(const std::string& text, const std::string& label) {
  std::istringstream lines(text);
  std::string found;
  uint64_t value = 0;
  while (lines >> found >> value) {
    if (found == label) return value;
  }
  return std::nullopt;
}

void count(Tracer& tracer, const char* name, std::optional<double> value) {
  if (value) tracer.counter(name, *value);
}

// The difference by something, where both are known and time has passed.
template <typename T>
std::optional<double> rate(std::optional<T> before, std::optional<T> after, double divisor) {
  if (!before || !after || *after < *before || !(divisor > 0)) return std::nullopt;
  return static_cast<double>(*after - *before) / divisor;
}

}  // namespace

SystemReading read_system(const std::string& proc) {
  SystemReading reading{Clock::now()};
  read_machine(contents(proc + "/stat"), reading);
  read_process(contents(proc + "/self/stat"), reading);
  std::istringstream statm(contents(proc + "/self/statm"));
  uint64_t size_pages = 0, resident_pages = 0;
  if (statm >> size_pages >> resident_pages) {
    reading.rss_bytes = resident_pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  const std::string io = contents(proc + "/self/io");
  reading.read_bytes = labelled(io, "read_bytes:");
  reading.written_bytes = labelled(io, "write_bytes:");
  return reading;
}

void record(const SystemReading& before, const SystemReading& after, Tracer& tracer) {
  const double seconds = std::chrono::duration<double>(after.time - before.time).count();
  count(tracer, "cpu_percent", rate(before.process_cpu_s, after.process_cpu_s, seconds / 100));
  const auto ticks = rate(before.machine_total_ticks, after.machine_total_ticks, 100);
  count(tracer,
        "machine_cpu_percent",
        rate(before.machine_busy_ticks, after.machine_busy_ticks, ticks.value_or(0)));
  if (after.rss_bytes) tracer.counter("rss_mib", static_cast<double>(*after.rss_bytes) / kMiB);
  count(tracer, "read_mib_per_s", rate(before.read_bytes, after.read_bytes, seconds * kMiB));
  count(tracer, "write_mib_per_s", rate(before.written_bytes, after.written_bytes, seconds * kMiB));
}

SystemSampler::SystemSampler(Tracer* tracer, std::chrono::milliseconds interval, Read read)
    : tracer_(tracer), interval_(interval), read_(std::move(read)) {
  if (tracer_ == nullptr) return;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

SystemSampler::~SystemSampler() = default;  // jthread requests the stop, and joins

void SystemSampler::run(const std::stop_token& stop) {
  tracer_->name_thread("system sampler");
  SystemReading before = read_();
  bool stopped = false;
  while (!stopped) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, interval_, [] { return false; });
    }
    stopped = stop.stop_requested();
    SystemReading after = read_();
    record(before, after, *tracer_);
    before = after;
  }
}

}  // namespace atl::trace
