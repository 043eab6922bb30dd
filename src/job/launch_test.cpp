// The launcher with shells for ranks. Nothing here waits for time to pass: ranks tell one another through FIFOs when they
// are ready, send signals to the launcher themselves, and a deadline that must pass is one of 0 ms.
#include "job/launch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "base/parallel.h"
#include "base/unique_fd.h"

namespace atl::job {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// Waits for any number of signals, which its traps serve.
constexpr const char* kWait = "while :; do sleep 1000 & wait; done";

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), {}));
}

class Launch : public ::testing::Test {
 protected:
  Launch() {
    std::string name = (fs::temp_directory_path() / "atoll-launch-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.place.host = "thishost";
    options_.place.local_rank = std::nullopt;
    options_.environment = own_environment();
    options_.environment.push_back("FOLDER=" + folder_.string());
    ranks(1);
    EXPECT_EQ(::mkfifo((folder_ / "ready").c_str(), S_IRUSR | S_IWUSR), 0);
  }
  ~Launch() override { fs::remove_all(folder_); }

  void ranks(int count) { options_.place.local_size = options_.place.size = count; }

  Result<LaunchOutcome> run(const std::string& script) {
    options_.command = {"sh", "-c", script};
    const UniqueFd out(
        ::open((folder_ / "out").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const UniqueFd err(
        ::open((folder_ / "err").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (options_.out == STDOUT_FILENO) options_.out = out.get();
    if (options_.err == STDERR_FILENO) options_.err = err.get();
    auto outcome = launch(options_);
    options_.out = STDOUT_FILENO;
    options_.err = STDERR_FILENO;
    return outcome;
  }
  int code(const std::string& script) {
    const auto outcome = run(script);
    return outcome ? outcome->exit_code : -1;
  }
  std::string text(const char* file) const {
    std::stringstream content;
    content << std::ifstream(folder_ / file).rdbuf();
    return content.str();
  }
  std::string out() const { return text("out"); }
  std::string err() const { return text("err"); }
  std::vector<std::string> out_lines() const {
    std::vector<std::string> lines;
    std::istringstream stream(out());
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  fs::path folder_;
  LaunchOptions options_;
};

TEST_F(Launch, each_rank_finds_its_place) {
  ranks(2);
  options_.place.rank = 4;
  options_.place.size = 8;
  options_.place.nodes = 4;
  options_.place.node = 2;
  options_.place.master_host = "gpu01";
  options_.place.master_port = 4000;
  EXPECT_EQ(code("echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK "
                 "$GROUP_WORLD_SIZE $MASTER_ADDR $MASTER_PORT $ATOLL_LAUNCHED"),
            0);
  EXPECT_THAT(out_lines(),
              UnorderedElementsAre("[4] 4 0 8 2 2 4 gpu01 4000 1", "[5] 5 1 8 2 2 4 gpu01 4000 1"));
  EXPECT_THAT(err(), IsEmpty());
}

TEST_F(Launch, the_ranks_of_one_host_meet_at_a_free_port_and_those_of_several_where_they_are_told) {
  ranks(2);
  EXPECT_EQ(code("echo $MASTER_PORT >$FOLDER/port$RANK"), 0);
  EXPECT_EQ(text("port0"), text("port1"));
  EXPECT_NE(text("port0"), "29500\n");
  options_.place.port_is_given = true;
  EXPECT_EQ(code("echo $MASTER_PORT >$FOLDER/port$RANK"), 0);
  EXPECT_EQ(text("port0"), "29500\n");
}

TEST_F(Launch, rank_0_speaks_as_it_would_alone_and_the_others_with_their_number) {
  ranks(3);
  EXPECT_EQ(code("echo to out; echo to err >&2"), 0);
  EXPECT_THAT(out_lines(), UnorderedElementsAre("to out", "[1] to out", "[2] to out"));
  EXPECT_THAT(err(),
              AllOf(HasSubstr("to err\n"), HasSubstr("[2] to err\n"), Not(HasSubstr("out"))));
}

TEST_F(Launch, a_last_line_without_an_end_is_not_lost) {
  ranks(2);
  EXPECT_EQ(code("printf 'no end'"), 0);
  EXPECT_THAT(out_lines(), UnorderedElementsAre("no end", "[1] no end"));
}

TEST_F(Launch, lines_stay_whole_and_none_is_lost) {
  ranks(4);
  EXPECT_EQ(code("i=0; while [ $i -lt 500 ]; do echo $RANK line $i; i=$((i+1)); done"), 0);
  const auto lines = out_lines();
  EXPECT_EQ(lines.size(), 2000);
  for (const std::string& line : lines) {
    EXPECT_THAT(line, ::testing::MatchesRegex("0 line [0-9]+|\\[([123])\\] [123] line [0-9]+"));
  }
}

TEST_F(Launch, nothing_is_read_from_the_terminal) {
  EXPECT_EQ(code("cat; readlink /proc/self/fd/0"), 0);
  EXPECT_EQ(out(), "/dev/null\n");
}

TEST_F(Launch, the_first_failure_ends_the_others_and_its_code_is_the_jobs) {
  ranks(2);
  EXPECT_EQ(code(std::string("if [ $RANK = 0 ]; then trap 'echo late >&2; exit 1' TERM; "
                             "echo >$FOLDER/ready; ") +
                 kWait + "; else read line <$FOLDER/ready; echo boom >&2; exit 3; fi"),
            3);
  EXPECT_EQ(err(),
            "[1] boom\n"
            "atoll: rank 1 on thishost ended with code 3; the others are stopped\n"
            "late\n"
            "atoll: the last lines of rank 1, which failed first:\n"
            "[1] boom\n"
            "atoll: rank 1 on thishost ended with code 3\n");
}

TEST_F(Launch, what_failed_first_is_known_to_the_caller) {
  ranks(2);
  const auto outcome =
      run("if [ $RANK = 1 ]; then echo low >&2; echo boom >&2; exit 3; fi; " + std::string(kWait));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->last_lines, (std::vector<std::string>{"low", "boom"}));
  EXPECT_EQ(outcome->how_it_ended, "rank 1 on thishost ended with code 3");
  const auto well = run("true");
  ASSERT_TRUE(well);
  EXPECT_THAT(well->last_lines, IsEmpty());
  EXPECT_THAT(well->how_it_ended, IsEmpty());
}

TEST_F(Launch, ranks_know_the_hosts_names_where_they_are_known) {
  EXPECT_EQ(code("echo \"hosts $ATOLL_HOSTS\""), 0);
  EXPECT_EQ(out(), "hosts \n");
  options_.place.hosts = {"algo-1", "algo-2"};
  EXPECT_EQ(code("echo \"hosts $ATOLL_HOSTS\""), 0);
  EXPECT_EQ(out(), "hosts algo-1,algo-2\n");
}

TEST_F(Launch, what_a_failed_rank_said_is_not_repeated_where_it_came_last) {
  EXPECT_EQ(code("echo boom >&2; exit 2"), 2);
  EXPECT_EQ(err(), "boom\natoll: rank 0 on thishost ended with code 2\n");
}

TEST_F(Launch, a_rank_killed_for_want_of_memory_is_told_as_such) {
  EXPECT_EQ(code("kill -KILL $$"), 137);
  EXPECT_EQ(err(), "atoll: rank 0 on thishost was killed by signal 9 (out of memory?)\n");
  EXPECT_EQ(code("kill -SEGV $$"), 139);
  EXPECT_THAT(err(), HasSubstr("was killed by signal 11 (Segmentation fault)"));
}

TEST_F(Launch, a_rank_that_does_not_stop_when_another_has_failed_is_killed) {
  ranks(2);
  options_.failure_grace = 0ms;
  EXPECT_EQ(code("if [ $RANK = 0 ]; then trap '' TERM; echo >$FOLDER/ready; sleep 1000; "
                 "else read line <$FOLDER/ready; exit 3; fi"),
            3);
  EXPECT_THAT(err(), HasSubstr("rank 0 on thishost did not end in time and was killed\n"));
  EXPECT_THAT(err(), EndsWith("rank 1 on thishost ended with code 3\n"));
}

TEST_F(Launch, a_stop_signal_reaches_every_rank_and_a_clean_end_is_no_failure) {
  ranks(2);
  const std::string script =
      std::string(
          "trap 'echo got it; exit 143' TERM; if [ $RANK = 0 ]; then "
          "read line <$FOLDER/ready; kill -TERM $PPID; else echo >$FOLDER/ready; fi; ") +
      kWait;
  EXPECT_EQ(code(script), 143);
  EXPECT_THAT(out_lines(), UnorderedElementsAre("got it", "[1] got it"));
  EXPECT_EQ(err(), "atoll: SIGTERM: the ranks have 30 s to end\n");
}

TEST_F(Launch, ctrl_c_arrives_as_such_and_a_lost_terminal_as_sigterm) {
  EXPECT_EQ(code(std::string("trap 'echo int; exit 130' INT; kill -INT $PPID; ") + kWait), 130);
  EXPECT_EQ(out(), "int\n");
  EXPECT_THAT(err(), HasSubstr("; Ctrl-C again kills them"));
  EXPECT_EQ(code(std::string("trap 'echo term; exit 143' TERM; kill -HUP $PPID; ") + kWait), 143);
  EXPECT_EQ(out(), "term\n");
}

TEST_F(Launch, ranks_that_have_finished_all_the_same_are_a_success) {
  EXPECT_EQ(code(std::string("trap 'exit 0' TERM; kill -TERM $PPID; ") + kWait), 0);
}

TEST_F(Launch, a_rank_that_fails_while_it_is_stopped_is_told) {
  EXPECT_EQ(code(std::string("trap 'echo no space >&2; exit 1' TERM; kill -TERM $PPID; ") + kWait),
            1);
  EXPECT_THAT(err(), EndsWith("no space\natoll: rank 0 on thishost ended with code 1\n"));
}

TEST_F(Launch, a_failure_while_stopping_outweighs_those_that_stopped_cleanly) {
  ranks(2);
  EXPECT_EQ(code(std::string("if [ $RANK = 0 ]; then trap 'exit 143' TERM; echo >$FOLDER/ready; "
                             "else trap 'exit 1' TERM; read line <$FOLDER/ready; "
                             "kill -TERM $PPID; fi; ") +
                 kWait),
            1);
  EXPECT_THAT(err(), EndsWith("atoll: rank 1 on thishost ended with code 1\n"));
}

TEST_F(Launch, a_second_signal_kills) {
  EXPECT_EQ(code(std::string("trap 'kill -TERM $PPID' TERM; kill -TERM $PPID; ") + kWait), 143);
  EXPECT_THAT(err(), HasSubstr("a second signal: what still runs is killed"));
}

TEST_F(Launch, what_still_runs_after_the_grace_time_is_killed) {
  options_.grace = 0ms;
  EXPECT_EQ(code("trap '' TERM; kill -TERM $PPID; sleep 1000"), 143);
  EXPECT_THAT(err(), EndsWith("rank 0 on thishost did not end in time and was killed\n"));
}

TEST_F(Launch, a_signal_that_was_ignored_stays_ignored) {
  const auto before = ::signal(SIGHUP, SIG_IGN);  // nohup
  EXPECT_EQ(code("kill -HUP $PPID; kill -HUP $$; echo still here"), 0);
  ::signal(SIGHUP, before);
  EXPECT_EQ(out(), "still here\n");
}

TEST_F(Launch, signals_have_their_old_meaning_behind_it) {
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  EXPECT_EQ(code("true"), 0);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH}) {
    EXPECT_EQ(sigismember(&before, number), sigismember(&after, number));
  }
}

TEST_F(Launch, a_process_that_a_rank_leaves_behind_does_not_hold_it_up) {
  options_.drain = 0ms;
  EXPECT_EQ(code("sleep 1000 & echo $!"), 0);
  const int left = std::stoi(out());
  EXPECT_EQ(::kill(left, 0), 0);  // it is not ours to end
  ::kill(left, SIGKILL);
}

TEST_F(Launch, what_a_failed_rank_has_started_ends_with_it) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);  // inherited on purpose
  const UniqueFd reader(pipe[0]);
  {
    const UniqueFd writer(pipe[1]);
    EXPECT_EQ(code("sleep 1000 & exit 3"), 3);
  }
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // nobody holds its other end
}

TEST_F(Launch, no_zombie_and_no_descriptor_is_left) {
  ranks(3);
  EXPECT_EQ(code("true"), 0);
  const size_t before = open_descriptors();
  EXPECT_EQ(code("echo; exit $((RANK > 0))"), 1);
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(Launch, a_rank_inherits_no_descriptor_of_the_launcher) {
  ranks(2);
  // What whoever has started these tests lets everyone inherit.
  std::set<int> inherited = {0, 1, 2};
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) inherited.insert(fd);
  }
  EXPECT_EQ(code("ls /proc/$$/fd; true"), 0);
  std::set<int> of_rank_0, of_rank_1;
  for (const std::string& line : out_lines()) {
    const bool second = line.starts_with("[1] ");
    (second ? of_rank_1 : of_rank_0).insert(std::stoi(second ? line.substr(4) : line));
  }
  EXPECT_EQ(of_rank_0, inherited);
  EXPECT_EQ(of_rank_1, inherited);
}

