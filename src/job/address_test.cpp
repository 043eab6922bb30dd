#include "job/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace atl::job {
namespace {

TEST(Address, a_host_may_have_a_port_and_brackets) {
  EXPECT_EQ(parse_address("gpu01:29500", "--rendezvous")->host, "gpu01");
  EXPECT_EQ(parse_address("gpu01:29500", "--rendezvous")->port, 29500);
  EXPECT_EQ(parse_address("10.0.0.1", "--rendezvous")->port, std::nullopt);
  EXPECT_EQ(parse_address("[fd00::1]:1", "--rendezvous")->host, "fd00::1");
  EXPECT_EQ(parse_address("[fd00::1]", "--rendezvous")->port, std::nullopt);
}

TEST(Address, what_is_no_address_is_refused) {
  for (const char* text : {"",
                           ":1",
                           "a:",
                           "a:0",
                           "a:65536",
                           "a:b",
                           "a:1:2",
                           "fd00::1",
                           "[fd00::1",
                           "[fd00::1]1",
                           "[]:1",
                           "a b:1",
                           "-n:1",
                           "http://a:1"}) {
    const auto address = parse_address(text, "--rendezvous");
    ASSERT_FALSE(address) << text;
    EXPECT_THAT(address.error().to_string(), ::testing::HasSubstr("--rendezvous \""));
  }
}

TEST(PortOfJob, jobs_and_steps_that_are_neighbours_never_meet) {
  std::set<int> ports;
  for (int job = 258100; job < 258200; ++job) {
    for (int step = 0; step < 10; ++step) ports.insert(port_of_job(std::to_string(job), step));
  }
  EXPECT_EQ(ports.size(), 1000);
  EXPECT_GE(*ports.begin(), 20000);
  EXPECT_LT(*ports.rbegin(), 30000);
}

TEST(PortOfJob, other_ids_are_hashed_the_same_everywhere) {
  EXPECT_EQ(port_of_job("coco-2026-11-26"), port_of_job("coco-2026-11-26"));
  EXPECT_NE(port_of_job("coco-2026-11-26"), port_of_job("coco-2026-11-27"));
  EXPECT_GE(port_of_job(""), 20000);
  EXPECT_LT(port_of_job("99999999999999999999"), 30000);
}

}  // namespace
}  // namespace atl::job
