#include "trace/system_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <latch>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace atl::trace {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::map<std::string, std::vector<double>> counters_of(const Tracer& tracer) {
  std::map<std::string, std::vector<double>> counters;
  const auto json = nlohmann::json::parse(tracer.to_json());
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] == "C") counters[event["name"]].push_back(event["args"]["value"]);
  }
  return counters;
}

class ProcDirectory {
 public:
  ProcDirectory() {
    std::string name = (fs::temp_directory_path() / "atoll-proc-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
    fs::create_directory(path_ / "self");
  }
  ~ProcDirectory() { fs::remove_all(path_); }
  void write(const char* name, const std::string& text) { std::ofstream(path_ / name) << text; }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

TEST(SystemReading, takes_its_numbers_from_proc) {
  ProcDirectory proc;
  proc.write("stat", "cpu  100 10 50 800 30 5 4 1 60 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
  proc.write("self/stat",
             "42 (odd ) name) S 1 42 42 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 5 0 9 8 7\n");
  proc.write("self/statm", "1000 256 30 1 0 400 0\n");
  proc.write("self/io",
             "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\n"
             "cancelled_write_bytes: 0\n");
  const auto reading = read_system(proc.path());
  const auto ticks_per_s = static_cast<double>(::sysconf(_SC_CLK_TCK));
  EXPECT_DOUBLE_EQ(reading.process_cpu_s.value(), 400 / ticks_per_s);
  EXPECT_DOUBLE_EQ(reading.machine_busy_ticks.value(), 170);
  EXPECT_DOUBLE_EQ(reading.machine_total_ticks.value(), 1000);
  EXPECT_EQ(reading.rss_bytes, 256U * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(reading.read_bytes, 4096);
  EXPECT_EQ(reading.written_bytes, 8192);
}

TEST(SystemReading, leaves_out_what_is_hidden_or_garbled) {
  ProcDirectory proc;
  proc.write("stat", "intr 1 2 3\n");
  proc.write("self/stat", "42 (name");
  proc.write("self/statm", "many");
  const auto reading = read_system(proc.path());
  EXPECT_FALSE(reading.process_cpu_s || reading.machine_busy_ticks || reading.rss_bytes ||
               reading.read_bytes || reading.written_bytes);
  Tracer tracer;
  record(reading, reading, tracer);
  EXPECT_TRUE(counters_of(tracer).empty());
}

TEST(SystemReading, the_real_proc_shows_this_process_growing) {
  const auto before = read_system();
  std::vector<char> memory(64 << 20, 1);
  const auto after = read_system();
  ASSERT_TRUE(before.rss_bytes && after.rss_bytes && after.process_cpu_s);
  EXPECT_GE(*after.rss_bytes, *before.rss_bytes + (60 << 20));
  EXPECT_GE(*after.process_cpu_s, *before.process_cpu_s);
  EXPECT_GT(after.machine_total_ticks.value(), 0);
  EXPECT_EQ(memory.back(), 1);
}

TEST(SystemReading, two_of_them_make_rates) {
  SystemReading before{Clock::time_point(seconds(10)), 5.0, 100.0, 1000.0, 1 << 20, 0, 1 << 20};
  SystemReading after{
      Clock::time_point(seconds(12)), 8.0, 150.0, 1200.0, 3 << 20, 8 << 20, 2 << 20};
  Tracer tracer;
  record(before, after, tracer);
  const auto counters = counters_of(tracer);
  EXPECT_EQ(counters.at("cpu_percent"), std::vector<double>{150});
  EXPECT_EQ(counters.at("machine_cpu_percent"), std::vector<double>{25});
  EXPECT_EQ(counters.at("rss_mib"), std::vector<double>{3});
  EXPECT_EQ(counters.at("read_mib_per_s"), std::vector<double>{4});
  EXPECT_EQ(counters.at("write_mib_per_s"), std::vector<double>{0.5});
}

TEST(SystemSampler, samples_again_and_again) {
  Tracer tracer;
  std::latch three_readings(3);
  int64_t readings = 0;  // by the sampler's thread alone, until it is joined
  {
    const SystemSampler sampler(&tracer, milliseconds(1), [&] {
      if (++readings <= 3) three_readings.count_down();
      SystemReading reading{Clock::time_point(seconds(readings))};
      reading.rss_bytes = static_cast<uint64_t>(readings) << 20;
      return reading;
    });
    three_readings.wait();
  }
  const auto rss_mib = counters_of(tracer).at("rss_mib");
  ASSERT_EQ(static_cast<int64_t>(rss_mib.size()), readings - 1);
  for (size_t i = 0; i < rss_mib.size(); ++i) EXPECT_EQ(rss_mib[i], static_cast<double>(i + 2));
}

// Would hang for an hour if it waited for its interval.
TEST(SystemSampler, ends_at_once_with_a_last_reading) {
  Tracer tracer;
  { const SystemSampler sampler(&tracer, std::chrono::hours(1)); }
  EXPECT_EQ(counters_of(tracer).at("rss_mib").size(), 1);
}

TEST(SystemSampler, without_a_tracer_it_reads_nothing) {
  int readings = 0;
  {
    const SystemSampler sampler(nullptr, milliseconds(1), [&] {
      ++readings;
      return SystemReading{};
    });
  }
  EXPECT_EQ(readings, 0);
}

}  // namespace
}  // namespace atl::trace
