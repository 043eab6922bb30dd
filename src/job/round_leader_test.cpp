// The leader with hosts that are names, and a clock of our own.
#include "job/round_leader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>

namespace atl::job {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RoundLeaderTest : public ::testing::Test {
 protected:
  void limits(int least, int most, int restarts = 3) {
    JobLimits limits;
    limits.min_hosts = least;
    limits.max_hosts = most;
    limits.max_restarts = restarts;
    leader_.emplace(limits, now_);
  }
  // "a" is the leader's own host.
  void join(const std::string& name, int ranks = 2, JobHistory history = {}, int node = -1) {
    JoinMessage info;
    info.agent = info.host = name;
    info.ranks = ranks;
    info.port = static_cast<uint16_t>(1000 + name[0]);
    info.history = history;
    info.node = node;
    leader_->join(info, name == "a" ? "" : "10.0.0." + name, now_);
    read();
  }
  // In small steps, in which the named hosts are heard of.
  void pass(std::chrono::milliseconds time, const std::vector<std::string>& alive) {
    for (const AgentTime until = now_ + time; now_ < until;) {
      now_ += 500ms;
      for (const auto& name : alive) leader_->heard(name, now_);
      leader_->tick(now_);
    }
    read();
  }
  void ended(const std::string& name, HostEnding ending) {
    leader_->ended(name, {leader_->round(), std::move(ending), 2000}, now_);
    read();
  }
  void failed(const std::string& name, int code = 3) {
    ended(name, {code, false, false, "rank on " + name + " ended with code"});
  }
  void stopped_as_told(const std::string& name) { ended(name, {143, false, true, ""}); }
  void done(const std::string& name) { ended(name, {}); }
  void gone(const std::string& name) {
    leader_->gone(name, now_);
    read();
  }
  void read() {
    for (auto& letter : leader_->take_letters()) {
      if (const auto* begin = std::get_if<BeginMessage>(&letter.message)) {
        begun_[letter.to] = *begin;
      } else if (const auto* end = std::get_if<EndMessage>(&letter.message)) {
        ends_[letter.to].push_back(*end);
      } else if (const auto* over = std::get_if<OverMessage>(&letter.message)) {
        overs_[letter.to] = *over;
      } else if (const auto* step = std::get_if<StepMessage>(&letter.message)) {
        steps_[letter.to].push_back(step->step);
      }
    }
  }
  // The hosts of the round in order of their numbers.
  std::vector<std::string> hosts_of(uint64_t round) const {
    std::map<int, std::string> by_node;
    for (const auto& [name, begin] : begun_) {
      if (begin.history.round == round) by_node[begin.node] = name;
    }
    std::vector<std::string> names;
    for (const auto& [node, name] : by_node) names.push_back(name);
    return names;
  }
  const std::string& line_of(uint64_t round) const {
    return begun_.at(hosts_of(round).front()).line;
  }
  std::optional<int> over() const {
    return leader_->over() ? std::optional(leader_->over()->code) : std::nullopt;
  }

