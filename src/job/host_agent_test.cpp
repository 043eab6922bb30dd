// Agents of several hosts in one process, over the loopback and with a bucket in memory between them. Everything is waited
// for as long as it takes; what must not happen is seen by what happens in its place.
#include "job/host_agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <atomic>
#include <map>

#include "storage/fake_remote.h"

namespace atl::job {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

// A host's way to the bucket, which can break.
class BreakableRecords : public storage::SharedRecords {
 public:
  BreakableRecords(std::shared_ptr<storage::FakeRemote> remote,
                   std::shared_ptr<std::atomic<bool>> broken)
      : records_(storage::records_in(std::move(remote))), broken_(std::move(broken)) {}
  std::string uri() const override { return "fake:"; }
  Result<bool> create(std::string_view key, std::string_view text) override {
    ATOLL_TRY(reach());
    return records_->create(key, text);
  }
  Result<void> replace(std::string_view key, std::string_view text) override {
    ATOLL_TRY(reach());
    return records_->replace(key, text);
  }
  Result<std::optional<std::string>> read(std::string_view key) override {
    ATOLL_TRY(reach());
    return records_->read(key);
  }
  Result<std::vector<std::string>> keys(std::string_view prefix) override {
    ATOLL_TRY(reach());
    return records_->keys(prefix);
  }
  Result<void> remove(std::string_view key) override {
    ATOLL_TRY(reach());
    return records_->remove(key);
  }

 private:
  Result<void> reach() const {
    if (*broken_) return fail(ErrorCode::kIo, "the bucket does not answer");
    return {};
  }
  std::unique_ptr<storage::SharedRecords> records_;
  std::shared_ptr<std::atomic<bool>> broken_;
};

// A launcher without ranks.
struct Host {
  std::unique_ptr<HostAgent> agent;
  std::shared_ptr<std::atomic<bool>> bucket_broken = std::make_shared<std::atomic<bool>>(false);
  uint16_t port = 0;
};

class HostAgentTest : public ::testing::Test {
 protected:
  HostAgentTest() {
    limits_.silence = 20s;  // nothing waits for it but where a test says so
    limits_.join_timeout = 120s;
  }

  Host& start(const std::string& name) {
    Host& host = hosts_[name];
    host = Host();
    Listener listener = *listen_anywhere();
    LeaseRecord self;
    self.agent = name + "-" + std::to_string(++started_);
    self.token = "token-of-" + self.agent;
    self.host = name;
    self.addresses = {"127.0.0.1"};
    self.port = listener.port;
    HostAgentOptions options;
    options.limits = limits_;
    options.host = name;
    options.ranks = 2;
    HostAgent::Parts parts{std::make_unique<BreakableRecords>(remote_, host.bucket_broken),
                           std::move(listener),
                           std::move(self),
                           *Wakeup::make(),
                           *Wakeup::make(),
                           *Wakeup::make()};
    host.agent = std::make_unique<HostAgent>(std::move(options), std::move(parts));
    host.port = static_cast<uint16_t>(1000 + started_);
    host.agent->ready(host.port, std::nullopt);
    return host;
  }
  // As kill -9 does it: the lease stays as it is.
  void kill(const std::string& name) {
    *hosts_[name].bucket_broken = true;
    hosts_[name].agent.reset();
  }
  // The next order of that kind; what comes before is passed over, but not the job's end.
  template <typename T>
  std::optional<T> wait_for(const std::string& name) {
    Host& host = hosts_[name];
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (std::chrono::steady_clock::now() < deadline) {
      while (auto order = host.agent->next()) {
        if (const auto* wanted = std::get_if<T>(&*order)) return *wanted;
        if (const auto* over = std::get_if<OverMessage>(&*order)) {
          ADD_FAILURE() << name << ": the job is over: " << over->code << " " << over->why;
          return std::nullopt;
        }
      }
      pollfd waiting{host.agent->fd(), POLLIN, 0};
      ::poll(&waiting, 1, 1000);
    }
    ADD_FAILURE() << name << " has waited in vain";
    return std::nullopt;
  }
  BeginMessage begin(const std::string& name) {
    const auto message = wait_for<BeginMessage>(name);
    return message ? *message : BeginMessage();
  }
  EndMessage end(const std::string& name) {
    const auto message = wait_for<EndMessage>(name);
    return message ? *message : EndMessage();
  }
  int over(const std::string& name) {
    const auto message = wait_for<OverMessage>(name);
    return message ? message->code : -1;
  }
  void ended(const std::string& name, HostEnding ending) {
    hosts_[name].port = static_cast<uint16_t>(hosts_[name].port + 100);
    hosts_[name].agent->ready(hosts_[name].port, ending);
  }
  // Which of them leads: that is where the lease says.
  std::string leader() {
    std::string name;
    const auto records = storage::records_in(remote_);
    const auto keys = records->keys(kLeasePrefix);
    for (const auto& key : *keys) {
      name = parse_lease_record((*records->read(key)).value_or("")).value().host;
    }
    return name;
  }

