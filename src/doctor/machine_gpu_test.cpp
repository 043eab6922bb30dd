#include <gmock/gmock.h>

#include "doctor/fake_machine.h"
#include "doctor/machine_checks.h"

namespace atl::doctor {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kEngine = "/opt/atoll/bin/atoll-engine";
constexpr const char* kLibraries =
    "\tlinux-vdso.so.1 (0x00007ffd)\n"
    "\tlibc10.so => /opt/torch/lib/libc10.so (0x00007f01)\n"
    "\tlibtorch_cpu.so => /opt/torch/lib/libtorch_cpu.so (0x00007f02)\n"
    "\t/lib64/ld-linux-x86-64.so.2 (0x00007f03)\n";

class EngineFindings : public testing::Test {
 protected:
  EngineFindings() {
    machine_.paths.insert(kEngine);
    machine_.engine_libraries = kLibraries;
  }
  std::vector<Finding> look() const { return engine_findings(machine_, "/opt/atoll/bin"); }

  FakeMachine machine_;
};

TEST_F(EngineFindings, tell_where_libtorch_is) {
  const auto findings = look();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].severity, Severity::kOk);
  EXPECT_EQ(findings[0].what, "LibTorch in /opt/torch/lib");
}

TEST_F(EngineFindings, a_library_that_is_not_found_is_a_failure) {
  machine_.engine_libraries = std::string(kLibraries) + "\tlibcudart.so.13 => not found\n";
  EXPECT_EQ(look()[0].severity, Severity::kFailure);
  EXPECT_THAT(look()[0].what, HasSubstr("libcudart.so.13"));
  machine_.engine_libraries = "\tlibtorch_cpu.so => not found\n";
  EXPECT_THAT(look()[0].what, HasSubstr("libtorch_cpu.so"));
  machine_.engine_libraries = "\tstatically linked\n";
  EXPECT_EQ(look()[0].severity, Severity::kFailure);
}

TEST_F(EngineFindings, without_the_engine_the_rest_of_the_program_works) {
  machine_.paths.clear();
  EXPECT_EQ(look()[0].severity, Severity::kWarning);
  EXPECT_THAT(look()[0].mend, HasSubstr("./run build"));
}

TEST_F(EngineFindings, a_loader_that_does_not_tell_is_a_warning) {
  machine_.engine_libraries = fail(ErrorCode::kIo, "starting it: Exec format error");
  EXPECT_EQ(look()[0].severity, Severity::kWarning);
}

TEST_F(EngineFindings, a_gpu_wants_libtorchs_cuda_libraries) {
  machine_.gpus = 1;
  ASSERT_THAT(look(), SizeIs(2));
  EXPECT_EQ(look()[1].id, id::kGpuLibraries);
  EXPECT_EQ(look()[1].severity, Severity::kWarning);
  EXPECT_EQ(look()[1].mend, "./run setup --cuda");
  machine_.paths.insert("/opt/torch/lib/libtorch_cuda.so");
  EXPECT_EQ(look()[1].severity, Severity::kOk);
}

class GpuFindings : public testing::Test {
 protected:
  void set_driver(const std::string& line) {
    machine_.gpus = 1;
    machine_.libraries = {"libcuda.so.1"};
    machine_.files["/proc/driver/nvidia/version"] = line + "\nGCC version:  gcc version 12.2.0\n";
  }
  Finding driver() const {
    const auto findings = gpu_findings(machine_);
    EXPECT_THAT(findings, SizeIs(2));
    return findings.back();
  }

  FakeMachine machine_;
};

