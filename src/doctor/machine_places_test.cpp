// Disks, FUSE, names, ports and the clock.
#include <gmock/gmock.h>

#include <filesystem>

#include "doctor/fake_machine.h"
#include "doctor/machine_checks.h"

namespace atl::doctor {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uint64_t kGiB = uint64_t{1} << 30;

class DiskFindings : public testing::Test {
 protected:
  Finding look(bool keeps = true, bool gives_way = false) const {
    const auto findings = disk_findings(machine_,
                                        {.id = id::kDiskOut,
                                         .name = "the output",
                                         .path = "/data/run 1",
                                         .wanted_bytes = 10 * kGiB,
                                         .gives_way = gives_way,
                                         .keeps = keeps,
                                         .elsewhere = "--out DIR"});
    EXPECT_THAT(findings, SizeIs(1));
    return findings.at(0);
  }
  void set_kind(const std::string& kind) {
    machine_.files["/proc/self/mountinfo"] = fmt::format(
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n36 20 0:47 / /data rw shared:1 - {} x rw\n", kind);
  }

  FakeMachine machine_;
};

TEST_F(DiskFindings, name_room_and_kind) {
  set_kind("xfs");
  EXPECT_EQ(look().severity, Severity::kOk);
  EXPECT_EQ(look().what, "the output: 200.0 GiB free in /data/run 1 on xfs");
}

TEST_F(DiskFindings, little_room_is_a_warning_and_hardly_any_a_failure) {
  machine_.disk->free_bytes = 9 * kGiB;
  EXPECT_EQ(look().severity, Severity::kWarning);
  EXPECT_THAT(look().mend, HasSubstr("'/data/run 1'"));
  machine_.disk->free_bytes = kGiB - 1;
  EXPECT_EQ(look().severity, Severity::kFailure);
}

TEST_F(DiskFindings, a_cache_goes_on_with_the_room_that_there_is) {
  machine_.disk->free_bytes = 9 * kGiB;
  EXPECT_EQ(look(true, /*gives_way=*/true).severity, Severity::kNote);
  machine_.disk->free_bytes = kGiB - 1;
  EXPECT_EQ(look(true, /*gives_way=*/true).severity, Severity::kWarning);
  set_kind("tmpfs");
  machine_.disk->free_bytes = 9 * kGiB;
  EXPECT_EQ(look(true, /*gives_way=*/true).severity, Severity::kWarning) << "as for its kind";
}

TEST_F(DiskFindings, inodes_run_out_too) {
  machine_.disk->free_files = 10;
  EXPECT_EQ(look().severity, Severity::kWarning);
  machine_.disk->free_files = 0;
  EXPECT_EQ(look().severity, Severity::kFailure);
  machine_.disk->counts_files = false;
  EXPECT_EQ(look().severity, Severity::kOk);
}

TEST_F(DiskFindings, a_place_that_cannot_be_written_to_is_a_failure) {
  machine_.write_time = fail(ErrorCode::kIo, "writing to /data: Read-only file system");
  EXPECT_EQ(look().severity, Severity::kFailure);
  EXPECT_THAT(look().what, HasSubstr("Read-only file system"));
  machine_.write_time = std::chrono::duration<double>(0.001);
  machine_.disk = fail(ErrorCode::kIo, "/data: Stale file handle");
  EXPECT_THAT(look().what, HasSubstr("Stale file handle"));
}

TEST_F(DiskFindings, memory_and_a_containers_layer_keep_nothing) {
  set_kind("tmpfs");
  EXPECT_EQ(look().severity, Severity::kWarning);
  EXPECT_EQ(look(/*keeps=*/false).severity, Severity::kNote);
  set_kind("overlay");
  EXPECT_EQ(look().severity, Severity::kNote);
  EXPECT_THAT(look().mend, HasSubstr("docker run -v"));
  EXPECT_EQ(look(/*keeps=*/false).severity, Severity::kOk);
}

TEST_F(DiskFindings, a_slow_disk_is_a_warning) {
  machine_.write_time = std::chrono::duration<double>(2.5);
  EXPECT_EQ(look().severity, Severity::kWarning);
  EXPECT_THAT(look().why, HasSubstr("2.5 s"));
}

TEST(DataFindings, a_directory_that_is_not_there_or_empty_is_a_failure) {
  FakeMachine machine;
  EXPECT_EQ(data_findings(machine, "/coco").at(0).severity, Severity::kFailure);
  EXPECT_THAT(data_findings(machine, "/coco").at(0).what, HasSubstr("is not there"));
  machine.paths = {"/coco"};
  EXPECT_THAT(data_findings(machine, "/coco").at(0).what, HasSubstr("is empty"));
  machine.paths = {"/coco", "/coco/annotations"};
  EXPECT_EQ(data_findings(machine, "/coco").at(0).severity, Severity::kOk);
}

class FuseFindings : public testing::Test {
 protected:
  FuseFindings() {
    machine_.paths = {"/dev/fuse"};
    machine_.programs = {{"fusermount3", "/usr/bin/fusermount3"}};
    machine_.setuid_programs = {"/usr/bin/fusermount3"};
    machine_.files["/etc/fuse.conf"] = "# comment\n#user_allow_other\nuser_allow_other \n";
  }
  Severity worst(bool mounts) const {
    Severity worst = Severity::kOk;
    for (const Finding& finding : fuse_findings(machine_, mounts)) {
      worst = std::max(worst, finding.severity);
    }
    return worst;
  }

