// The launcher of a job that goes on after failures, with shells for ranks. As in launch_test.cpp, nothing waits for time to
// pass.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "job/launch.h"
#include "job/order_queue.h"
#include "job/rendezvous.h"

namespace atl::job {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// Counts the rounds: N is this one's number, from 1 on.
constexpr const char* kCount =
    "N=$(($(cat $FOLDER/n$RANK 2>/dev/null || echo 0) + 1)); echo $N >$FOLDER/n$RANK; ";
constexpr const char* kWait = "while :; do sleep 1000 & wait; done";

class LaunchRounds : public ::testing::Test {
 protected:
  LaunchRounds() {
    std::string name = (fs::temp_directory_path() / "atoll-rounds-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.place.host = "thishost";
    options_.place.local_rank = std::nullopt;
    options_.environment = own_environment();
    options_.environment.push_back("FOLDER=" + folder_.string());
    options_.place.local_size = 1;
  }
  ~LaunchRounds() override { fs::remove_all(folder_); }

  int run(const std::string& script,
          const std::function<Result<std::unique_ptr<Rendezvous>>()>& meet) {
    options_.command = {"sh", "-c", script};
    const UniqueFd out(
        ::open((folder_ / "out").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const UniqueFd err(
        ::open((folder_ / "err").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    options_.out = out.get();
    options_.err = err.get();
    const auto outcome = launch_rounds(options_, meet);
    return outcome ? outcome->exit_code : -1;
  }
  // Of this host alone.
  int run_alone(const std::string& script, int max_restarts = 3) {
    JobLimits limits;
    limits.max_restarts = max_restarts;
    return run(script, [&] {
      return rendezvous_of_one(limits, options_.place.host, options_.place.local_size);
    });
  }
  std::string text(const char* file) const {
    std::stringstream content;
    content << std::ifstream(folder_ / file).rdbuf();
    return content.str();
  }

  fs::path folder_;
  LaunchOptions options_;
};

TEST_F(LaunchRounds, a_killed_rank_leads_to_another_round) {
  options_.place.local_size = 2;
  // Rank 0 has counted this round before it is ended, or it would wait in the next one, too.
  ASSERT_EQ(::mkfifo((folder_ / "ready").c_str(), S_IRUSR | S_IWUSR), 0);
  EXPECT_EQ(
      run_alone(std::string(kCount) +
                "if [ $N = 1 ] && [ $RANK = 1 ]; then read line <$FOLDER/ready; kill -KILL $$; fi; "
                "if [ $N = 1 ]; then trap 'exit 143' TERM; echo >$FOLDER/ready; " +
                kWait + "; fi; echo $RANK of $WORLD_SIZE at $MASTER_PORT >$FOLDER/r$RANK"),
      0);
  EXPECT_THAT(text("r0"), HasSubstr("0 of 2 at "));
  EXPECT_EQ(text("r1").substr(1), text("r0").substr(1)) << "they meet at one port";
  EXPECT_EQ(text("n0"), "2\n");
  EXPECT_THAT(text("err"),
              AllOf(HasSubstr("atoll: rank 1 on thishost was killed by signal 9 (out of memory?); "
                              "the others are stopped\n"),
                    HasSubstr("atoll: round 2: 1 host, 2 ranks; rank 1 on thishost was killed by "
                              "signal 9 (out of memory?); going on from the last checkpoint\n")));
}

TEST_F(LaunchRounds, ranks_of_this_host_alone_meet_on_it) {
  options_.place.local_size = 2;
  EXPECT_EQ(run_alone("echo $MASTER_ADDR >$FOLDER/r$RANK"), 0);
  EXPECT_EQ(text("r0"), "127.0.0.1\n");
  EXPECT_EQ(text("r1"), "127.0.0.1\n");
}

TEST_F(LaunchRounds, what_is_bad_input_is_not_tried_again) {
  EXPECT_EQ(run_alone(std::string(kCount) + "exit 2"), 2);
  EXPECT_EQ(text("n0"), "1\n");
}

TEST_F(LaunchRounds, failures_without_progress_end) {
  EXPECT_EQ(run_alone(std::string(kCount) + "echo boom >&2; exit 5", 2), 5);
  EXPECT_EQ(text("n0"), "3\n");
  EXPECT_THAT(text("err"),
              EndsWith("atoll: the job ends: rank 0 on thishost ended with code 5; 2 restarts in a "
                       "row came no further (--max-restarts)\n"));
}

TEST_F(LaunchRounds, failures_after_progress_do_not) {
  EXPECT_EQ(run_alone(std::string(kCount) +
                          "echo $((10 * N)) >&$ATOLL_STEP_FD; if [ $N -lt 6 ]; then exit 5; fi",
                      1),
            0);
  EXPECT_EQ(text("n0"), "6\n");
}

TEST_F(LaunchRounds, a_program_that_is_not_there_is_told) {
  options_.place.local_size = 1;
  JobLimits limits;
  limits.max_restarts = 1;
  options_.command = {"/no/such/program"};
  const auto outcome =
      launch_rounds(options_, [&] { return rendezvous_of_one(limits, "thishost", 1); });
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 2);
}

TEST_F(LaunchRounds, a_stop_is_no_failure_and_nothing_follows) {
  EXPECT_EQ(run_alone(std::string(kCount) + "trap 'echo clean; exit 143' TERM; kill -TERM $PPID; " +
                      kWait),
            143);
  EXPECT_EQ(text("n0"), "1\n");
  EXPECT_EQ(text("out"), "clean\n");
  EXPECT_EQ(text("err"), "atoll: SIGTERM: the ranks have 30 s to end\n");
}

TEST_F(LaunchRounds, a_second_signal_ends_it_at_once) {
  EXPECT_EQ(run_alone(std::string("trap 'kill -INT $PPID' INT; kill -INT $PPID; ") + kWait), 130);
}

TEST_F(LaunchRounds, only_later_rounds_wait_for_the_output) {
  options_.output_wait = 42s;
  EXPECT_EQ(run_alone(std::string(kCount) +
                      "echo ${ATOLL_OUTPUT_WAIT:-none}; if [ $N = 1 ]; then exit 1; fi"),
            0);
  EXPECT_EQ(text("out"), "none\n42\n");
}

// --- With other hosts, whose leader we are ---

class ScriptedRendezvous : public Rendezvous {
 public:
  // What the leader says when this host has said so often that it is ready.
  using Says = std::function<std::vector<Order>(int times, const std::optional<HostEnding>&)>;
  ScriptedRendezvous(Says says, std::vector<Order> on_stop)
      : says_(std::move(says)), on_stop_(std::move(on_stop)), orders_(*Wakeup::make()) {}

  int fd() const override { return orders_.fd(); }
  std::optional<Order> next() override { return orders_.pop(); }
  void ready(uint16_t, const std::optional<HostEnding>& ending) override {
    for (auto& order : says_(times_++, ending)) orders_.push(std::move(order));
  }
  void began(int64_t) override {}
  void stop(int) override {
    for (auto& order : on_stop_) orders_.push(order);
  }

 private:
  const Says says_;
  const std::vector<Order> on_stop_;
  WakingQueue<Order> orders_;
  int times_ = 0;
};

BeginMessage second_of_two(uint64_t round) {
  BeginMessage begin;
  begin.history.round = round;
  begin.node = 1;
  begin.nodes = 2;
  begin.rank = 4;
  begin.size = 5;
  begin.master_host = "gpu01";
  begin.master_port = 4000;
  begin.line = "round";
  return begin;
}

TEST_F(LaunchRounds, ranks_find_the_place_that_the_leader_gives_them) {
  const auto says = [](int times, const std::optional<HostEnding>&) -> std::vector<Order> {
    if (times == 0) return {SayOrder{"joined"}, second_of_two(3)};
    return {OverMessage{0, ""}};
  };
  EXPECT_EQ(run("echo $RANK $LOCAL_RANK $WORLD_SIZE $GROUP_RANK $GROUP_WORLD_SIZE $MASTER_ADDR "
                "$MASTER_PORT ${ATOLL_STEP_FD:-none}",
                [&] { return std::make_unique<ScriptedRendezvous>(says, std::vector<Order>{}); }),
            0);
  EXPECT_EQ(text("out"), "[4] 4 0 5 1 2 gpu01 4000 none\n");
  EXPECT_EQ(text("err"), "atoll: joined\n") << "rank 0's host tells of the rounds";
}

TEST_F(LaunchRounds, an_order_to_end_is_passed_on_and_its_end_is_no_failure) {
  std::vector<HostEnding> endings;
  for (const int signal : {SIGTERM, SIGKILL}) {
    const auto says = [&](int times,
                          const std::optional<HostEnding>& ending) -> std::vector<Order> {
      if (ending) endings.push_back(*ending);
      if (times > 0) return {OverMessage{0, ""}};
      return {second_of_two(1),
              EndMessage{9, signal, false, "another round"},
              EndMessage{1, signal, false, "host gpu03 was lost"}};
    };
    EXPECT_EQ(run(kWait,
                  [&] { return std::make_unique<ScriptedRendezvous>(says, std::vector<Order>{}); }),
              0);
    EXPECT_THAT(text("err"),
                AllOf(HasSubstr("host gpu03 was lost"), Not(HasSubstr("another round"))));
  }
  ASSERT_EQ(endings.size(), 2);
  EXPECT_TRUE(endings[0].ordered);
  EXPECT_TRUE(endings[1].ordered);
}

TEST_F(LaunchRounds, a_stop_between_rounds_waits_for_the_leaders_word) {
  const auto says = [](int, const std::optional<HostEnding>&) {
    ::kill(::getpid(), SIGTERM);
    return std::vector<Order>{};
  };
  EXPECT_EQ(run("exit 9",
                [&] {
                  return std::make_unique<ScriptedRendezvous>(
                      says, std::vector<Order>{OverMessage{143, "SIGTERM on thishost"}});
                }),
            143);
  EXPECT_EQ(text("err"), "atoll: SIGTERM: the job is stopped\n");
}

}  // namespace
}  // namespace atl::job
