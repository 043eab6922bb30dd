// Runs that end with an error: nothing that was finished is lost, and the same command goes on once
// the reason is gone.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <fstream>

#include "dataset/sampler.h"
#include "train/small_run.h"

namespace atl::train {
namespace {

using testing::Contains;
using testing::HasSubstr;

class BrokenRun : public SmallRun {
 protected:
  // The image that comes last in step `step` of config()'s runs.
  int64_t last_image_of(int64_t step, int accumulation) {
    dataset::Sampler sampler(std::vector<dataset::ImageSize>(8, {64, 64}),
                             {.seed = 0, .global_batch = 2 / accumulation});
    return sampler.batch(step * accumulation + accumulation - 1).back();
  }
  void break_image(int64_t index) {
    std::filesystem::copy_file(train_image(index), path("whole.jpg"));
    std::filesystem::resize_file(train_image(index), 100);
  }
  void repair_image(int64_t index) {
    std::filesystem::rename(path("whole.jpg"), train_image(index));
  }
  void expect_same_tensors(const std::string& a, const std::string& b, int64_t step) {
    const auto first = checkpoint(a, step).tensors;
    const auto second = checkpoint(b, step).tensors;
    ASSERT_EQ(first.size(), second.size());
    for (const auto& [name, tensor] : first) {
      ASSERT_TRUE(second.contains(name)) << name;
      EXPECT_TRUE(at::equal(tensor, second.at(name))) << name;
    }
  }
};

class AtABadImage : public BrokenRun, public testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(Accumulation, AtABadImage, testing::Values(1, 2));

// With accumulation 2 the bad image is in the step's second micro-batch, so the first has already
// changed the trainable norms' statistics when the step ends.
TEST_P(AtABadImage, the_steps_before_are_kept_and_the_same_command_goes_on_bit_for_bit) {
  make_data();
  const std::vector<std::string> sets = {fmt::format("train.accumulation={}", GetParam()),
                                         "model.norm=batch",
                                         "train.ema_decay=0.9",
                                         "data.max_bad_images=0"};
  auto every_step = sets;
  every_step.push_back("train.checkpoint_every=1");
  finish(config("whole", every_step));

  const int64_t bad = last_image_of(2, GetParam());
  break_image(bad);
  const auto ended = run(config("broken", sets));
  ASSERT_FALSE(ended);
  EXPECT_EQ(exit_code(ended.error()), 2);
  EXPECT_THAT(ended.error().to_string(), HasSubstr(fmt::format("{:012}.jpg", bad)));
  EXPECT_THAT(ended.error().to_string(),
              HasSubstr("repair them, or raise data.max_bad_images; then the same command goes on "
                        "after step 2"));
  EXPECT_THAT(checkpoints("broken"), testing::ElementsAre(2));
  expect_same_tensors("whole", "broken", 2);

  // Nothing repaired: the same end, and the checkpoint stays.
  ASSERT_FALSE(run(config("broken", sets)));
  EXPECT_THAT(lines_, Contains("going on after step 2 of 4"));
  EXPECT_THAT(checkpoints("broken"), testing::ElementsAre(2));

  repair_image(bad);
  finish(config("broken", sets));
  expect_same_tensors("whole", "broken", 4);
  EXPECT_EQ(metrics("broken"), metrics("whole"));
  EXPECT_TRUE(text("broken/model.safetensors") == text("whole/model.safetensors"));
}

// The second of two bad images ends the run. The first was passed over in a step that is done, and
// no longer counts once it is repaired.
TEST_F(BrokenRun, a_repaired_image_no_longer_counts) {
  make_data();
  const int64_t first = last_image_of(0, 1);
  const int64_t second = last_image_of(2, 1);
  const auto options = config("run", {"data.max_bad_images=1"});
  break_image(first);
  std::filesystem::rename(path("whole.jpg"), path("first.jpg"));
  break_image(second);
  const auto ended = run(options);
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().to_string(), HasSubstr("goes on after step 2"));
  EXPECT_EQ(checkpoint("run", 2).state.bad_images.size(), 1);

  // The limit is the whole run's, not this process's: the one of before counts as long as it is bad.
  ASSERT_FALSE(run(options));

  std::filesystem::rename(path("first.jpg"), train_image(first));
  finish(options);
  EXPECT_THAT(lines_, Contains("1 image that could not be read before can be now"));
  const auto bad = checkpoint("run", 4).state.bad_images;
  ASSERT_EQ(bad.size(), 1);
  EXPECT_THAT(bad[0], HasSubstr(fmt::format("{:012}.jpg", second)));
}

TEST_F(BrokenRun, what_was_passed_over_before_counts_for_a_lower_limit_too) {
  make_data();
  const int64_t first = last_image_of(0, 1);
  const int64_t second = last_image_of(2, 1);
  break_image(first);
  std::filesystem::rename(path("whole.jpg"), path("first.jpg"));
  break_image(second);
  ASSERT_FALSE(run(config("run", {"data.max_bad_images=1"})));  // after step 2
  repair_image(second);
  // The steps that are left do not need the first one.
  const auto ended = run(config("run", {"data.max_bad_images=0"}));
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().to_string(),
              testing::AllOf(HasSubstr("1 image could not be read"),
                             HasSubstr(fmt::format("{:012}.jpg", first))));
}

