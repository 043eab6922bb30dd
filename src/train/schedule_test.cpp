#include "train/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::train {
namespace {

TrainConfig base() {
  TrainConfig config;
  config.learning_rate = 0.02;
  config.base_batch = 16;
  config.global_batch = 8;
  config.warmup_steps = 10;
  config.warmup_factor = 0.1;
  config.milestones = {0.5, 0.9};
  config.gamma = 0.1;
  return config;
}

TEST(Schedule, warms_up_linearly_and_scales_with_the_batch) {
  const Schedule schedule(base(), 100);
  EXPECT_DOUBLE_EQ(schedule.rate(0), 0.001);
  EXPECT_DOUBLE_EQ(schedule.rate(5), 0.01 * 0.55);
  EXPECT_DOUBLE_EQ(schedule.rate(10), 0.01);
  EXPECT_THAT(schedule.describe(), testing::HasSubstr("scaled by 8 / 16"));
}

TEST(Schedule, multistep_falls_at_each_milestone) {
  const Schedule schedule(base(), 100);
  EXPECT_DOUBLE_EQ(schedule.rate(49), 0.01);
  EXPECT_DOUBLE_EQ(schedule.rate(50), 0.001);
  EXPECT_DOUBLE_EQ(schedule.rate(89), 0.001);
  EXPECT_DOUBLE_EQ(schedule.rate(90), 0.0001);
}

TEST(Schedule, cosine_falls_from_the_peak_to_zero) {
  auto config = base();
  config.schedule = "cosine";
  const Schedule schedule(config, 110);
  EXPECT_DOUBLE_EQ(schedule.rate(10), 0.01);
  EXPECT_NEAR(schedule.rate(60), 0.005, 1e-12);
  EXPECT_NEAR(schedule.rate(110), 0, 1e-12);
  for (int64_t step = 11; step < 110; ++step)
    EXPECT_LT(schedule.rate(step), schedule.rate(step - 1));
}

TEST(Schedule, a_warm_up_longer_than_half_the_run_is_shortened_and_said_so) {
  auto config = base();
  config.warmup_steps = 500;
  const Schedule schedule(config, 100);
  EXPECT_EQ(schedule.warmup_steps(), 50);
  EXPECT_THAT(schedule.describe(), testing::HasSubstr("not 500"));
  EXPECT_GT(Schedule(config, 1).rate(0), 0);
}

TEST(Schedule, without_milestones_says_that_the_rate_stays) {
  TrainConfig config;
  config.milestones = {};
  EXPECT_THAT(Schedule(config, 2000).describe(), testing::EndsWith(", then constant"));
  EXPECT_EQ(Schedule(config, 2000).rate(1999), Schedule(config, 2000).rate(500));
}

}  // namespace
}  // namespace atl::train
