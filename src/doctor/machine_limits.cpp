// What the system lets a process have besides processors and memory.
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "doctor/cgroup.h"
#include "doctor/machine_checks.h"

namespace atl::doctor {
namespace {

// 64 connections for each of a few hosts, mapped pictures, shards, and what a mount has open for its programs.
constexpr uint64_t kEnoughOpenFiles = 4096;
constexpr uint64_t kLeastOpenFiles = 256;
// Threads count as processes: each rank has one for each processor in the kernels and as many in the loader, and some.
constexpr uint64_t kThreadsOfARank = 64;
// NCCL's buffers between the GPUs of a machine are about 10 MiB for each pair of channels.
constexpr uint64_t kEnoughSharedMemory = uint64_t{1} << 30;

std::string shown(uint64_t limit, std::string_view things) {
  return limit == kUnlimited ? fmt::format("any number of {}", things)
                             : fmt::format("{} {} at most", limit, things);
}

Finding open_files_finding(const Machine& machine) {
  const ResourceLimit limit = machine.limit(Resource::kOpenFiles);
  Finding finding{.id = id::kOpenFiles, .what = shown(limit.soft, "open files")};
  if (limit.soft >= kEnoughOpenFiles) return {finding};
  finding.severity = limit.soft < kLeastOpenFiles ? Severity::kFailure : Severity::kWarning;
  finding.why = "the loader and a mount with many open files end with \"Too many open files\"";
  finding.mend =
      limit.hard >= kEnoughOpenFiles
          ? fmt::format("ulimit -n {}", std::min<uint64_t>(limit.hard, 65536))
          : "docker run --ulimit nofile=65536; outside of containers \"* - nofile 65536\" in "
            "/etc/security/limits.conf";
  return finding;
}

Finding processes_finding(const Machine& machine) {
  const uint64_t own = machine.limit(Resource::kProcesses).soft;
  const auto groups =
      read_cgroup_limits([&](const std::string& path) { return machine.read(path); }).processes;
  const bool is_groups = groups && *groups < own;
  const uint64_t limit = is_groups ? *groups : own;
  const auto cpus = static_cast<uint64_t>(machine.allowed_cpus());
  const auto ranks = static_cast<uint64_t>(std::max(1, machine.accelerators()));
  const uint64_t need = 2 * cpus + kThreadsOfARank * ranks;
  Finding finding{.id = id::kProcesses, .what = shown(limit, "processes and threads")};
  if (limit >= 4 * need) return finding;
  finding.severity = limit < need ? Severity::kFailure : Severity::kWarning;
  finding.why = fmt::format(
      "the ranks of this machine have about {} threads, and everything else of this {} counts too",
      need,
      is_groups ? "container" : "user");
  finding.mend = is_groups ? "docker run --pids-limit -1; in a systemd unit TasksMax=infinity"
                           : "ulimit -u unlimited, or \"* - nproc unlimited\" in "
                             "/etc/security/limits.conf";
  return finding;
}

}  // namespace

std::vector<Finding> limit_findings(const Machine& machine) {
  return {open_files_finding(machine), processes_finding(machine)};
}

std::vector<Finding> shared_memory_findings(const Machine& machine) {
  constexpr const char* kPlace = "/dev/shm";
  const auto space = machine.space(kPlace);
  const bool has_several_gpus = machine.accelerators() > 1;
  Finding finding{.id = id::kSharedMemory};
  if (!space) {
    finding.severity = has_several_gpus ? Severity::kFailure : Severity::kNote;
    finding.what = fmt::format("no {}: {}", kPlace, space.error().message);
    if (has_several_gpus) {
      finding.why = "NCCL cannot connect the GPUs of this machine";
      finding.mend = "mount -t tmpfs -o size=8g tmpfs /dev/shm";
    }
    return {finding};
  }
  finding.what = fmt::format("{} free in {}", format_bytes(space->free_bytes), kPlace);
  if (has_several_gpus && space->free_bytes < kEnoughSharedMemory) {
    finding.severity = Severity::kWarning;
    finding.why =
        "NCCL's buffers between the GPUs of this machine lie there: it ends with \"No space left "
        "on device\"";
    finding.mend =
        "docker run --shm-size 8g (or --ipc host); outside of containers mount -o remount,size=8g "
        "/dev/shm";
  }
  return {finding};
}

}  // namespace atl::doctor