  AgentTime now_{1000s};
  std::optional<RoundLeader> leader_;
  std::map<std::string, BeginMessage> begun_;
  std::map<std::string, std::vector<EndMessage>> ends_;
  std::map<std::string, OverMessage> overs_;
  std::map<std::string, std::vector<int64_t>> steps_;
};

// --- How a round begins ---

TEST_F(RoundLeaderTest, all_that_may_take_part_begin_at_once) {
  limits(2, 3);
  join("a", 2);
  join("b", 4);
  EXPECT_THAT(begun_, IsEmpty());
  join("c", 1);
  EXPECT_THAT(hosts_of(1), ElementsAre("a", "b", "c"));
  EXPECT_EQ(begun_["a"].rank, 0);
  EXPECT_EQ(begun_["b"].rank, 2);
  EXPECT_EQ(begun_["c"].rank, 6);
  for (const auto& [name, begin] : begun_) {
    EXPECT_EQ(begin.size, 7);
    EXPECT_EQ(begin.nodes, 3);
    EXPECT_EQ(begin.master_host, "") << "the leader's own";
    EXPECT_EQ(begin.master_port, 1000 + 'a');
    EXPECT_EQ(begin.line, "round 1: 3 hosts, 7 ranks");
  }
}

TEST_F(RoundLeaderTest, enough_wait_some_time_for_more) {
  limits(2, 4);
  join("a");
  pass(60s, {});
  join("b");
  pass(19s, {"b"});
  EXPECT_THAT(begun_, IsEmpty());
  join("c");
  pass(19s, {"b", "c"});
  EXPECT_THAT(begun_, IsEmpty()) << "who comes makes it wait anew";
  pass(1s, {"b", "c"});
  EXPECT_THAT(hosts_of(1), ElementsAre("a", "b", "c"));
  EXPECT_EQ(begun_["a"].line, "round 1: 3 of 4 hosts, 6 ranks");
}

TEST_F(RoundLeaderTest, too_few_are_not_waited_for_for_ever) {
  limits(3, 4);
  join("a");
  join("b");
  pass(599s, {"b"});
  EXPECT_EQ(over(), std::nullopt);
  pass(2s, {"b"});
  EXPECT_EQ(over(), 1);
  EXPECT_THAT(overs_["b"].why, HasSubstr("only 2 hosts of at least 3 came within 10 min"));
  EXPECT_THAT(overs_["b"].why, HasSubstr(": a, b"));
}

TEST_F(RoundLeaderTest, more_than_may_take_part_wait_and_take_the_place_of_one_that_is_lost) {
  limits(2, 2);
  join("a");
  join("b");
  join("c");
  EXPECT_THAT(hosts_of(1), ElementsAre("a", "b"));
  pass(100s, {"b", "c"});
  EXPECT_THAT(ends_, IsEmpty()) << "there is no room for it";
  gone("b");
  stopped_as_told("a");
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "c"));
  EXPECT_THAT(line_of(2), HasSubstr("; host b was lost (its launcher ended); going on from"));
  done("a");
  done("c");
  EXPECT_EQ(over(), 0);
}

// --- How it ends ---

TEST_F(RoundLeaderTest, the_job_is_done_when_every_host_is) {
  limits(2, 2);
  join("a");
  join("b");
  done("b");
  gone("b");  // what it had to do is done
  EXPECT_EQ(over(), std::nullopt);
  EXPECT_THAT(ends_, IsEmpty());
  done("a");
  EXPECT_EQ(over(), 0);
}

TEST_F(RoundLeaderTest, a_rank_that_fails_ends_the_round_on_all_hosts) {
  limits(3, 3);
  join("a");
  join("b");
  join("c");
  failed("b");
  EXPECT_THAT(ends_["b"], IsEmpty()) << "its ranks have ended";
  ASSERT_EQ(ends_["a"].size(), 1);
  EXPECT_EQ(ends_["a"][0].signal, SIGTERM);
  EXPECT_FALSE(ends_["a"][0].stops);
  EXPECT_EQ(ends_["a"][0].why, "rank on b ended with code");
  stopped_as_told("a");
  EXPECT_EQ(hosts_of(2).size(), 0) << "c's ranks still run";
  stopped_as_told("c");
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "b", "c"));
  EXPECT_EQ(begun_["c"].master_port, 2000) << "each round has a port of its own";
  EXPECT_EQ(line_of(2),
            "round 2: 3 hosts, 6 ranks; rank on b ended with code; going on from the last "
            "checkpoint");
}

TEST_F(RoundLeaderTest, a_host_that_says_nothing_is_lost_and_those_that_are_left_go_on) {
  limits(2, 3);
  join("a");
  join("b");
  join("c");
  pass(20s, {"c"});
  EXPECT_THAT(leader_->take_lost(), IsEmpty());
  pass(1s, {"c"});
  EXPECT_THAT(leader_->take_lost(), ElementsAre("b"));
  stopped_as_told("a");
  stopped_as_told("c");
  EXPECT_EQ(hosts_of(2).size(), 0) << "a replacement may come";
  pass(5s, {"c"});
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "c"));
  EXPECT_EQ(line_of(2),
            "round 2: 2 of 3 hosts, 4 ranks; host b was lost (no sign of life for 20 s); going "
            "on from the last checkpoint");
}

