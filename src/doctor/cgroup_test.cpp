#include "doctor/cgroup.h"

#include <gtest/gtest.h>

#include <map>

namespace atl::doctor {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

CgroupLimits limits_of(const std::map<std::string, std::string>& files) {
  return read_cgroup_limits([&](const std::string& path) -> Result<std::string> {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path);
    return found->second;
  });
}

TEST(Cgroup, without_groups_there_is_no_limit) {
  for (const auto& limits : {limits_of({}),
                             limits_of({{"/proc/self/cgroup", "0::/\n"},
                                        {"/sys/fs/cgroup/cpu.max", "max 100000\n"},
                                        {"/sys/fs/cgroup/memory.max", "max\n"},
                                        {"/sys/fs/cgroup/pids.max", "max\n"}})}) {
    EXPECT_FALSE(limits.cpus);
    EXPECT_FALSE(limits.memory_bytes);
    EXPECT_FALSE(limits.processes);
  }
}

TEST(Cgroup, the_narrowest_of_the_groups_above_counts) {
  const auto limits =
      limits_of({{"/proc/self/cgroup", "0::/pod/one\n"},
                 {"/sys/fs/cgroup/pod/one/cpu.max", "max 100000\n"},
                 {"/sys/fs/cgroup/pod/cpu.max", "150000 100000\n"},
                 {"/sys/fs/cgroup/cpu.max", "400000 100000\n"},
                 {"/sys/fs/cgroup/pod/one/memory.max", "8589934592\n"},
                 {"/sys/fs/cgroup/pod/one/memory.current", "3221225472\n"},
                 {"/sys/fs/cgroup/pod/one/memory.stat", "anon 5\ninactive_file 1073741824\n"},
                 {"/sys/fs/cgroup/pod/memory.max", "17179869184\n"},
                 {"/sys/fs/cgroup/pod/pids.max", "512\n"}});
  EXPECT_DOUBLE_EQ(limits.cpus.value(), 1.5);
  EXPECT_EQ(limits.memory_bytes.value(), 8 * kGiB);
  EXPECT_EQ(limits.memory_used_bytes.value(), 2 * kGiB);
  EXPECT_EQ(limits.processes.value(), 512u);
}

TEST(Cgroup, version_1_has_a_group_for_each_controller_and_a_container_sees_its_own_as_the_root) {
  const auto limits = limits_of(
      {{"/proc/self/cgroup",
        "8:pids:/docker/1f\n4:memory:/docker/1f\n2:cpu,cpuacct:/docker/1f\n0::/\n"},
       {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"},
       {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
       {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "4294967296\n"},
       {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"},
       {"/sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 1073741824\n"},
       {"/sys/fs/cgroup/pids/pids.max", "max\n"}});
  EXPECT_DOUBLE_EQ(limits.cpus.value(), 2);
  EXPECT_EQ(limits.memory_bytes.value(), 4 * kGiB);
  EXPECT_EQ(limits.memory_used_bytes.value(), 0u);
  EXPECT_FALSE(limits.processes);
}

TEST(Cgroup, version_1_writes_no_limit_as_minus_1_and_as_a_huge_number) {
  const auto limits =
      limits_of({{"/proc/self/cgroup", "4:memory:/\n2:cpu:/\n"},
                 {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
                 {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
                 {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}});
  EXPECT_FALSE(limits.cpus);
  EXPECT_FALSE(limits.memory_bytes);
}

TEST(Cgroup, files_that_make_no_sense_are_no_limits) {
  for (const char* text :
       {"", "\n", "0::", "::::\n:", "1:cpu", "0:relative:path", "0::/..\x01\n:::/"}) {
    const auto limits = limits_of({{"/proc/self/cgroup", text},
                                   {"/sys/fs/cgroup/cpu.max", "100000 0\n"},
                                   {"/sys/fs/cgroup/memory.max", "-5\n"},
                                   {"/sys/fs/cgroup/pids.max", "12x\n"}});
    EXPECT_FALSE(limits.cpus) << text;
    EXPECT_FALSE(limits.memory_bytes) << text;
    EXPECT_FALSE(limits.processes) << text;
  }
}

}  // namespace
}  // namespace atl::doctor