TEST_F(Launch, a_program_that_is_not_there_is_an_error) {
  options_.command = {"/no/such/program"};
  const auto outcome = launch(options_);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(outcome.error().to_string(),
              HasSubstr("rank 0: running /no/such/program: No such file"));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

TEST_F(Launch, a_full_disk_behind_the_output_stops_no_rank) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  options_.out = full.get();
  const auto outcome = run("echo lost; echo done >$FOLDER/done");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_EQ(outcome->output_error, ENOSPC);
  EXPECT_EQ(text("done"), "done\n");
}

TEST_F(Launch, an_output_that_has_lost_its_reader_stops_no_rank) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  ::close(pipe[0]);
  const UniqueFd writer(pipe[1]);
  options_.out = writer.get();
  const auto outcome = run("echo lost; echo done >$FOLDER/done");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->output_error, EPIPE);
  EXPECT_EQ(text("done"), "done\n");
}

TEST_F(Launch, the_ranks_die_with_the_launcher_however_it_dies) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);  // inherited by the launcher and its ranks
  const UniqueFd reader(pipe[0]);
  UniqueFd writer(pipe[1]);
  ranks(2);
  options_.command = {"sh", "-c", "printf x >&" + std::to_string(pipe[1]) + "; exec sleep 1000"};
  const pid_t launcher = ::fork();
  if (launcher == 0) ::_exit(launch(options_) ? 0 : 1);
  writer = UniqueFd();
  char byte = 0;
  for (int rank = 0; rank < 2; ++rank) ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  ::kill(launcher, SIGKILL);
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // all are gone
  EXPECT_EQ(::waitpid(launcher, nullptr, 0), launcher);
}

