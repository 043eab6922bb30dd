// LibTorch, GPUs and the networks between them.
//
// Sources: "CUDA Toolkit Release Notes", table of driver versions (CUDA 13.x: 580 on Linux); "User Guide" of NVIDIA's
// container toolkit; "Get started with EFA and NCCL" of the Amazon EC2 user guide.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/shell_word.h"
#include "doctor/machine_checks.h"
#include "doctor/text.h"

namespace atl::doctor {
namespace {

// What torch 2.11's wheel, made with CUDA 13.0, needs.
constexpr uint64_t kLeastDriver = 580;
constexpr std::string_view kNvidiaVendor = "0x10de";

bool has_gpu_nodes(const Machine& machine) {
  return std::ranges::any_of(machine.names_in("/dev"), [](std::string_view name) {
    return name.starts_with("nvidia") && number_of(name.substr(6));
  });
}

std::string format_gpus(size_t count) { return format_count(count, "NVIDIA GPU"); }

// Display and 3D controllers of NVIDIA's on the PCI bus, with a driver or without. Containers see the bus, too.
size_t gpus_on_bus(const Machine& machine) {
  size_t count = 0;
  for (const std::string& device : machine.names_in("/sys/bus/pci/devices")) {
    const std::string folder = "/sys/bus/pci/devices/" + device;
    const std::string vendor = machine.read(folder + "/vendor").value_or("");
    const std::string kind = machine.read(folder + "/class").value_or("");
    if (vendor.starts_with(kNvidiaVendor) && kind.starts_with("0x03")) ++count;
  }
  return count;
}

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 …", with "Open Kernel Module for x86_64" in newer
// ones: the first word that begins with a number and a point.
std::string_view driver_version(std::string_view text) {
  for (const std::string_view word : words_of(field_of(text, "NVRM version"))) {
    const size_t point = word.find('.');
    if (point != std::string_view::npos && number_of(word.substr(0, point))) return word;
  }
  return {};
}

Finding driver_finding(const Machine& machine) {
  const std::string text = machine.read("/proc/driver/nvidia/version").value_or("");
  const std::string_view version = driver_version(text);
  if (version.empty()) {
    return {id::kGpuDriver,
            Severity::kWarning,
            "/proc/driver/nvidia/version does not tell the driver's version",
            fmt::format("CUDA 13 needs {} or newer", kLeastDriver),
            "nvidia-smi"};
  }
  if (number_of(version.substr(0, version.find('.'))).value_or(0) < kLeastDriver) {
    return {id::kGpuDriver,
            Severity::kFailure,
            fmt::format("NVIDIA driver {}", version),
            fmt::format("LibTorch's CUDA 13 needs {} or newer", kLeastDriver),
            "apt-get install nvidia-driver-580 (on the host, where this is a container), or atoll "
            "train "
            "--device cpu"};
  }
  if (!machine.has_library("libcuda.so.1")) {
    return {id::kGpuDriver,
            Severity::kFailure,
            fmt::format("NVIDIA driver {}, but libcuda.so.1 is not found", version),
            "no program can use the GPUs",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility; outside of "
            "containers "
            "apt-get install libnvidia-compute-580"};
  }
  return {id::kGpuDriver, Severity::kOk, fmt::format("NVIDIA driver {}", version), "", ""};
}

struct Libraries {
  std::string missing;          // names, for people
  std::string torch_directory;  // "" where LibTorch is not found
};

// Lines of ldd(1): "libc10.so => /opt/torch/lib/libc10.so (0x00007f…)", "libx.so => not found".
Libraries read_libraries(std::string_view listed) {
  Libraries libraries;
  for (const std::string_view line : lines_of(listed)) {
    const auto words = words_of(line);
    if (words.size() < 3 || words[1] != "=>") continue;
    const bool is_missing = words[2] == "not";
    if (is_missing) {
      libraries.missing += fmt::format("{}{}", libraries.missing.empty() ? "" : ", ", words[0]);
    } else if (words[0] == "libtorch_cpu.so") {
      libraries.torch_directory = words[2].substr(0, words[2].rfind('/'));
    }
  }
  return libraries;
}

}  // namespace

std::vector<Finding> engine_findings(const Machine& machine, const std::string& program_directory) {
  const std::string engine = program_directory + "/atoll-engine";
  if (!machine.exists(engine)) {
    return {{id::kEngine,
             Severity::kWarning,
             engine + " is not there",
             "train, eval and predict cannot run",
             "./run build, and keep the two programs in one directory"}};
  }
  const auto listed = machine.libraries_of(engine);
  if (!listed) {
    return {{id::kEngine,
             Severity::kWarning,
             listed.error().to_string(),
             "whether it finds LibTorch is not known",
             "ldd " + shell_word(engine)}};
  }
  const Libraries libraries = read_libraries(*listed);
  if (!libraries.missing.empty() || libraries.torch_directory.empty()) {
    return {{id::kEngine,
             Severity::kFailure,
             fmt::format("{} does not find {}",
                         engine,
                         libraries.missing.empty() ? "libtorch_cpu.so" : libraries.missing),
             "train, eval and predict cannot start",
             "./run setup && ./run build"}};
  }
  std::vector<Finding> findings = {{id::kEngine,
                                    Severity::kOk,
                                    fmt::format("LibTorch in {}", libraries.torch_directory),
                                    "",
                                    ""}};
  if (machine.accelerators() == 0) return findings;
  const std::string cuda = libraries.torch_directory + "/libtorch_cuda.so";
  if (machine.exists(cuda)) {
    findings.push_back({id::kGpuLibraries, Severity::kOk, cuda, "", ""});
  } else {
    findings.push_back({id::kGpuLibraries,
                        Severity::kWarning,
                        cuda + " is not there",
                        "training would run on the CPU beside an idle GPU",
                        "./run setup --cuda"});
  }
  return findings;
}

std::vector<Finding> gpu_findings(const Machine& machine) {
  const int visible = machine.accelerators();
  if (visible > 0) {
    return {{id::kGpu, Severity::kOk, format_gpus(static_cast<size_t>(visible)), "", ""},
            driver_finding(machine)};
  }
  if (has_gpu_nodes(machine)) {
    return {{id::kGpu,
             Severity::kWarning,
             fmt::format("CUDA_VISIBLE_DEVICES=\"{}\" hides every GPU",
                         machine.variable("CUDA_VISIBLE_DEVICES").value_or("")),
             "training runs on the CPU",
             "unset CUDA_VISIBLE_DEVICES"}};
  }
  const size_t on_bus = gpus_on_bus(machine);
  if (on_bus > 0) {
    return {{id::kGpu,
             Severity::kWarning,
             fmt::format("{} on the bus, and no /dev/nvidia0", format_gpus(on_bus)),
             "the driver is not loaded, or this container was not given the GPUs: training runs on "
             "the CPU",
             "docker run --gpus all; outside of containers modprobe nvidia && nvidia-smi"}};
  }
  return {{id::kGpu, Severity::kNote, "no GPU: training runs on the CPU", "", ""}};
}

std::vector<Finding> rdma_findings(const Machine& machine) {
  const auto devices = machine.names_in("/sys/class/infiniband");
  if (devices.empty()) {
    return {{id::kRdma,
             Severity::kNote,
             "no InfiniBand or EFA device: several machines exchange gradients over TCP",
             "",
             ""}};
  }
  const std::string names = fmt::format("{}", fmt::join(devices, ", "));
  const auto nodes = machine.names_in("/dev/infiniband");
  const bool has_verbs =
      std::ranges::any_of(nodes, [](std::string_view name) { return name.starts_with("uverbs"); });
  if (!has_verbs) {
    return {
        {id::kRdma,
         Severity::kWarning,
         fmt::format("{}, but no /dev/infiniband/uverbs0", names),
         "NCCL exchanges gradients over TCP instead",
         "docker run --device /dev/infiniband/uverbs0 --ulimit memlock=-1; outside of containers "
         "modprobe ib_uverbs"}};
  }
  std::vector<Finding> findings = {{id::kRdma, Severity::kOk, names, "", ""}};
  const ResourceLimit locked = machine.limit(Resource::kLockedMemory);
  if (locked.soft != kUnlimited) {
    findings.push_back({id::kLockedMemory,
                        Severity::kWarning,
                        fmt::format("{} of memory may be locked", format_bytes(locked.soft)),
                        "RDMA pins its buffers: NCCL fails with \"Cannot allocate memory\"",
                        locked.hard == kUnlimited
                            ? "ulimit -l unlimited"
                            : "docker run --ulimit memlock=-1; outside of containers \"* - memlock "
                              "unlimited\" in /etc/security/limits.conf"});
  } else {
    findings.push_back(
        {id::kLockedMemory, Severity::kOk, "any amount of memory may be locked", "", ""});
  }
  return findings;
}

}  // namespace atl::doctor
