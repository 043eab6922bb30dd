#include "storage/cache/leases.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "storage/cache/cache_fixture.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

// A process of a machine with a clock of its own.
struct Machine {
  Machine(const std::string& directory, ProcessIdentity identity, std::string host)
      : files(BlockFiles::open(directory, identity.text() + "-0", 4096, operations).value()),
        leases(*files, identity, std::move(host), [this] {
          return std::chrono::steady_clock::time_point(now);
        }) {}
  FileOperations operations;
  seconds now{1'000'000};
  std::unique_ptr<BlockFiles> files;
  Leases leases;
};

class LeasesTest : public CacheFixture {
 protected:
  static ProcessIdentity identity(char machine) {
    return {std::string(32, machine), 4026531836, 100, 5000};
  }
  static constexpr uint64_t kBlock = 0x1234567890abcdef;
  Machine a_{options_.directory, identity('a'), "a"};
  Machine b_{options_.directory, identity('b'), "b"};
};

TEST_F(LeasesTest, one_of_two_has_it) {
  EXPECT_EQ(a_.leases.take(kBlock), Leases::Taken::kYes);
  EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kHeldByOther);
  EXPECT_TRUE(b_.leases.is_held(kBlock));
  EXPECT_EQ(b_.leases.take(kBlock + 1), Leases::Taken::kYes);
  a_.leases.give_back(kBlock);
  EXPECT_FALSE(b_.leases.is_held(kBlock));
  EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kYes);
}

TEST_F(LeasesTest, another_machines_holder_lives_while_its_file_changes) {
  ASSERT_EQ(a_.leases.take(kBlock), Leases::Taken::kYes);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(b_.leases.is_held(kBlock)) << i;
    a_.now += Leases::kBeat;
    a_.leases.beat();
    b_.now += seconds(7);  // clocks that run apart
  }
}

TEST_F(LeasesTest, another_machines_holder_that_is_silent_has_ended) {
  ASSERT_EQ(a_.leases.take(kBlock), Leases::Taken::kYes);
  EXPECT_TRUE(b_.leases.is_held(kBlock));
  b_.now += Leases::kDeadAfter - seconds(1);
  EXPECT_TRUE(b_.leases.is_held(kBlock));
  b_.now += seconds(1);
  EXPECT_FALSE(b_.leases.is_held(kBlock));
  EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kYes);
  // The old holder was only slow; giving back what it has not any more changes nothing.
  a_.leases.give_back(kBlock);
  EXPECT_TRUE(a_.leases.is_held(kBlock));
  EXPECT_EQ(files_in("leases").size(), 1);
}

TEST_F(LeasesTest, a_lease_seen_for_the_first_time_is_not_old) {
  ASSERT_EQ(a_.leases.take(kBlock), Leases::Taken::kYes);
  b_.now += seconds(1'000'000);
  EXPECT_TRUE(b_.leases.is_held(kBlock));
}

TEST_F(LeasesTest, a_lease_without_sense_ends_after_a_while) {
  for (const std::string text : {"", "nonsense", "ATLLEASE1\n"}) {
    std::ofstream(fs::path(options_.directory) / "leases" / block_name(kBlock)) << text;
    EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kHeldByOther);
    b_.now += Leases::kDeadAfter;
    EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kYes);
    b_.leases.give_back(kBlock);
  }
  fs::create_symlink("/etc/passwd", fs::path(options_.directory) / "leases" / block_name(kBlock));
  EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kHeldByOther);
  b_.now += Leases::kDeadAfter;
  EXPECT_EQ(b_.leases.take(kBlock), Leases::Taken::kYes);
}

TEST_F(LeasesTest, a_dead_process_of_this_machine_is_seen_at_once) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  ProcessIdentity self = this_process();
  if (self.boot.empty()) GTEST_SKIP() << "no /proc, no process can be looked at";
  ProcessIdentity other = self;
  other.pid = static_cast<uint64_t>(child);
  // Its own start time, by way of the text that it would write.
  const auto started = [&] {
    std::string line;
    std::getline(std::ifstream("/proc/" + std::to_string(child) + "/stat"), line);
    std::istringstream fields(line.substr(line.rfind(')') + 1));
    std::string field;
    for (int i = 3; i <= 22; ++i) fields >> field;
    return std::stoull(field);
  };
  other.started_ticks = started();
  EXPECT_EQ(is_alive(other, self), Alive::kYes);
  Machine here(options_.directory, self, "here");
  Machine there(options_.directory, other, "here");
  ASSERT_EQ(there.leases.take(kBlock), Leases::Taken::kYes);
  EXPECT_TRUE(here.leases.is_held(kBlock));

  ::kill(child, SIGKILL);
  siginfo_t info;
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // a zombie holds nothing
  EXPECT_FALSE(here.leases.is_held(kBlock));
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(here.leases.take(kBlock), Leases::Taken::kYes);

  other.pid = self.pid;  // somebody who got its number later
  other.started_ticks = self.started_ticks + 1;
  EXPECT_EQ(is_alive(other, self), Alive::kNo);
  other = self;
  other.pid_namespace += 1;
  EXPECT_EQ(is_alive(other, self), Alive::kUnknown);
}

TEST_F(LeasesTest, cleaning_removes_what_the_dead_left_and_nothing_else) {
  ProcessIdentity self = this_process();
  if (self.boot.empty()) GTEST_SKIP() << "no /proc, no process can be looked at";
  ProcessIdentity dead = self;
  dead.started_ticks += 1;
  Machine here(options_.directory, self, "here");
  // Killed: nothing of it runs before the end of this test.
  Machine gone(options_.directory, dead, "here");
  ASSERT_EQ(gone.leases.take(1), Leases::Taken::kYes);
  std::ofstream(fs::path(options_.directory) / "temporary" / gone.files->unique_name()) << "x";
  ASSERT_EQ(a_.leases.take(2), Leases::Taken::kYes);
  std::ofstream(fs::path(options_.directory) / "temporary" / a_.files->unique_name()) << "x";
  here.leases.clean();
  EXPECT_EQ(files_in("leases").size(), 1);
  EXPECT_TRUE(b_.leases.is_held(2));
  EXPECT_EQ(files_in("temporary").size(), 3);  // two processes' own, and what one of them writes
}

TEST(LeaseText, comes_back_as_it_was_written) {
  const LeaseText lease{7, {std::string(32, 'c'), 1, 2, 3}, "a host"};
  const auto again = LeaseText::parse(lease.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->encode(), lease.encode());
  const std::string text = lease.encode();
  for (size_t cut = 0; cut < text.size(); ++cut)
    EXPECT_FALSE(LeaseText::parse(text.substr(0, cut)));
  EXPECT_FALSE(LeaseText::parse(text + "x"));
}

}  // namespace
}  // namespace atl::storage