TEST_F(Launch, ranks_have_processors_of_their_own_unless_that_is_not_wanted) {
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  if (CPU_COUNT(&set) < 2) GTEST_SKIP() << "one processor cannot be shared out";
  ranks(2);
  const std::string script =
      "taskset -cp $$ | sed 's/.*: //' >$FOLDER/cpus$RANK; echo $OMP_NUM_THREADS "
      ">$FOLDER/threads$RANK";
  EXPECT_EQ(code(script), 0);
  EXPECT_NE(text("cpus0"), text("cpus1"));
  options_.bind_cpus = false;
  EXPECT_EQ(code(script), 0);
  EXPECT_EQ(text("cpus0"), text("cpus1"));
  // All together no more than there are.
  EXPECT_EQ(std::stoi(text("threads0")), std::max(1, available_cpus() / 2));
}

TEST_F(Launch, what_a_person_has_set_for_the_libraries_stays) {
  options_.place.network_interface = "eth0";
  options_.environment = {"OMP_NUM_THREADS=3", "NCCL_SOCKET_IFNAME=ib0", "RANK=7", "RANKS=8"};
  const auto environment = rank_environment(options_, 0, 16);
  EXPECT_THAT(environment,
              AllOf(::testing::Contains("OMP_NUM_THREADS=3"),
                    ::testing::Contains("NCCL_SOCKET_IFNAME=ib0"),
                    ::testing::Contains("GLOO_SOCKET_IFNAME=eth0"),
                    ::testing::Contains("RANK=0"),
                    ::testing::Contains("RANKS=8"),
                    Not(::testing::Contains("RANK=7"))));
  options_.environment.clear();
  EXPECT_THAT(rank_environment(options_, 0, 16), ::testing::Contains("OMP_NUM_THREADS=16"));
}

