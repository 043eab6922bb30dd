#include "settings.h"

#include <gtest/gtest.h>

#include <map>

namespace atl::fault_proxy {
namespace {

TEST(Settings, latency_is_both_ways_together) {
  Settings settings;
  ASSERT_TRUE(settings.set("latency_ms", "20"));
  EXPECT_EQ(settings.request_latency, std::chrono::milliseconds(10));
  EXPECT_EQ(settings.response_latency, std::chrono::milliseconds(10));
  ASSERT_TRUE(settings.set("request_latency_ms", "0.5"));
  EXPECT_EQ(settings.request_latency, std::chrono::microseconds(500));
}

TEST(Settings, what_makes_no_sense_is_refused) {
  Settings settings;
  for (const auto& [name, value] : std::map<std::string, std::string>{{"latency", "20"},
                                                                      {"latency_ms", "x"},
                                                                      {"reset", "1001"},
                                                                      {"seed", "-1"},
                                                                      {"none", "5"}}) {
    EXPECT_FALSE(settings.set(name, value)) << name;
  }
}

TEST(Settings, the_same_request_meets_the_same_fault_again) {
  Settings settings;
  ASSERT_TRUE(settings.set("reset", "300"));
  ASSERT_TRUE(settings.set("stall", "300"));
  bool differs = false;
  for (uint64_t attempt = 0; attempt < 100; ++attempt) {
    const Plan plan = plan_for(settings, 42, attempt);
    EXPECT_EQ(plan.fault, plan_for(settings, 42, attempt).fault);
    EXPECT_EQ(plan.where, plan_for(settings, 42, attempt).where);
    Settings other = settings;
    other.seed = 2;
    differs |= plan.fault != plan_for(other, 42, attempt).fault;
  }
  EXPECT_TRUE(differs);
}

TEST(Settings, faults_come_as_often_as_asked_for) {
  Settings settings;
  for (size_t i = 1; i < kFaults; ++i) {
    ASSERT_TRUE(settings.set(fault_name(static_cast<Fault>(i)), "50"));
  }
  std::array<int, kFaults> seen{};
  for (uint64_t request = 0; request < 20000; ++request) {
    ++seen[static_cast<size_t>(plan_for(settings, request, 0).fault)];
  }
  // 20,000 draws at 0.05: 1,000 with a deviation of 31; four of them.
  for (size_t i = 1; i < kFaults; ++i) EXPECT_NEAR(seen[i], 1000, 124) << i;
}

}  // namespace
}  // namespace atl::fault_proxy