TEST_F(RoundLeaderTest, a_replacement_takes_part_at_once) {
  limits(2, 3);
  join("a");
  join("b");
  join("c");
  gone("b");
  stopped_as_told("a");
  stopped_as_told("c");
  join("d");
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "c", "d"));
}

TEST_F(RoundLeaderTest, a_newcomer_waits_some_time_and_is_taken_in_without_a_failure_counted) {
  limits(2, 3, /*restarts=*/0);
  join("a");
  join("b");
  pass(20s, {"b"});
  EXPECT_THAT(hosts_of(1), ElementsAre("a", "b"));
  pass(5s, {"b"});
  join("c");
  pass(19s, {"b", "c"});
  EXPECT_THAT(ends_, IsEmpty());
  pass(1s, {"b", "c"});
  EXPECT_EQ(ends_["a"].at(0).why, "host c has come");
  // Its ranks stopped together with a's, before the order came; and one was not yet far enough to do so.
  ended("b", {143, false, false, "rank 2 ended with code 143"});
  ended("a", {1, false, false, "rank 0 ended with code 1"});
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "b", "c"));
  EXPECT_EQ(begun_["a"].history.failures, 0);
}

TEST_F(RoundLeaderTest, a_newcomer_that_leaves_again_ends_no_round) {
  limits(2, 3);
  join("a");
  join("b");
  pass(20s, {"b"});
  join("c");
  gone("c");
  pass(60s, {"b"});
  EXPECT_THAT(ends_, IsEmpty());
}

// --- When no other round follows ---

TEST_F(RoundLeaderTest, bad_input_is_not_tried_again) {
  limits(2, 2);
  join("a");
  join("b");
  failed("b", 2);
  failed("a", 2);
  EXPECT_EQ(over(), 2);
  EXPECT_EQ(overs_["a"].why, "rank on b ended with code");
}

TEST_F(RoundLeaderTest, bad_input_after_a_step_is_a_failure_like_others) {
  limits(1, 1, /*restarts=*/1);
  join("a");
  leader_->step("a", {leader_->round(), 1});
  failed("a", 2);  // a mount that is gone, say
  EXPECT_EQ(over(), std::nullopt);
  failed("a", 2);
  EXPECT_EQ(over(), 2);
  EXPECT_THAT(overs_["a"].why, HasSubstr("; 1 restart in a row came no further"));
}

TEST_F(RoundLeaderTest, steps_of_a_round_that_ended_for_a_newcomer_count) {
  limits(2, 3, /*restarts=*/1);
  join("a");
  join("b");
  pass(25s, {"b"});
  ASSERT_THAT(hosts_of(1), ElementsAre("a", "b"));
  leader_->step("a", {leader_->round(), 1});
  join("c");
  pass(20s, {"b", "c"});
  ended("b", {143, false, false, "rank 2 ended with code 143"});
  ended("a", {143, false, false, "rank 0 ended with code 143"});
  ASSERT_THAT(hosts_of(2), ElementsAre("a", "b", "c"));
  for (const char* host : {"b", "a", "c"}) failed(host, 2);
  EXPECT_EQ(over(), std::nullopt);
}

TEST_F(RoundLeaderTest, failures_without_progress_are_counted_and_progress_starts_anew) {
  limits(1, 1, /*restarts=*/2);
  join("a");
  for (int i = 0; i < 2; ++i) failed("a");  // before any step
  EXPECT_EQ(leader_->round(), 3);
  // Each of these goes on from a later step than the one before.
  for (int i = 0; i < 10; ++i) {
    leader_->step("a", {leader_->round(), 100 * i + 1});
    failed("a");
    ASSERT_EQ(over(), std::nullopt);
  }
  // And these do not.
  leader_->step("a", {leader_->round(), 901});
  failed("a");
  EXPECT_EQ(over(), std::nullopt);
  leader_->step("a", {leader_->round(), 901});
  failed("a");
  EXPECT_EQ(over(), 3);
  EXPECT_THAT(overs_["a"].why, HasSubstr("; 2 restarts in a row came no further"));
}