TEST_F(Launch, on_a_terminal_rank_0_draws_and_knows_its_width) {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_EQ(::grantpt(master.get()), 0);
  ASSERT_EQ(::unlockpt(master.get()), 0);
  const UniqueFd slave(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  const winsize size{24, 132, 0, 0};
  ASSERT_EQ(::ioctl(slave.get(), TIOCSWINSZ, &size), 0);
  ranks(2);
  options_.err = slave.get();
  EXPECT_EQ(
      code("if [ -t 2 ]; then stty size <&2; else echo no terminal; fi; printf '\\r50 %%' >&2"), 0);
  EXPECT_THAT(out_lines(), UnorderedElementsAre("24 132", "[1] no terminal"));
  // A terminal hands its bytes over in its own time, and in pieces of its own.
  std::string drawn;
  pollfd ready{master.get(), POLLIN, 0};
  while (drawn.find("50 %") == std::string::npos && ::poll(&ready, 1, 120'000) > 0) {
    std::array<char, 256> piece{};
    const ssize_t got = ::read(master.get(), piece.data(), piece.size());
    if (got <= 0) break;
    drawn.append(piece.data(), static_cast<size_t>(got));
  }
  EXPECT_THAT(drawn, HasSubstr("\r50 %"));
}

TEST_F(Launch, a_failure_drawn_over_a_bar_is_repeated_as_lines) {
  ranks(1);
  EXPECT_EQ(code("printf '\\r1 %%\\r2 %%\\nboom\\n' >&2; exit 4"), 4);
  EXPECT_EQ(err(), "\r1 %\r2 %\nboom\natoll: rank 0 on thishost ended with code 4\n");
}

TEST_F(Launch, rank_0_takes_over_a_socket_that_listens_and_nobody_else_has_it) {
  ranks(2);
  options_.hand_over_listener = true;
  const std::string script =
      "readlink /proc/self/fd/${ATOLL_LISTEN_FD:-none} || echo none; "
      "cat /proc/net/tcp6 /proc/net/tcp 2>/dev/null | "
      "grep -q \":$(printf %04X $MASTER_PORT) .* 0A \" && "
      "echo listening; true";
  EXPECT_EQ(code(script), 0);
  EXPECT_THAT(out(), AllOf(HasSubstr("socket:"), HasSubstr("[1] none\n"), HasSubstr("listening")));
}

TEST_F(Launch, other_programs_find_the_port_free) {
  options_.command = {"sh"};
  EXPECT_EQ(code("echo ${ATOLL_LISTEN_FD:-none}; grep -c \":$(printf %04X $MASTER_PORT) .* 0A \" "
                 "/proc/net/tcp6 /proc/net/tcp | grep -v :0; true"),
            0);
  EXPECT_EQ(out(), "none\n");
}

// A reader that stalls, a stopped terminal for example: the launcher must hear signals all the same.
TEST_F(Launch, a_reader_that_stalls_holds_up_no_signal) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd reader(pipe[0]), writer(pipe[1]);
  options_.out = writer.get();
  // More than all buffers on the way hold, so it can never write all of it.
  const auto outcome =
      run("trap 'kill -TERM $PPID; exit 143' TERM; (yes | head -c 8000000) & "
          "echo >$FOLDER/done; kill -TERM $PPID; " +
          std::string(kWait));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 143);
}

}  // namespace
}  // namespace atl::job
