#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "storage/fake_store.h"

namespace atl::train {
namespace {

TEST(Metrics, a_line_has_nine_digits_and_null_for_what_is_not_finite) {
  StepMetrics metrics;
  metrics.step = 12;
  metrics.learning_rate = 0.1;
  metrics.loss = NAN;
  metrics.losses = {{"loss_mask", 1.0 / 3}, {"loss_box_reg", INFINITY}};
  metrics.skipped = true;
  EXPECT_EQ(
      to_json_line(metrics),
      "{\"step\":12,\"epoch\":0,\"learning_rate\":0.1,\"loss\":null,\"loss_mask\":0.333333333,"
      "\"loss_box_reg\":null,\"images_per_s\":0,\"data_wait_share\":0,\"gradient_norm\":0,"
      "\"skipped\":true}\n");
}

TEST(Metrics, of_several_ranks_say_what_their_sums_took_and_how_much_of_it_was_hidden) {
  const StepMetrics metrics{.step = 3, .sum_times = parallel::SumTimes{0.25, 0.0625}};
  EXPECT_THAT(
      to_json_line(metrics),
      testing::HasSubstr("\"gradient_sum_s\":0.25,\"gradient_sum_hidden\":0.75,\"skipped\""));
  EXPECT_EQ(parallel::SumTimes().hidden_share(), 0);
}

TEST(Metrics, a_run_that_goes_on_drops_the_lines_after_its_checkpoint) {
  storage::FakeStore store;
  uint64_t at_checkpoint = 0;
  {
    auto metrics = Metrics::open(store, 0, 0);
    ASSERT_TRUE(metrics);
    metrics->add(StepMetrics{.step = 1});
    at_checkpoint = metrics->bytes();
    metrics->add(StepMetrics{.step = 2});
    ASSERT_TRUE(metrics->flush());
  }
  auto metrics = Metrics::open(store, at_checkpoint, 1);
  ASSERT_TRUE(metrics);
  metrics->add(StepMetrics{.step = 2, .loss = 0.5});
  ASSERT_TRUE(metrics->flush());
  EXPECT_EQ(store.get("metrics.jsonl")->text(),
            to_json_line({.step = 1}) + to_json_line({.step = 2, .loss = 0.5}));
}

}  // namespace
}  // namespace atl::train
