// The checks of a machine, each a function from what it is to what is found.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/checks.h"
#include "doctor/machine.h"

namespace atl::doctor {

// What the machine is to do.
struct MachinePlan {
  std::string preset;           // "": none named
  uint64_t batch = 0;           // images of a step on this machine; 0: the preset's own
  std::string data_directory;   // "": none, or a bucket
  std::string out_directory;    // "": none, or a bucket
  std::string cache_directory;  // "": nothing is read from a bucket
  uint64_t cache_bytes = 0;
  std::string program_directory;  // where bin/atoll lies, and atoll-engine beside it
  bool mounts = false;            // `atoll fs mount` is meant to work here
  int hosts = 1;                  // of the job
};

std::vector<Finding> cpu_findings(const Machine& machine);
// `batch`: images of a step on this machine; 0: the preset's own.
std::vector<Finding> memory_findings(const Machine& machine,
                                     std::string_view preset,
                                     uint64_t batch = 0);
// What a preset with its own picture sizes needs on a CPU; 0: no such preset.
uint64_t memory_need_bytes(std::string_view preset, uint64_t batch = 0);
std::vector<std::string_view> known_presets();

std::vector<Finding> engine_findings(const Machine& machine, const std::string& program_directory);
std::vector<Finding> gpu_findings(const Machine& machine);
std::vector<Finding> rdma_findings(const Machine& machine);

std::vector<Finding> limit_findings(const Machine& machine);
std::vector<Finding> shared_memory_findings(const Machine& machine);

// A place that is written to. `wanted_bytes`: with less free the finding is a warning, with less than a tenth of it a
// failure; one step less where what is written there `gives_way`, and goes on with what there is. `keeps`: what lies there
// should outlive the process.
struct DiskUse {
  std::string_view id;
  std::string name;  // "the cache"
  std::string path;
  uint64_t wanted_bytes = 0;
  bool gives_way = false;
  bool keeps = true;
  std::string elsewhere;  // how another place is named
};
std::vector<Finding> disk_findings(const Machine& machine, const DiskUse& use);
std::vector<Finding> data_findings(const Machine& machine, const std::string& directory);

std::vector<Finding> fuse_findings(const Machine& machine, bool mounts);

std::vector<Finding> host_name_findings(const Machine& machine, int hosts);
std::vector<Finding> port_findings(const Machine& machine);

// Our clock against a server's, whose Date header was read between the two times. SigV4 is refused from 15 minutes on.
Finding clock_finding(std::chrono::system_clock::time_point before,
                      std::chrono::system_clock::time_point server,
                      std::chrono::system_clock::time_point after,
                      std::string_view server_name);
// Where there is no server to ask.
Finding clock_finding(std::optional<bool> is_kept);

std::vector<Check> machine_checks(std::shared_ptr<const Machine> machine, const MachinePlan& plan);

}  // namespace atl::doctor