TEST_F(BrokenRun, a_first_step_that_fails_leaves_no_checkpoint) {
  make_data();
  break_image(last_image_of(0, 1));
  const auto ended = run(config("run", {"data.max_bad_images=0"}));
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().to_string(), testing::Not(HasSubstr("goes on")));
  EXPECT_FALSE(std::filesystem::exists(path("run/checkpoints")));
}

// A learning rate that throws the weights to where no float reaches.
TEST_F(BrokenRun, a_run_that_diverges_names_the_images_and_keeps_finite_weights) {
  make_data(4, 0);
  const auto options = config("run",
                              {"train.learning_rate=1e6",
                               "train.base_batch=1",
                               "train.optimizer=sgd",
                               "train.clip_norm=0",
                               "train.steps=40",
                               "train.max_bad_steps=3"});
  const auto ended = run(options);
  ASSERT_FALSE(ended);
  EXPECT_EQ(exit_code(ended.error()), 1);
  EXPECT_THAT(ended.error().to_string(), HasSubstr("3 steps skipped in a row"));
  const auto lines = metrics("run");
  ASSERT_GT(lines.size(), 3);
  const auto steps = static_cast<int64_t>(lines.size());
  EXPECT_FALSE(lines[0]["skipped"]);
  for (size_t i = lines.size() - 3; i < lines.size(); ++i) EXPECT_TRUE(lines[i]["skipped"]);
  EXPECT_THAT(ended.error().to_string(), HasSubstr(fmt::format("goes on after step {}", steps)));
  EXPECT_THAT(lines_,
              Contains(testing::ContainsRegex("step [0-9]+ skipped: loss .*images: 0.*jpg")));
  const auto kept = checkpoint("run", steps);
  EXPECT_EQ(kept.state.bad_steps, 3);
  for (const auto& [name, tensor] : kept.tensors) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
}

// The way to the end is kept, whatever of the directory is damaged.
TEST_F(BrokenRun, a_damaged_checkpoint_is_passed_over_and_written_anew) {
  make_data();
  const std::vector<std::string> sets = {"train.checkpoint_every=1", "train.keep_checkpoints=1"};
  finish(config("whole", sets));
  finish(config("run", {"train.checkpoint_every=1", "train.keep_checkpoints=3"}));
  EXPECT_THAT(checkpoints("run"), testing::ElementsAre(2, 3, 4));
  for (const int64_t step : {3, 4}) {
    std::filesystem::resize_file(path("run/" + shard_key(step, 0, 1)), 1000);
  }
  finish(config("run", sets));
  EXPECT_THAT(lines_,
              Contains(testing::AllOf(HasSubstr("passed over a damaged checkpoint"),
                                      HasSubstr("step-00000004"))));
  EXPECT_THAT(lines_, Contains("going on after step 2 of 4"));
  EXPECT_THAT(checkpoints("run"), testing::ElementsAre(4));
  expect_same_tensors("whole", "run", 4);
  EXPECT_EQ(metrics("run"), metrics("whole"));
}

TEST_F(BrokenRun, a_later_round_of_a_job_waits_until_the_one_before_has_left) {
  make_data();
  storage::LocalStore other(path("run"));
  ASSERT_TRUE(storage::put_text(other, "notes", "x"));
  auto claim = other.claim();
  ASSERT_TRUE(claim);
  bool waited = false;
  Console console;
  console.wait_for_output = std::chrono::hours(1);
  console.line = [&](const std::string& line) {
    if (line.find("waiting until the job's last round has ended") == std::string::npos) return;
    waited = true;
    claim->guard.reset();
  };
  const auto result = run_training(config("run"), false, console, stop_.get_token());
  EXPECT_TRUE(result) << result.error().to_string();
  EXPECT_TRUE(waited);
}

TEST_F(BrokenRun, a_second_run_in_one_directory_is_refused_until_the_first_has_ended) {
  make_data();
  storage::LocalStore other(path("run"));
  ASSERT_TRUE(storage::put_text(other, "notes", "x"));
  {
    const auto claim = other.claim();
    ASSERT_TRUE(claim);
    const auto refused = run(config("run"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(exit_code(refused.error()), 2);
    EXPECT_THAT(refused.error().to_string(), HasSubstr(path("run") + ": another run is writing"));
    EXPECT_FALSE(std::filesystem::exists(path("run/config.toml")));
  }
  // From inside a run, which holds the claim from its preparation to its end.
  int refusals = 0;
  on_progress_ = [&](const Progress&) { refusals += other.claim() ? 0 : 1; };
  finish(config("run"));
  EXPECT_GE(refusals, 4);
  EXPECT_TRUE(other.claim());
}

}  // namespace
}  // namespace atl::train