TEST_F(RoundLeaderTest, without_restarts_the_first_failure_is_the_last) {
  limits(1, 1, /*restarts=*/0);
  join("a");
  failed("a", 7);
  EXPECT_EQ(over(), 7);
  EXPECT_EQ(overs_["a"].why, "rank on a ended with code");
}

TEST_F(RoundLeaderTest, of_several_reasons_the_killed_rank_is_told) {
  limits(2, 2);
  join("a");
  join("b");
  failed("a", 1);  // has lost the connection
  ended("b", {137, true, false, "rank 3 on b was killed"});
  EXPECT_THAT(line_of(2), HasSubstr("rank 3 on b was killed"));
}

TEST_F(RoundLeaderTest, a_stop_stops_all_and_nothing_is_started_again) {
  limits(2, 2);
  join("a");
  join("b");
  leader_->stop("b", SIGINT, now_);
  read();
  EXPECT_EQ(ends_["a"].at(0).signal, SIGINT);
  EXPECT_TRUE(ends_["a"].at(0).stops);
  EXPECT_EQ(ends_["a"].at(0).why, "SIGINT on b");
  ended("a", {130, false, false, ""});
  ended("b", {130, false, false, ""});
  EXPECT_EQ(over(), 130);
  EXPECT_EQ(overs_["a"].code, 130);
}

TEST_F(RoundLeaderTest, a_rank_that_fails_while_the_job_is_stopped_is_told) {
  limits(2, 2);
  join("a");
  join("b");
  leader_->stop("a", SIGTERM, now_);
  ended("b", {1, false, false, "no space"});
  ended("a", {143, false, false, ""});
  EXPECT_EQ(over(), 1);
  EXPECT_EQ(overs_["a"].why, "no space");
}

TEST_F(RoundLeaderTest, a_stop_between_rounds_is_the_end) {
  limits(2, 2);
  join("a");
  leader_->stop("a", SIGTERM, now_);
  EXPECT_EQ(over(), 143);
}

// A cluster sends its signal to every process, the ranks included, and they may be faster.
TEST_F(RoundLeaderTest, ranks_that_stopped_cleanly_by_themselves_stop_the_job) {
  limits(2, 2);
  join("a");
  join("b");
  ended("a", {143, false, false, "rank 0 ended with code 143"});
  EXPECT_TRUE(ends_["b"].at(0).stops);
  ended("b", {143, false, false, ""});
  EXPECT_EQ(over(), 143);
}

TEST_F(RoundLeaderTest, a_rank_that_sigterm_killed_is_a_failure) {
  limits(1, 1);
  join("a");
  ended("a", {143, true, false, "rank 0 was killed by signal 15"});
  EXPECT_EQ(over(), std::nullopt);
  EXPECT_EQ(leader_->round(), 2);
}

// --- When leaders change ---

TEST_F(RoundLeaderTest, a_new_leader_goes_on_where_the_hosts_are) {
  limits(2, 3);
  const JobHistory history{7, 2, 500};
  join("c", 2, history, 2);
  join("b", 2, history, 1);
  EXPECT_EQ(hosts_of(8).size(), 0) << "the third may come, too";
  pass(5s, {"b", "c"});
  EXPECT_THAT(hosts_of(8), ElementsAre("b", "c"));
  EXPECT_EQ(begun_["b"].master_host, "10.0.0.b");
  EXPECT_EQ(begun_["b"].history.failures, 2);
  EXPECT_EQ(begun_["b"].history.begun_at, 500);
}

TEST_F(RoundLeaderTest, of_a_rounds_first_step_all_its_other_hosts_hear) {
  limits(2, 3);
  join("a");
  join("b");
  join("c");
  leader_->step("b", {leader_->round(), 7});
  read();
  EXPECT_THAT(steps_["a"], ElementsAre(7));
  EXPECT_THAT(steps_["b"], IsEmpty()) << "which has told it";
  EXPECT_THAT(steps_["c"], ElementsAre(7));
}

