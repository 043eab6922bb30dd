// Processors and memory.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/bytes.h"
#include "doctor/cgroup.h"
#include "doctor/machine_checks.h"
#include "doctor/text.h"

namespace atl::doctor {
namespace {

CgroupLimits cgroup_limits(const Machine& machine) {
  return read_cgroup_limits([&](const std::string& path) { return machine.read(path); });
}

bool has_word(std::string_view text, std::string_view word) {
  return std::ranges::count(words_of(text), word) > 0;
}

Finding processor_finding(const Machine& machine) {
  const std::string info = machine.read("/proc/cpuinfo").value_or("");
  const std::string_view x86_flags = field_of(info, "flags");
  const std::string_view arm_flags = field_of(info, "Features");
  const std::string_view model = field_of(info, "model name");
  Finding finding{.id = id::kCpu};
  finding.what = format_count(static_cast<uint64_t>(machine.allowed_cpus()), "processor");
  if (!model.empty()) finding.what += fmt::format(" of {}", model);
  if (!arm_flags.empty()) {
    if (has_word(arm_flags, "sve")) finding.what += ", SVE";
    return finding;
  }
  if (has_word(x86_flags, "avx512f")) {
    finding.what += ", AVX-512";
  } else if (has_word(x86_flags, "avx2")) {
    finding.what += ", AVX2";
  } else if (!x86_flags.empty()) {
    finding.severity = Severity::kWarning;
    finding.what += ", without AVX2";
    finding.why = "convolutions run several times slower";
    finding.mend =
        "take a machine from 2014 on, or have the virtual machine show its host's processor "
        "(QEMU: -cpu host)";
  }
  return finding;
}

}  // namespace

std::vector<Finding> cpu_findings(const Machine& machine) {
  std::vector<Finding> findings = {processor_finding(machine)};
  const auto quota = cgroup_limits(machine).cpus;
  const int cpus = machine.allowed_cpus();
  if (quota && *quota < cpus) {
    const int threads = std::max(1, static_cast<int>(std::floor(*quota)));
    findings.push_back(
        {id::kCpuQuota,
         Severity::kWarning,
         fmt::format(
             "this container may use {:.3g} of the {} processors that it sees", *quota, cpus),
         "with a thread for each processor all of them stand still for a part of the time",
         fmt::format("atoll train --threads {}, or give it more: docker run --cpus {}, "
                     "resources.limits.cpu: {}",
                     threads,
                     cpus,
                     cpus)});
  }
  return findings;
}

namespace {

// Peak resident memory of a step of `atoll train --preset NAME` on a CPU, with a batch of one and of two square pictures at
// the preset's own size; the difference is an image's, and a third more, for COCO's pictures are larger than square ones.
// Rounded up. r34_fpn's is between its neighbours'.
struct PresetNeed {
  std::string_view name;
  uint64_t fixed_mib;
  uint64_t image_mib;
  uint64_t batch;  // the preset's own
};
constexpr auto kNeeds = std::to_array<PresetNeed>({{"tiny", 256, 16, 8},
                                                   {"r18_fpn", 750, 320, 16},
                                                   {"r34_fpn", 900, 380, 16},
                                                   {"r50_fpn", 900, 600, 16},
                                                   {"r101_fpn", 1300, 800, 16}});
constexpr uint64_t kLittleMemory = uint64_t{768} << 20;

// "MemTotal:       24684096 kB".
std::optional<uint64_t> meminfo(std::string_view text, std::string_view name) {
  const std::string_view value = field_of(text, name);
  const auto words = words_of(value);
  if (words.empty()) return std::nullopt;
  const auto kilobytes = number_of(words[0]);
  if (!kilobytes || *kilobytes > (kUnlimited >> 10)) return std::nullopt;
  return *kilobytes << 10;
}

}  // namespace

uint64_t memory_need_bytes(std::string_view preset, uint64_t batch) {
  const auto* const found = std::ranges::find(kNeeds, preset, &PresetNeed::name);
  if (found == kNeeds.end()) return 0;
  constexpr uint64_t kMost = uint64_t{1} << 30;  // of images; no overflow
  const uint64_t images = std::min(batch == 0 ? found->batch : batch, kMost);
  return (found->fixed_mib + images * found->image_mib) << 20;
}

std::vector<std::string_view> known_presets() {
  std::vector<std::string_view> names;
  names.reserve(kNeeds.size());
  for (const PresetNeed& need : kNeeds) names.push_back(need.name);
  return names;
}

std::vector<Finding> memory_findings(const Machine& machine,
                                     std::string_view preset,
                                     uint64_t batch) {
  const std::string info = machine.read("/proc/meminfo").value_or("");
  const auto machine_total = meminfo(info, "MemTotal");
  if (!machine_total) {
    return {{id::kMemory,
             Severity::kNote,
             "/proc/meminfo does not say how much memory there is",
             "",
             ""}};
  }
  uint64_t total = *machine_total;
  uint64_t free = meminfo(info, "MemAvailable").value_or(total);
  std::string where = "this machine";
  const CgroupLimits limits = cgroup_limits(machine);
  if (limits.memory_bytes && *limits.memory_bytes < total) {
    total = *limits.memory_bytes;
    free = std::min(free, total - std::min(total, limits.memory_used_bytes.value_or(0)));
    where = "this container";
  }
  Finding finding{.id = id::kMemory};
  finding.what = fmt::format("{} of {} free in {}", format_bytes(free), format_bytes(total), where);
  // On a GPU pictures and gradients lie in its memory.
  const uint64_t need = machine.accelerators() > 0 ? 0 : memory_need_bytes(preset, batch);
  const std::string wish = fmt::format("{} needs about {} on a CPU", preset, format_bytes(need));
  if (total < need) {
    finding.severity = Severity::kFailure;
    finding.why = wish + ": the kernel would kill it";
    finding.mend =
        "a smaller --batch or --set data.min_size, another --preset, or more: docker run --memory";
  } else if (free < need) {
    finding.severity = Severity::kWarning;
    finding.why = wish;
    finding.mend = "end what else runs (ps aux --sort=-rss | head)";
  } else if (total < kLittleMemory) {
    finding.severity = Severity::kWarning;
    finding.why = fmt::format("the smallest preset alone needs about {}",
                              format_bytes(memory_need_bytes("tiny", 0)));
    finding.mend = "take a larger machine, or give the container more: docker run --memory";
  }
  return {finding};
}

}  // namespace atl::doctor
