// Which checks a machine gets.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "doctor/machine_checks.h"
#include "storage/nameless_file.h"

namespace atl::doctor {
namespace {

// A run writes checkpoints: three of ResNet-101-FPN, and the best, with the optimiser's state.
constexpr uint64_t kOutBytes = uint64_t{4} << 30;
constexpr uint64_t kTemporaryBytes = uint64_t{2} << 30;

using Look = std::function<std::vector<Finding>(const Machine& machine)>;

class Plan {
 public:
  explicit Plan(std::shared_ptr<const Machine> machine) : machine_(std::move(machine)) {}

  void add(Step step, Look look) {
    checks_.push_back(
        {std::move(step),
         [machine = machine_, look = std::move(look)](Report& report, const std::stop_token&) {
           for (Finding& finding : look(*machine)) report.add(std::move(finding));
         }});
  }
  void add_disk(DiskUse use) {
    Step step{use.id, fmt::format("writing to {}", use.path), Severity::kFailure, use.elsewhere};
    add(std::move(step),
        [use = std::move(use)](const Machine& m) { return disk_findings(m, use); });
  }
  std::vector<Check> take() { return std::move(checks_); }

 private:
  const std::shared_ptr<const Machine> machine_;
  std::vector<Check> checks_;
};

void add_disks(Plan& checks, const MachinePlan& plan) {
  if (!plan.data_directory.empty()) {
    checks.add(
        {id::kData, "reading " + plan.data_directory, Severity::kFailure, "ls the directory"},
        [directory = plan.data_directory](const Machine& m) {
          return data_findings(m, directory);
        });
  }
  if (!plan.cache_directory.empty()) {
    // A bound that is larger than the disk is no plan. What is cached there already is part of what is wanted.
    checks.add_disk({.id = id::kDiskCache,
                     .name = "the cache",
                     .path = plan.cache_directory,
                     .wanted_bytes = std::min(plan.cache_bytes, uint64_t{20} << 30),
                     .gives_way = true,
                     .keeps = true,
                     .elsewhere = "--cache-dir DIR"});
  }
  if (!plan.out_directory.empty()) {
    checks.add_disk({.id = id::kDiskOut,
                     .name = "the output",
                     .path = plan.out_directory,
                     .wanted_bytes = kOutBytes,
                     .keeps = true,
                     .elsewhere = "--out DIR"});
  }
  checks.add_disk({.id = id::kDiskTemporary,
                   .name = "temporary files",
                   .path = storage::temporary_directory(),
                   .wanted_bytes = kTemporaryBytes,
                   .keeps = false,
                   .elsewhere = "export TMPDIR=DIR"});
}

}  // namespace

std::vector<Check> machine_checks(std::shared_ptr<const Machine> machine, const MachinePlan& plan) {
  Plan checks(std::move(machine));
  checks.add({id::kCpu, "looking at the processors"}, cpu_findings);
  checks.add({id::kMemory, "looking at the memory"},
             [preset = plan.preset, batch = plan.batch](const Machine& m) {
               return memory_findings(m, preset, batch);
             });
  checks.add({id::kEngine, "looking for LibTorch", Severity::kWarning},
             [directory = plan.program_directory](const Machine& m) {
               return engine_findings(m, directory);
             });
  checks.add({id::kGpu, "looking for GPUs", Severity::kWarning, "nvidia-smi"}, gpu_findings);
  checks.add({id::kRdma, "looking for InfiniBand and EFA", Severity::kNote}, rdma_findings);
  checks.add({id::kOpenFiles, "looking at the limits"}, limit_findings);
  checks.add({id::kSharedMemory, "looking at /dev/shm"}, shared_memory_findings);
  add_disks(checks, plan);
  checks.add(
      {id::kFuseDevice, "looking for FUSE", plan.mounts ? Severity::kFailure : Severity::kWarning},
      [mounts = plan.mounts](const Machine& m) { return fuse_findings(m, mounts); });
  checks.add({id::kHostName,
              "resolving this host's name",
              plan.hosts > 1 ? Severity::kFailure : Severity::kWarning,
              "check /etc/resolv.conf, and \"getent hosts $(hostname)\""},
             [hosts = plan.hosts](const Machine& m) { return host_name_findings(m, hosts); });
  checks.add({id::kPorts, "trying ports"}, port_findings);
  return checks.take();
}

}  // namespace atl::doctor