  JobLimits limits_;
  const std::shared_ptr<storage::FakeRemote> remote_ = std::make_shared<storage::FakeRemote>();
  std::map<std::string, Host> hosts_;
  int started_ = 0;
};

const HostEnding kToldTo{143, false, true, ""};
const HostEnding kDone{};

TEST_F(HostAgentTest, hosts_find_each_other_and_a_round_with_one_place_for_rank_0) {
  limits_.min_hosts = limits_.max_hosts = 3;
  for (const char* name : {"a", "b", "c"}) start(name);
  std::map<int, BeginMessage> places;
  std::string first;
  for (const char* name : {"a", "b", "c"}) {
    const BeginMessage place = begin(name);
    EXPECT_EQ(place.history.round, 1);
    EXPECT_EQ(place.size, 6);
    EXPECT_EQ(place.rank, 2 * place.node);
    EXPECT_EQ(place.master_host, "127.0.0.1");
    if (place.node == 0) first = name;
    places[place.node] = place;
  }
  EXPECT_EQ(places.size(), 3);
  for (const auto& [node, place] : places) EXPECT_EQ(place.master_port, hosts_[first].port);
  for (const char* name : {"a", "b", "c"}) ended(name, kDone);
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(over(name), 0);
}

TEST_F(HostAgentTest, a_failure_on_one_host_ends_the_round_on_all_and_another_begins) {
  limits_.min_hosts = limits_.max_hosts = 2;
  start("a");
  start("b");
  const int node = begin("a").node;
  begin("b");
  ended("b", {137, true, false, "rank 1 on b was killed"});
  const EndMessage told = end("a");
  EXPECT_EQ(told.signal, SIGTERM);
  EXPECT_EQ(told.why, "rank 1 on b was killed");
  ended("a", kToldTo);
  const BeginMessage again = begin("a");
  EXPECT_EQ(again.history.round, 2);
  EXPECT_EQ(again.node, node);
  EXPECT_EQ(again.history.failures, 1);
  begin("b");
}

TEST_F(HostAgentTest, a_killed_host_is_replaced) {
  limits_.min_hosts = limits_.max_hosts = 2;
  start("a");
  start("b");
  begin("a");
  begin("b");
  const std::string lost = leader() == "a" ? "b" : "a";
  const std::string left = leader();
  kill(lost);
  EXPECT_THAT(end(left).why, HasSubstr("host " + lost + " was lost (its launcher ended)"));
  ended(left, kToldTo);
  start("c");
  EXPECT_EQ(begin("c").history.round, 2);
  EXPECT_EQ(begin(left).nodes, 2);
  ended("c", kDone);
  ended(left, kDone);
  EXPECT_EQ(over(left), 0);
  EXPECT_EQ(over("c"), 0);
}

TEST_F(HostAgentTest, when_the_leader_is_killed_another_leads_and_the_rounds_count_on) {
  limits_.silence = 10s;
  limits_.min_hosts = 2;
  limits_.max_hosts = 3;
  for (const char* name : {"a", "b", "c"}) start(name);
  for (const char* name : {"a", "b", "c"}) begin(name);
  const std::string lost = leader();
  kill(lost);
  std::vector<std::string> left = {"a", "b", "c"};
  std::erase(left, lost);
  for (const auto& name : left) {
    EXPECT_THAT(end(name).why, HasSubstr("the leader, host " + lost + ", was lost"));
    ended(name, kToldTo);
  }
  for (const auto& name : left) {
    const BeginMessage place = begin(name);
    EXPECT_EQ(place.history.round, 2);
    EXPECT_EQ(place.nodes, 2);
  }
  EXPECT_NE(leader(), lost);
}

// Rank 0 is the leader's, as mostly: with it dies who has told of the step.
TEST_F(HostAgentTest, a_step_of_the_round_in_which_the_leader_dies_counts_for_the_next_leader) {
  limits_.silence = 10s;
  limits_.min_hosts = 2;
  limits_.max_hosts = 3;
  for (const char* name : {"a", "b", "c"}) start(name);
  for (const char* name : {"a", "b", "c"}) begin(name);
  const std::string lost = leader();
  std::vector<std::string> left = {"a", "b", "c"};
  std::erase(left, lost);
  hosts_[lost].agent->began(5);
  // The others hear of this after the step, on the same connection.
  ended(lost, {137, true, false, "rank 0 was killed"});
  for (const auto& name : left) EXPECT_EQ(end(name).why, "rank 0 was killed");
  kill(lost);
  for (const auto& name : left) ended(name, kToldTo);
  for (const auto& name : left) EXPECT_EQ(begin(name).history.begun_at, 5);
  // What is missing now was there for a step: no bad input, which would end the job.
  for (const auto& name : left) ended(name, {2, false, false, "the data is gone"});
  for (const auto& name : left) EXPECT_EQ(begin(name).history.round, 3);
}

TEST_F(HostAgentTest, a_leader_that_cannot_renew_its_lease_kills_its_ranks_and_another_leads) {
  limits_.silence = 10s;
  limits_.min_hosts = 1;
  limits_.max_hosts = 2;
  start("a");
  start("b");
  begin("a");
  begin("b");
  const std::string cut_off = leader();
  const std::string other = cut_off == "a" ? "b" : "a";
  *hosts_[cut_off].bucket_broken = true;
  const EndMessage told = end(cut_off);
  EXPECT_EQ(told.signal, SIGKILL);
  EXPECT_THAT(told.why, HasSubstr("the lease could not be renewed: the bucket does not answer"));
  end(other);
  ended(other, kToldTo);
  EXPECT_EQ(begin(other).nodes, 1);
  EXPECT_EQ(leader(), other);
  ended(other, kDone);
  EXPECT_EQ(over(other), 0);
}

TEST_F(HostAgentTest, a_stop_on_one_host_stops_all) {
  limits_.min_hosts = limits_.max_hosts = 2;
  start("a");
  start("b");
  begin("a");
  begin("b");
  for (const char* name : {"a", "b"}) {
    if (leader() != name) hosts_[name].agent->stop(SIGINT);
  }
  for (const char* name : {"a", "b"}) {
    const EndMessage told = end(name);
    EXPECT_TRUE(told.stops);
    EXPECT_EQ(told.signal, SIGINT);
    ended(name, {130, false, false, ""});
  }
  EXPECT_EQ(over("a"), 130);
  EXPECT_EQ(over("b"), 130);
}

TEST_F(HostAgentTest, a_stop_holds_when_the_leader_does_not_live_to_its_end) {
  limits_.min_hosts = 1;
  limits_.max_hosts = 2;
  start("a");
  start("b");
  begin("a");
  begin("b");
  const std::string lost = leader();
  const std::string other = lost == "a" ? "b" : "a";
  hosts_[lost].agent->stop(SIGTERM);
  EXPECT_TRUE(end(other).stops);
  kill(lost);
  ended(other, {143, false, true, ""});
  EXPECT_EQ(over(other), 143);
}

TEST_F(HostAgentTest, a_stop_of_a_host_that_has_found_nobody_ends_it) {
  limits_.min_hosts = limits_.max_hosts = 2;
  start("a").agent->stop(SIGTERM);
  EXPECT_EQ(over("a"), 143);
}

TEST_F(HostAgentTest, a_host_without_others_gives_up_in_time) {
  limits_.min_hosts = limits_.max_hosts = 2;
  limits_.join_timeout = 0ms;
  start("a");
  EXPECT_EQ(over("a"), 1);
}

// A connection to such a leader comes about, or hangs, and is tried again and again.
TEST_F(HostAgentTest, a_host_that_the_leader_never_answers_gives_up_in_time) {
  limits_.silence = 4s;
  limits_.join_timeout = 6s;
  limits_.min_hosts = limits_.max_hosts = 2;
  const Listener deaf = *listen_anywhere();
  LeaseRecord record;
  record.agent = "deaf-1";
  record.token = "token-of-deaf-1";
  record.host = "deaf";
  record.addresses = {"127.0.0.1"};
  record.port = deaf.port;
  LeaseKeeper keeper(storage::records_in(remote_), record, limits_.silence, [] {});
  keeper.take();
  while (!keeper.view().held) std::this_thread::yield();
  start("a");
  const auto end = wait_for<OverMessage>("a");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, 1);
  EXPECT_EQ(end->why,
            "no leader of the job's hosts could be reached within 6.0 s: deaf leads, but does not "
            "answer");
}