TEST_F(GpuFindings, a_driver_for_cuda_13_is_new_enough) {
  set_driver(
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 06:54:38 UTC 2025");
  EXPECT_EQ(driver().severity, Severity::kOk);
  EXPECT_EQ(driver().what, "NVIDIA driver 580.65.06");
  set_driver("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  590.10  Release Build");
  EXPECT_EQ(driver().what, "NVIDIA driver 590.10");
}

TEST_F(GpuFindings, an_older_driver_is_a_failure) {
  set_driver(
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024");
  EXPECT_EQ(driver().id, id::kGpuDriver);
  EXPECT_EQ(driver().severity, Severity::kFailure);
  EXPECT_THAT(driver().why, HasSubstr("580"));
}

TEST_F(GpuFindings, a_driver_that_does_not_tell_its_version_is_a_warning) {
  for (const char* text : {"", "NVRM version:", "NVRM version: x.y"}) {
    set_driver(text);
    EXPECT_EQ(driver().severity, Severity::kWarning) << text;
  }
}

TEST_F(GpuFindings, a_container_without_the_drivers_library_is_a_failure) {
  set_driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06");
  machine_.libraries.clear();
  EXPECT_EQ(driver().severity, Severity::kFailure);
  EXPECT_THAT(driver().mend, HasSubstr("NVIDIA_DRIVER_CAPABILITIES=compute"));
}

TEST_F(GpuFindings, no_gpu_is_no_fault) {
  const auto findings = gpu_findings(machine_);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].severity, Severity::kNote);
}

TEST_F(GpuFindings, a_gpu_without_its_nodes_is_told) {
  machine_.files["/sys/bus/pci/devices/0000:00:1e.0/vendor"] = "0x10de\n";
  machine_.files["/sys/bus/pci/devices/0000:00:1e.0/class"] = "0x030200\n";
  machine_.files["/sys/bus/pci/devices/0000:00:1f.0/vendor"] = "0x10de\n";
  machine_.files["/sys/bus/pci/devices/0000:00:1f.0/class"] = "0x068000\n";  // a bridge
  const auto findings = gpu_findings(machine_);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_THAT(findings[0].what, HasSubstr("1 NVIDIA GPU on the bus"));
  EXPECT_THAT(findings[0].mend, HasSubstr("docker run --gpus all"));
}

TEST_F(GpuFindings, gpus_that_a_variable_hides_are_told) {
  machine_.paths = {"/dev/nvidia0", "/dev/nvidiactl"};
  machine_.variables["CUDA_VISIBLE_DEVICES"] = "-1";
  const auto findings = gpu_findings(machine_);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_THAT(findings[0].what, HasSubstr("CUDA_VISIBLE_DEVICES=\"-1\""));
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
}

TEST(RdmaFindings, none_is_a_note) {
  EXPECT_EQ(rdma_findings(FakeMachine()).at(0).severity, Severity::kNote);
}

TEST(RdmaFindings, a_device_without_its_node_is_told) {
  FakeMachine machine;
  machine.paths = {"/sys/class/infiniband/rdmap0s6", "/dev/infiniband/rdma_cm"};
  const auto findings = rdma_findings(machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_THAT(findings[0].what, HasSubstr("rdmap0s6"));
}

TEST(RdmaFindings, locked_memory_is_looked_at_where_there_is_such_a_device) {
  FakeMachine machine;
  machine.paths = {"/sys/class/infiniband/rdmap0s6", "/dev/infiniband/uverbs0"};
  EXPECT_EQ(rdma_findings(machine).at(1).severity, Severity::kOk);
  machine.limits[Resource::kLockedMemory] = {8 << 20, kUnlimited};
  EXPECT_EQ(rdma_findings(machine).at(1).id, id::kLockedMemory);
  EXPECT_EQ(rdma_findings(machine).at(1).severity, Severity::kWarning);
  EXPECT_EQ(rdma_findings(machine).at(1).mend, "ulimit -l unlimited");
  machine.limits[Resource::kLockedMemory] = {8 << 20, 8 << 20};
  EXPECT_THAT(rdma_findings(machine).at(1).mend, HasSubstr("--ulimit memlock=-1"));
}

}  // namespace
}  // namespace atl::doctor