TEST_F(RoundLeaderTest, a_new_leader_believes_who_has_heard_of_a_step) {
  limits(3, 3, /*restarts=*/2);
  join("a", 2, {4, 2, 100}, 0);
  join("b", 2, {4, 0, 300}, 1);  // the leader before died when it had told b
  join("c", 2, {4, 2, 100}, 2);
  ASSERT_THAT(hosts_of(5), ElementsAre("a", "b", "c"));
  EXPECT_EQ(begun_["c"].history.begun_at, 300);
  EXPECT_EQ(begun_["c"].history.failures, 0);
}

TEST_F(RoundLeaderTest, who_is_alone_of_many_resigns_instead_of_going_on) {
  limits(1, 3);
  join("a");
  join("b");
  join("c");
  pass(21s, {});
  EXPECT_FALSE(leader_->should_resign()) << "its own ranks still run";
  stopped_as_told("a");
  EXPECT_TRUE(leader_->should_resign());
  pass(100s, {});
  EXPECT_EQ(leader_->round(), 1);
}

TEST_F(RoundLeaderTest, the_larger_part_goes_on) {
  limits(1, 3);
  join("a");
  join("b");
  join("c");
  pass(21s, {"b"});
  stopped_as_told("a");
  stopped_as_told("b");
  EXPECT_FALSE(leader_->should_resign());
  pass(5s, {"b"});
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "b"));
}

TEST_F(RoundLeaderTest, who_comes_anew_has_left_before) {
  limits(2, 2);
  join("a");
  join("b");
  join("b");  // its connection broke, and it was faster than the news of that
  EXPECT_EQ(ends_["a"].at(0).why, "host b was lost (it came anew)");
  stopped_as_told("a");
  EXPECT_THAT(hosts_of(2), ElementsAre("a", "b"));
}

TEST_F(RoundLeaderTest, a_round_that_runs_keeps_its_number_whoever_comes) {
  limits(1, 2);
  join("a");
  pass(20s, {"a"});
  EXPECT_THAT(hosts_of(1), ElementsAre("a"));
  join("b", 2, {7, 0, -1}, 2);
  pass(20s, {"a", "b"});
  ASSERT_EQ(ends_["a"].size(), 1);
  EXPECT_EQ(ends_["a"][0].round, 1);
  leader_->ended("a", {1, {143, false, true, ""}, 2000}, now_);
  read();
  EXPECT_THAT(hosts_of(8), ElementsAre("a", "b"));
}

TEST_F(RoundLeaderTest, a_host_whose_part_is_done_may_come_anew) {
  limits(1, 2);
  join("a");
  join("b");
  done("b");
  gone("b");
  join("b");
  pass(60s, {"a", "b"});
  EXPECT_TRUE(ends_["a"].empty()) << "it is no newcomer";
  done("a");
  EXPECT_EQ(over(), 0);
  EXPECT_TRUE(overs_.contains("b"));
}

TEST_F(RoundLeaderTest, of_a_stop_those_hear_too_whose_ranks_have_ended) {
  limits(1, 2);
  join("a");
  join("b");
  done("b");
  leader_->stop("a", SIGTERM, now_);
  read();
  ASSERT_EQ(ends_["b"].size(), 1);
  EXPECT_TRUE(ends_["b"][0].stops);
}

TEST_F(RoundLeaderTest, what_is_said_of_another_round_is_passed_over) {
  limits(2, 2);
  join("a");
  join("b");
  leader_->ended("b", {99, {3, false, false, "x"}, 2000}, now_);
  leader_->ended("stranger", {1, {3, false, false, "x"}, 2000}, now_);
  leader_->step("b", {99, 7});
  read();
  EXPECT_THAT(ends_, IsEmpty());
  EXPECT_EQ(over(), std::nullopt);
}

}  // namespace
}  // namespace atl::job