TEST_F(HostAgentTest, strangers_are_shown_the_door) {
  limits_.min_hosts = limits_.max_hosts = 2;
  start("a");
  while (leader().empty()) std::this_thread::yield();
  const auto records = storage::records_in(remote_);
  const auto lease = *parse_lease_record(**records->read(lease_key(1)));
  const auto answer = [&](const AgentMessage& message) {
    for (;;) {  // until it leads, it has nothing to say to anyone
      auto channel = *AgentChannel::connect("127.0.0.1", lease.port);
      channel.send(message);
      for (;;) {
        auto messages = channel.serve();
        if (!messages) return messages.error().code;
        pollfd waiting{channel.fd(), channel.events(), 0};
        ::poll(&waiting, 1, 1000);
      }
    }
  };
  JoinMessage join;
  join.agent = join.host = "stranger";
  join.token = "a guess";
  EXPECT_EQ(answer(join), ErrorCode::kIo);
  EXPECT_EQ(answer(OverMessage{0, "go home"}), ErrorCode::kIo);
  EXPECT_EQ(answer(EndedMessage{1, kDone, 1}), ErrorCode::kIo);
  // It is as it was.
  start("b");
  const auto first = begin("a");
  EXPECT_EQ(first.nodes, 2);
  EXPECT_EQ(first.history.round, 1) << "it is with b, not with a stranger";
}

}  // namespace
}  // namespace atl::job
