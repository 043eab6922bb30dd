#include "job/cpu_slices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "job/accelerators.h"

namespace atl::job {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Two packages of four cores with two threads each, numbered as Linux does: 0-7 first threads, 8-15 second ones.
std::vector<Cpu> server() {
  std::vector<Cpu> cpus;
  for (int id = 0; id < 16; ++id) cpus.push_back({id, id % 8 / 4, id % 4});
  return cpus;
}

TEST(CpuSlices, the_threads_of_a_core_stay_together_and_a_package_is_not_mixed) {
  EXPECT_THAT(
      cpu_slices(server(), 2),
      ElementsAre(ElementsAre(0, 8, 1, 9, 2, 10, 3, 11), ElementsAre(4, 12, 5, 13, 6, 14, 7, 15)));
  EXPECT_THAT(cpu_slices(server(), 8)[3], ElementsAre(3, 11));
}

TEST(CpuSlices, threads_are_dealt_out_where_there_are_too_few_cores) {
  const auto slices = cpu_slices(server(), 16);
  ASSERT_EQ(slices.size(), 16);
  for (const auto& slice : slices) EXPECT_EQ(slice.size(), 1);
}

TEST(CpuSlices, every_processor_is_in_one_slice_and_the_slices_are_fair) {
  for (int count = 1; count <= 16; ++count) {
    std::vector<int> all;
    size_t least = 16, most = 0;
    for (const auto& slice : cpu_slices(server(), count)) {
      all.insert(all.end(), slice.begin(), slice.end());
      least = std::min(least, slice.size());
      most = std::max(most, slice.size());
    }
    std::ranges::sort(all);
    EXPECT_EQ(all.size(), 16);
    EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
    EXPECT_LE(most - least, 2) << count;  // a core of two threads
    EXPECT_GE(least, 1);
  }
}

TEST(CpuSlices, with_fewer_processors_than_ranks_all_share_all) {
  EXPECT_THAT(cpu_slices(server(), 17), IsEmpty());
  EXPECT_THAT(cpu_slices({}, 1), IsEmpty());
}

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-job-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  std::filesystem::path folder_;
};

using AllowedCpus = Files;
using Accelerators = Files;

TEST_F(AllowedCpus, the_topology_is_read_and_may_be_missing) {
  const auto without = allowed_cpus(folder_);
  ASSERT_FALSE(without.empty());
  const std::string cpu = "cpu" + std::to_string(without.front().id);
  EXPECT_EQ(without.front().core, without.front().id);
  write(cpu + "/topology/physical_package_id", "1\n");
  write(cpu + "/topology/core_id", "17\n");
  EXPECT_EQ(allowed_cpus(folder_).front().package, 1);
  EXPECT_EQ(allowed_cpus(folder_).front().core, 17);
}

TEST_F(Accelerators, the_nodes_of_gpus_are_counted_and_no_others) {
  EXPECT_EQ(count_accelerators(folder_, {}), 0);
  for (const char* node :
       {"nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvidia", "null"}) {
    write(node, "");
  }
  EXPECT_EQ(count_accelerators(folder_, {}), 3);
  EXPECT_EQ(count_accelerators(folder_ / "none", {}), 0);
}

TEST_F(Accelerators, cuda_visible_devices_lists_those_that_count) {
  EXPECT_EQ(count_accelerators(folder_, "0,1"), 0);  // there is none
  write("nvidia0", "");
  EXPECT_EQ(count_accelerators(folder_, "0,1"), 2);
  EXPECT_EQ(count_accelerators(folder_, ""), 0);
  EXPECT_EQ(count_accelerators(folder_, "-1"), 0);
  EXPECT_EQ(count_accelerators(folder_, "0,-1,1"), 1);
  EXPECT_EQ(count_accelerators(folder_, "MIG-a,MIG-b,MIG-c"), 3);
  EXPECT_EQ(count_accelerators(folder_, "GPU-8932f937"), 1);
}

}  // namespace
}  // namespace atl::job
