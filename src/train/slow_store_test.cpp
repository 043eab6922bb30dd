// Whole runs whose output is slow, full, or gone: the training goes on, and what is kept is whole.
#include <gmock/gmock.h>

#include "storage/fake_store.h"
#include "train/small_run.h"
#include "train/training_run.h"

namespace atl::train {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class SlowStore : public SmallRun {
 protected:
  SlowStore() { make_data(8, 0); }

  // Into out_, which outlives the run.
  Result<TrainResult> run_into_store(const std::vector<std::string>& sets) {
    lines_.clear();
    TrainingRun run(
        config("unused", sets),
        false,
        {[this](const std::string& line) {
           lines_.push_back(line);
           if (on_line_) on_line_(line);
         },
         [this](const Progress& progress) {
           if (on_progress_) on_progress_(progress);
         },
         {}},
        stop_.get_token(),
        {},
        [this](const std::string&, bool) { return std::shared_ptr<storage::ObjectStore>(out_); });
    return run_training(run);
  }
  std::vector<int64_t> steps() { return *list_checkpoints(*out_); }
  std::vector<nlohmann::json> log() {
    return metrics_of(std::string(out_->get("metrics.jsonl")->text()));
  }

  std::shared_ptr<storage::FakeStore> out_ = std::make_shared<storage::FakeStore>();
};

TEST_F(SlowStore, the_training_goes_on_while_a_checkpoint_is_being_written) {
  out_->hold_calls("put " + shard_key(2, 0, 1));
  std::vector<int64_t> seen;
  on_progress_ = [&](const Progress& progress) {
    // Here step 3 is done. Had it waited for the checkpoint, nobody would release it.
    if (progress.done == 3) {
      out_->wait_until_one_is_held();
      seen = steps();
      out_->release();
    }
  };
  const auto result = run_into_store({"train.checkpoint_every=2", "train.steps=4"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(seen, ElementsAre());
  EXPECT_THAT(steps(), ElementsAre(4, 2));
  // It is of step 2, not of what the weights were when it was written.
  const auto second = read_checkpoint(*out_, 2);
  ASSERT_TRUE(second);
  on_progress_ = nullptr;
  finish(config("other", {"train.checkpoint_every=2"}));
  for (const auto& [name, tensor] : checkpoint("other", 2).tensors) {
    EXPECT_TRUE(at::equal(second->tensors.at(name), tensor)) << name;
  }
  EXPECT_EQ(log(), metrics("other"));
}

TEST_F(SlowStore, the_next_one_waits_and_says_so_once) {
  out_->hold_calls("put checkpoints/");
  on_line_ = [&](const std::string& line) {
    if (line.starts_with("warning: the checkpoint at step")) out_->release();
  };
  const auto result = run_into_store({"train.checkpoint_every=1", "train.steps=4"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(lines_,
              Contains("warning: the checkpoint at step 1 is still being written, and the next one "
                       "is due: training waits for it"));
  EXPECT_EQ(std::ranges::count_if(
                lines_, [](const std::string& line) { return line.starts_with("warning: "); }),
            1);
  EXPECT_THAT(lines_, Contains(testing::MatchesRegex("waited [0-9.]+ .*s for it; .*")));
  EXPECT_THAT(steps(), ElementsAre(4, 3, 2, 1));
}

// SIGTERM while an older one is being written: that one is finished, and then one of the last step.
TEST_F(SlowStore, a_stop_leaves_the_last_step_whatever_is_being_written) {
  out_->hold_calls("put checkpoints/");
  on_progress_ = [&](const Progress& progress) {
    if (progress.done != 3) return;
    out_->wait_until_one_is_held();
    stop_.request_stop();
    out_->release();
  };
  const auto result = run_into_store({"train.checkpoint_every=2", "train.steps=8"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_TRUE(result->stopped);
  EXPECT_THAT(steps(), ElementsAre(3, 2));
  EXPECT_THAT(lines_, Contains("stopped after step 3 of 8; the same command goes on after step 3"));
  EXPECT_EQ(log().size(), 3);
}

// As when the process is killed between the shard and the manifest.
TEST_F(SlowStore, a_run_goes_on_from_the_newest_whole_one) {
  ASSERT_TRUE(run_into_store({"train.checkpoint_every=1", "train.steps=4"}));
  const auto whole = log();
  ASSERT_TRUE(out_->remove(manifest_key(4)));
  ASSERT_TRUE(out_->remove(manifest_key(3)));
  ASSERT_TRUE(out_->remove(shard_key(3, 0, 1)));
  const auto result = run_into_store({"train.checkpoint_every=1", "train.steps=4"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(lines_, Contains("going on after step 2 of 4"));
  EXPECT_EQ(log(), whole);
}

TEST_F(SlowStore, a_full_disk_costs_no_step_and_no_older_checkpoint) {
  out_->fail_calls("put " + shard_key(3, 0, 1),
                   Error{ErrorCode::kIo, "No space left on device", "", {}});
  const auto result = run_into_store({"train.checkpoint_every=1", "train.steps=4"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_THAT(
      lines_,
      Contains(testing::MatchesRegex(
          "warning: checkpoint at step 3: .*No space left on device.*; the last good one is at "
          "step 2; it takes [0-9.]+ .iB, and the next one is tried when it is due")));
  EXPECT_THAT(steps(), ElementsAre(4, 2, 1));
  EXPECT_TRUE(read_checkpoint(*out_, 2));
  EXPECT_EQ(log().size(), 4);
}

TEST_F(SlowStore, a_stop_tries_again_what_could_not_be_written) {
  out_->fail_calls("put " + manifest_key(2), Error{ErrorCode::kIo, "No space left", "", {}});
  on_line_ = [&](const std::string& line) {
    if (!line.starts_with("warning: checkpoint at step 2")) return;
    out_->fail_calls("", std::nullopt);
    stop_.request_stop();
  };
  const auto result = run_into_store({"train.checkpoint_every=2", "train.steps=400"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_TRUE(result->stopped);
  EXPECT_THAT(steps().front(), result->steps);
}

// An error after step 3: the checkpoint in flight and the last good step are both kept.
TEST_F(SlowStore, an_error_keeps_what_is_in_flight_and_the_last_step) {
  out_->hold_calls("put checkpoints/");
  on_progress_ = [&](const Progress& progress) {
    if (progress.done != 3) return;
    out_->wait_until_one_is_held();
    out_->release();
    throw std::runtime_error("something broke");
  };
  const auto result = run_into_store({"train.checkpoint_every=2", "train.steps=8"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().to_string(), HasSubstr("goes on after step 3"));
  EXPECT_THAT(steps(), ElementsAre(3, 2));
}

TEST_F(SlowStore, the_trace_shows_what_was_done_beside_the_training) {
  ASSERT_TRUE(run_into_store({"train.checkpoint_every=2", "train.steps=4"}));
  const std::string trace(out_->get("trace.json")->text());
  for (const char* name : {"\"checkpoint\"",
                           "\"snapshot\"",
                           "\"write a shard\"",
                           "\"write the manifest\"",
                           "\"checkpoints\""}) {
    EXPECT_THAT(trace, HasSubstr(name));
  }
}

}  // namespace
}  // namespace atl::train
