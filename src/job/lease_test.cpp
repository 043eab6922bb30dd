// Several machines with one place between them, and a clock of our own.
#include "job/lease.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/fake_remote.h"

namespace atl::job {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class LeaseTest : public ::testing::Test {
 protected:
  static constexpr auto kExpiry = 20s;

  Lease lease(const std::string& name) {
    LeaseRecord self{name, "token-of-" + name, name, {"10.0.0.1"}, 4000, 0, false};
    return {*records_, self, [this] { return now_; }};
  }
  bool vacant(const Lease& lease) const { return lease.view().vacant(now_, kExpiry); }
  bool leads(const Lease& lease) const { return lease.view().leads(now_, kExpiry); }
  void fail_all() {
    remote_->set_fault([](std::string_view) { return Error{ErrorCode::kIo, "no answer", {}, {}}; });
  }

  const std::shared_ptr<storage::FakeRemote> remote_ = std::make_shared<storage::FakeRemote>();
  const std::unique_ptr<storage::SharedRecords> records_ = storage::records_in(remote_);
  AgentTime now_{1000s};
};

TEST_F(LeaseTest, the_first_that_comes_leads_and_the_others_find_it) {
  Lease a = lease("a"), b = lease("b");
  EXPECT_FALSE(vacant(a)) << "nobody has looked yet";
  a.look();
  b.look();
  EXPECT_TRUE(vacant(a));
  EXPECT_TRUE(vacant(b));
  a.take();
  b.take();
  EXPECT_TRUE(leads(a));
  EXPECT_FALSE(leads(b));
  EXPECT_FALSE(vacant(b));
  ASSERT_TRUE(b.view().leader);
  EXPECT_EQ(b.view().leader->host, "a");
  EXPECT_EQ(b.view().leader->token, "token-of-a");
  EXPECT_EQ(b.view().term, 1);
}

TEST_F(LeaseTest, one_that_is_renewed_is_never_vacant_and_one_that_is_not_is_after_its_time) {
  Lease a = lease("a"), b = lease("b");
  a.look();
  a.take();
  for (int i = 0; i < 10; ++i) {
    now_ += 10s;
    a.renew();
    b.look();
    EXPECT_FALSE(vacant(b));
  }
  now_ += 19s;
  b.look();
  EXPECT_FALSE(vacant(b));
  EXPECT_FALSE(leads(a)) << "it must know before the others may act";
  now_ += 1s;
  b.look();
  EXPECT_TRUE(vacant(b));
  b.take();
  EXPECT_TRUE(leads(b));
  EXPECT_EQ(b.view().term, 2);
}

TEST_F(LeaseTest, one_that_somebody_has_taken_or_renewed_meanwhile_is_not_taken) {
  Lease a = lease("a"), b = lease("b");
  a.look();
  b.look();
  a.take();
  b.take_if_vacant(kExpiry);  // it was vacant when b looked
  EXPECT_EQ(b.view().term, 1);
  now_ += 2 * kExpiry;
  a.renew();
  b.take_if_vacant(kExpiry);
  EXPECT_FALSE(leads(b));
  EXPECT_EQ(b.view().term, 1);
}

TEST_F(LeaseTest, a_leader_that_was_suspended_finds_that_another_leads) {
  Lease a = lease("a"), b = lease("b");
  a.look();
  a.take();
  b.look();
  now_ += 20s;
  b.look();
  b.take();
  a.renew();
  EXPECT_FALSE(a.view().held);
  EXPECT_EQ(a.view().term, 2);
  EXPECT_EQ(a.view().leader->host, "b");
  EXPECT_TRUE(leads(b));
}

TEST_F(LeaseTest, a_leader_that_cannot_reach_the_place_leads_no_more) {
  Lease a = lease("a");
  a.look();
  a.take();
  fail_all();
  now_ += 14s;
  a.renew();
  EXPECT_TRUE(leads(a));
  EXPECT_TRUE(a.view().error);
  now_ += 1s;
  a.renew();
  EXPECT_FALSE(leads(a));
  remote_->set_fault(nullptr);
  a.renew();
  EXPECT_TRUE(leads(a)) << "nobody else has come";
}

TEST_F(LeaseTest, one_that_resigns_is_vacant_at_once) {
  Lease a = lease("a"), b = lease("b");
  a.look();
  a.take();
  b.look();
  a.resign();
  EXPECT_FALSE(leads(a));
  b.look();
  EXPECT_TRUE(vacant(b));
  b.take();
  EXPECT_TRUE(leads(b));
  a.look();
  EXPECT_FALSE(vacant(a));
}

TEST_F(LeaseTest, a_place_that_does_not_answer_makes_nobody_the_leader) {
  Lease a = lease("a");
  fail_all();
  a.look();
  EXPECT_FALSE(vacant(a));
  EXPECT_TRUE(a.view().error);
  remote_->set_fault(nullptr);
  a.look();
  EXPECT_TRUE(vacant(a));
  EXPECT_FALSE(a.view().error);
}

TEST_F(LeaseTest, an_answer_that_was_lost_leaves_the_lease_with_who_made_it) {
  Lease a = lease("a");
  a.look();
  // The record is there, but the answer was not: the client tries again, and is told that there is one.
  LeaseRecord self{"a", "token-of-a", "a", {"10.0.0.1"}, 4000, 0, false};
  remote_->put(lease_key(1), self.to_json());
  a.take();
  EXPECT_TRUE(leads(a));
}

TEST_F(LeaseTest, who_creates_a_term_that_is_long_past_does_not_lead) {
  Lease a = lease("a"), b = lease("b");
  a.look();  // and is suspended
  for (int term = 1; term <= 4; ++term) {
    b.look();
    now_ += 20s;
    b.look();
    b.take();
    b.resign();
  }
  EXPECT_EQ(remote_->content(lease_key(1)), std::nullopt) << "what is long past is removed";
  b.look();
  b.take();
  a.take();
  EXPECT_FALSE(leads(a));
  EXPECT_EQ(a.view().term, 5);
  b.renew();
  EXPECT_TRUE(leads(b));
}

TEST_F(LeaseTest, what_is_no_lease_is_passed_over_in_time) {
  remote_->put(lease_key(3), "something else");
  remote_->put("leader-x", "");
  Lease a = lease("a");
  a.look();
  EXPECT_EQ(a.view().term, 3);
  EXPECT_FALSE(a.view().leader);
  EXPECT_FALSE(vacant(a));
  now_ += 20s;
  a.look();
  a.take();
  EXPECT_TRUE(leads(a));
  EXPECT_EQ(a.view().term, 4);
}

TEST(LeaseRecord, is_read_as_it_was_written_and_nothing_else_is) {
  const LeaseRecord record{"agent", "token", "gpu01", {"10.0.0.1", "fd00::1"}, 4000, 7, true};
  EXPECT_EQ(*parse_lease_record(record.to_json()), record);
  for (const char* text : {"", "null", "{}", "[]", R"({"agent":1})"}) {
    EXPECT_EQ(parse_lease_record(text).error().code, ErrorCode::kInvalidInput) << text;
  }
  std::string odd = record.to_json();
  odd.replace(odd.find("10.0.0.1"), 8, "10.0;0.1");
  EXPECT_FALSE(parse_lease_record(odd));
  EXPECT_EQ(term_of(lease_key(42)), 42);
  EXPECT_EQ(term_of("leader-42"), std::nullopt);
  EXPECT_EQ(term_of("leader-00000000x2"), std::nullopt);
}

}  // namespace
}  // namespace atl::job