  FakeMachine machine_;
};

TEST_F(FuseFindings, all_is_well_where_all_is_there) {
  EXPECT_EQ(worst(true), Severity::kOk);
  EXPECT_THAT(fuse_findings(machine_, true), SizeIs(3));
}

TEST_F(FuseFindings, without_the_device_nothing_mounts) {
  machine_.paths.clear();
  EXPECT_THAT(fuse_findings(machine_, false), SizeIs(1));
  EXPECT_EQ(worst(false), Severity::kWarning);
  EXPECT_EQ(worst(true), Severity::kFailure);
  EXPECT_THAT(fuse_findings(machine_, true)[0].mend, HasSubstr("--device /dev/fuse"));
}

TEST_F(FuseFindings, a_device_for_others_is_told) {
  machine_.device_errors.insert(
      {"/dev/fuse", Error{ErrorCode::kPermission, "/dev/fuse: Permission denied", "", {}}});
  EXPECT_EQ(worst(true), Severity::kFailure);
  EXPECT_THAT(fuse_findings(machine_, true)[0].mend, HasSubstr("chmod 666"));
}

TEST_F(FuseFindings, a_user_needs_the_helper_and_root_does_not) {
  machine_.setuid_programs.clear();
  EXPECT_THAT(fuse_findings(machine_, false)[1].mend, HasSubstr("chmod u+s"));
  EXPECT_EQ(worst(true), Severity::kFailure);
  machine_.programs.clear();
  EXPECT_THAT(fuse_findings(machine_, false)[1].mend, HasSubstr("apt-get install fuse3"));
  machine_.root = true;
  EXPECT_EQ(worst(true), Severity::kOk);
}

TEST_F(FuseFindings, a_mount_for_other_users_must_be_allowed) {
  machine_.files["/etc/fuse.conf"] = "#user_allow_other\n";
  EXPECT_EQ(fuse_findings(machine_, true)[2].id, id::kFuseOthers);
  EXPECT_EQ(worst(true), Severity::kNote);
}

TEST(HostNameFindings, a_name_without_an_address_fails_a_job_of_several_hosts) {
  FakeMachine machine;
  EXPECT_EQ(host_name_findings(machine, 2).at(0).severity, Severity::kOk);
  machine.addresses = fail(ErrorCode::kNotFound, "gpu01: Name or service not known");
  EXPECT_EQ(host_name_findings(machine, 1).at(0).severity, Severity::kNote);
  EXPECT_EQ(host_name_findings(machine, 2).at(0).severity, Severity::kFailure);
  EXPECT_THAT(host_name_findings(machine, 2).at(0).mend, HasSubstr("/etc/hosts"));
}

TEST(HostNameFindings, an_address_that_only_this_host_reaches_is_told) {
  FakeMachine machine;
  machine.addresses = std::vector<std::string>{"127.0.1.1", "::1"};
  EXPECT_EQ(host_name_findings(machine, 1).at(0).severity, Severity::kNote);
  EXPECT_EQ(host_name_findings(machine, 2).at(0).severity, Severity::kWarning);
  EXPECT_THAT(host_name_findings(machine, 2).at(0).mend, HasSubstr("--rendezvous"));
}

TEST(PortFindings, ports_that_the_kernel_gives_away_are_told) {
  FakeMachine machine;
  EXPECT_EQ(port_findings(machine).at(0).severity, Severity::kOk);
  machine.files["/proc/sys/net/ipv4/ip_local_port_range"] = "32768\t60999\n";
  EXPECT_EQ(port_findings(machine).at(0).severity, Severity::kOk);
  machine.files["/proc/sys/net/ipv4/ip_local_port_range"] = "1024\t65535\n";
  EXPECT_EQ(port_findings(machine).at(0).severity, Severity::kWarning);
  EXPECT_THAT(port_findings(machine).at(0).mend, HasSubstr("sysctl"));
}

TEST(PortFindings, a_listener_at_the_usual_port_is_told) {
  FakeMachine machine;
  machine.taken_ports = {29500};
  EXPECT_EQ(port_findings(machine).at(0).severity, Severity::kNote);
  EXPECT_THAT(port_findings(machine).at(0).mend, HasSubstr("29500"));
}

TEST(ClockFinding, skew_is_judged_by_what_aws_refuses) {
  const std::chrono::system_clock::time_point server{hours(400000)};
  const auto look = [&](std::chrono::system_clock::duration off) {
    return clock_finding(server + off, server, server + off + seconds(2), "AWS");
  };
  EXPECT_EQ(look(seconds(0)).severity, Severity::kOk);
  EXPECT_EQ(look(seconds(-2)).severity, Severity::kOk);
  EXPECT_EQ(look(seconds(40)).severity, Severity::kWarning);
  EXPECT_EQ(look(-seconds(40)).severity, Severity::kWarning);
  EXPECT_EQ(look(minutes(6)).severity, Severity::kFailure);
  EXPECT_EQ(look(-minutes(20)).severity, Severity::kFailure);
  EXPECT_EQ(look(-minutes(20)).what, "this clock is 19 min 58 s behind AWS's");
  EXPECT_THAT(look(hours(1)).what, HasSubstr("ahead of"));
  EXPECT_THAT(look(hours(1)).mend, HasSubstr("timedatectl"));
}

TEST(ClockFinding, without_a_server_the_kernel_is_asked) {
  EXPECT_EQ(clock_finding(true).severity, Severity::kOk);
  EXPECT_EQ(clock_finding(false).severity, Severity::kNote);
  EXPECT_EQ(clock_finding(std::nullopt).severity, Severity::kNote);
}

TEST(MachineChecks, this_machine_can_be_looked_at) {
  MachinePlan plan;
  plan.preset = "tiny";
  plan.data_directory = ATOLL_SOURCE_DIR;
  plan.out_directory = std::filesystem::temp_directory_path() / "not" / "yet";
  plan.cache_directory = std::filesystem::temp_directory_path();
  plan.program_directory = ATOLL_BINARY_DIR "/bin";
  RunOptions options;
  options.step_deadline = std::chrono::minutes(2);
  const auto outcome = run_checks(machine_checks(this_machine(), plan), options, {});
  EXPECT_FALSE(outcome.left_behind);
  std::set<std::string_view> seen;
  for (const Finding& finding : outcome.findings) {
    seen.insert(finding.id);
    EXPECT_FALSE(finding.what.empty());
    // Whatever this machine is like, nobody is told that something is wrong without being told what to do.
    EXPECT_TRUE(finding.severity < Severity::kWarning || !finding.mend.empty()) << finding.what;
  }
  for (const std::string_view id : {id::kCpu,
                                    id::kMemory,
                                    id::kEngine,
                                    id::kGpu,
                                    id::kRdma,
                                    id::kOpenFiles,
                                    id::kProcesses,
                                    id::kSharedMemory,
                                    id::kData,
                                    id::kDiskCache,
                                    id::kDiskOut,
                                    id::kDiskTemporary,
                                    id::kFuseDevice,
                                    id::kHostName,
                                    id::kPorts}) {
    EXPECT_TRUE(seen.contains(id)) << id;
  }
}

TEST(ThisMachine, leaves_nothing_where_it_tried_to_write) {
  std::string folder = std::filesystem::temp_directory_path() / "atoll-doctor-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  EXPECT_TRUE(this_machine()->try_writing(folder).has_value());
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  EXPECT_EQ(this_machine()->existing_part(folder + "/a/b"), folder);
  std::filesystem::remove_all(folder);
  EXPECT_FALSE(this_machine()->try_writing(folder).has_value());
}

}  // namespace
}  // namespace atl::doctor
