#include <gmock/gmock.h>

#include "doctor/fake_machine.h"
#include "doctor/machine_checks.h"

namespace atl::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kXeon =
    "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx avx2 avx512f avx512bw\n";

TEST(CpuFindings, name_the_processor_and_its_instructions) {
  FakeMachine machine;
  machine.files["/proc/cpuinfo"] = kXeon;
  auto findings = cpu_findings(machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].what, "8 processors of Intel(R) Xeon(R), AVX-512");
  EXPECT_EQ(findings[0].severity, Severity::kOk);
  machine.files["/proc/cpuinfo"] = "model name\t: old\nflags\t\t: fpu avx\n";
  findings = cpu_findings(machine);
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_THAT(findings[0].what, HasSubstr("without AVX2"));
  machine.files["/proc/cpuinfo"] = "processor\t: 0\nFeatures\t: fp asimd sve\n";
  EXPECT_EQ(cpu_findings(machine)[0].what, "8 processors, SVE");
  machine.files.clear();
  EXPECT_EQ(cpu_findings(machine)[0].severity, Severity::kOk);
}

TEST(CpuFindings, a_quota_below_the_visible_processors_is_told_with_the_threads_that_fit) {
  FakeMachine machine;
  machine.files["/proc/self/cgroup"] = "0::/\n";
  machine.files["/sys/fs/cgroup/cpu.max"] = "250000 100000\n";
  const auto findings = cpu_findings(machine);
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[1].id, id::kCpuQuota);
  EXPECT_EQ(findings[1].severity, Severity::kWarning);
  EXPECT_THAT(findings[1].what, HasSubstr("2.5 of the 8 processors"));
  EXPECT_THAT(findings[1].mend, HasSubstr("--threads 2"));
  machine.cpus = 2;
  EXPECT_THAT(cpu_findings(machine), SizeIs(1));
}

class MemoryFindings : public testing::Test {
 protected:
  Finding look(std::string_view preset = {}) const {
    const auto findings = memory_findings(machine_, preset);
    EXPECT_THAT(findings, SizeIs(1));
    return findings.at(0);
  }
  void set_memory(uint64_t total_gib, uint64_t free_gib) {
    machine_.files["/proc/meminfo"] = fmt::format(
        "MemTotal:  {} kB\nMemFree: 1 kB\nMemAvailable: {} kB\n", total_gib << 20, free_gib << 20);
  }

  FakeMachine machine_;
};

TEST_F(MemoryFindings, a_preset_that_does_not_fit_is_a_failure_and_one_that_is_crowded_a_warning) {
  for (const std::string_view preset : known_presets()) {
    const uint64_t need_gib = (memory_need_bytes(preset) >> 30) + 1;
    set_memory(need_gib + 1, need_gib);
    EXPECT_EQ(look(preset).severity, Severity::kOk);
    set_memory(64, need_gib - 1);
    EXPECT_EQ(look(preset).severity, Severity::kWarning);
    EXPECT_THAT(look(preset).why, HasSubstr(std::string(preset)));
    set_memory(need_gib - 1, need_gib - 1);
    EXPECT_EQ(look(preset).severity, Severity::kFailure);
  }
}

TEST_F(MemoryFindings, a_containers_bound_counts) {
  set_memory(64, 60);
  machine_.files["/proc/self/cgroup"] = "0::/\n";
  machine_.files["/sys/fs/cgroup/memory.max"] = "536870912\n";
  machine_.files["/sys/fs/cgroup/memory.current"] = "268435456\n";
  EXPECT_EQ(look().what, "256.0 MiB of 512.0 MiB free in this container");
  EXPECT_EQ(look().severity, Severity::kWarning);
  machine_.files["/sys/fs/cgroup/memory.max"] = "134217728\n";
  EXPECT_EQ(look("tiny").severity, Severity::kFailure);
}

TEST_F(MemoryFindings, a_kernel_that_does_not_say_is_a_note) {
  EXPECT_EQ(look("tiny").severity, Severity::kNote);
  machine_.files["/proc/meminfo"] = "MemTotal: 99999999999999999999 kB\n";
  EXPECT_EQ(look("tiny").severity, Severity::kNote);
}

TEST_F(MemoryFindings, a_preset_that_nobody_knows_needs_nothing) {
  EXPECT_EQ(memory_need_bytes("r9_fpn"), 0u);
  EXPECT_EQ(memory_need_bytes("r9_fpn", 4), 0u);
}

TEST_F(MemoryFindings, a_smaller_batch_needs_less) {
  for (const std::string_view preset : known_presets()) {
    EXPECT_LT(memory_need_bytes(preset, 1), memory_need_bytes(preset, 2));
    EXPECT_LT(memory_need_bytes(preset, 2), memory_need_bytes(preset));
    EXPECT_GT(memory_need_bytes(preset, ~uint64_t{0}), memory_need_bytes(preset));
  }
}

TEST(LimitFindings, few_open_files_are_told_with_what_raises_them) {
  FakeMachine machine;
  const auto look = [&](uint64_t soft, uint64_t hard) {
    machine.limits[Resource::kOpenFiles] = {soft, hard};
    return limit_findings(machine).at(0);
  };
  EXPECT_EQ(look(kUnlimited, kUnlimited).severity, Severity::kOk);
  EXPECT_EQ(look(4096, 4096).severity, Severity::kOk);
  EXPECT_EQ(look(1024, 1 << 20).severity, Severity::kWarning);
  EXPECT_EQ(look(1024, 1 << 20).mend, "ulimit -n 65536");
  EXPECT_EQ(look(1024, 5000).mend, "ulimit -n 5000");
  EXPECT_THAT(look(1024, 1024).mend, HasSubstr("limits.conf"));
  EXPECT_EQ(look(200, 1024).severity, Severity::kFailure);
}

TEST(LimitFindings, threads_are_counted_against_the_users_and_the_containers_bound) {
  FakeMachine machine;
  const auto look = [&] { return limit_findings(machine).at(1); };
  EXPECT_EQ(look().severity, Severity::kOk);
  machine.limits[Resource::kProcesses] = {200, 200};
  EXPECT_EQ(look().id, id::kProcesses);
  EXPECT_EQ(look().severity, Severity::kWarning);
  EXPECT_THAT(look().mend, HasSubstr("ulimit -u"));
  machine.files["/proc/self/cgroup"] = "0::/\n";
  machine.files["/sys/fs/cgroup/pids.max"] = "50\n";
  EXPECT_EQ(look().severity, Severity::kFailure);
  EXPECT_THAT(look().mend, HasSubstr("--pids-limit"));
  machine.gpus = 8;  // eight ranks
  machine.files["/sys/fs/cgroup/pids.max"] = "500\n";
  EXPECT_EQ(look().severity, Severity::kFailure);
}

TEST(SharedMemoryFindings, matter_where_several_gpus_talk) {
  FakeMachine machine;
  machine.disk->free_bytes = 64 << 20;  // what docker gives
  EXPECT_EQ(shared_memory_findings(machine).at(0).severity, Severity::kOk);
  machine.gpus = 2;
  const auto finding = shared_memory_findings(machine).at(0);
  EXPECT_EQ(finding.severity, Severity::kWarning);
  EXPECT_THAT(finding.mend, HasSubstr("--shm-size"));
  machine.disk = fail(ErrorCode::kNotFound, "/dev/shm: No such file or directory");
  EXPECT_EQ(shared_memory_findings(machine).at(0).severity, Severity::kFailure);
  machine.gpus = 0;
  EXPECT_EQ(shared_memory_findings(machine).at(0).severity, Severity::kNote);
}

}  // namespace
}  // namespace atl::doctor
