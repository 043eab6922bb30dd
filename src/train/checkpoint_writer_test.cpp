#include "train/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/fake_store.h"

namespace atl::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CheckpointWriterTest : public testing::Test {
 protected:
  static RunState state_at(int64_t step) {
    RunState state;
    state.step = step;
    return state;
  }
  static Error disk_full() { return {ErrorCode::kIo, "No space left on device", "", {}}; }
  float written(int64_t step) {
    const auto read = read_checkpoint(store_, step);
    EXPECT_TRUE(read) << read.error().to_string();
    return read ? read->tensors.at("model.w").mean().item<float>() : -1;
  }
  std::vector<int64_t> steps() { return *list_checkpoints(store_); }
  std::vector<std::string> keys() {
    std::vector<std::string> keys;
    EXPECT_TRUE(store_.list("", [&](const storage::ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    }));
    return keys;
  }

  storage::FakeStore store_;
  parallel::Group group_;
  TensorMap live_ = {{"model.w", at::full({4, 3}, 1.0F)}, {"model.b", at::zeros({2})}};
  CheckpointWriter writer_{&store_, group_, {.keep = 2}, nullptr};
};

TEST_F(CheckpointWriterTest, the_tensors_may_change_as_soon_as_it_has_begun) {
  for (const int64_t step : {1, 2}) {  // the second uses the memory of the first
    live_["model.w"].fill_(static_cast<double>(step));
    store_.hold_calls("put checkpoints/");
    writer_.begin(state_at(step), live_);
    store_.wait_until_one_is_held();
    live_["model.w"].fill_(-7);
    EXPECT_EQ(writer_.in_flight(), step);
    EXPECT_EQ(writer_.counts().whole, 0);
    EXPECT_FALSE(*writer_.advance(writer_.counts()));
    store_.release();
    const auto outcome = writer_.finish();
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(outcome->whole);
    EXPECT_EQ(outcome->step, step);
    EXPECT_FALSE(writer_.in_flight());
    EXPECT_EQ(written(step), static_cast<float>(step));
  }
}

TEST_F(CheckpointWriterTest, the_outcome_comes_with_the_counts_too) {
  writer_.begin(state_at(5), live_);
  std::optional<CheckpointOutcome> outcome;
  while (!outcome) {
    outcome = *writer_.advance(writer_.counts());
    std::this_thread::yield();
  }
  EXPECT_TRUE(outcome->whole);
  EXPECT_EQ(outcome->step, 5);
  EXPECT_FALSE(writer_.in_flight());
  EXPECT_EQ(writer_.counts().whole, 0);
  EXPECT_THAT(steps(), ElementsAre(5));
}

TEST_F(CheckpointWriterTest, the_logs_are_durable_before_there_is_a_manifest) {
  // FakeStore's flush() does nothing; this one tells when it was called.
  struct Store : storage::FakeStore {
    Result<void> flush() override {
      calls_before = calls();
      return {};
    }
    std::vector<std::string> calls_before;
  } store;
  CheckpointWriter writer(&store, group_, {}, nullptr);
  writer.begin(state_at(5), live_);
  ASSERT_TRUE(writer.finish()->whole);
  EXPECT_THAT(store.calls_before, ElementsAre("put " + shard_key(5, 0, 1)));
}

// The disk is full at the shard, or with the manifest.
TEST_F(CheckpointWriterTest, a_full_disk_leaves_the_older_ones_whole_and_nothing_of_this_one) {
  for (const std::string& call : {"put " + shard_key(6, 0, 1), "put " + manifest_key(6)}) {
    writer_.begin(state_at(5), live_);
    ASSERT_TRUE(writer_.finish()->whole);
    store_.fail_calls(call, disk_full());
    writer_.begin(state_at(6), live_);
    const auto outcome = writer_.finish();
    ASSERT_TRUE(outcome);
    EXPECT_FALSE(outcome->whole);
    ASSERT_TRUE(outcome->reason);
    EXPECT_THAT(outcome->reason->to_string(), HasSubstr("No space left on device"));
    EXPECT_THAT(keys(), ElementsAre(manifest_key(5), shard_key(5, 0, 1)));
    EXPECT_EQ(written(5), 1);
    // There is room again.
    store_.fail_calls("", std::nullopt);
    writer_.begin(state_at(6), live_);
    EXPECT_TRUE(writer_.finish()->whole);
    EXPECT_THAT(steps(), ElementsAre(6, 5));
    ASSERT_TRUE(remove_checkpoint(store_, 6));
  }
}

TEST_F(CheckpointWriterTest, older_ones_go_when_the_new_one_is_there_and_not_before) {
  for (const int64_t step : {1, 2}) {
    writer_.begin(state_at(step), live_);
    ASSERT_TRUE(writer_.finish()->whole);
  }
  store_.hold_calls("put " + manifest_key(3));
  writer_.begin(state_at(3), live_);
  store_.wait_until_one_is_held();
  EXPECT_THAT(steps(), ElementsAre(2, 1));
  store_.release();
  EXPECT_TRUE(writer_.finish()->whole);
  EXPECT_THAT(steps(), ElementsAre(3, 2));
  store_.fail_calls("remove", Error{ErrorCode::kPermission, "denied", "", {}});
  writer_.begin(state_at(4), live_);
  const auto outcome = writer_.finish();
  EXPECT_TRUE(outcome->whole);
  EXPECT_TRUE(outcome->old_not_removed);
}

TEST_F(CheckpointWriterTest, its_end_waits_for_what_is_being_written) {
  {
    CheckpointWriter writer(&store_, group_, {.keep = 9}, nullptr);
    store_.hold_calls("put checkpoints/");
    writer.begin(state_at(3), live_);
    store_.wait_until_one_is_held();
    store_.release();
  }
  EXPECT_EQ(written(3), 1);
}

TEST_F(CheckpointWriterTest, one_process_knows_alone_what_has_become_of_it) {
  EXPECT_FALSE(writer_.finish_alone());
  writer_.begin(state_at(3), live_);
  const auto outcome = writer_.finish_alone();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->whole);
  EXPECT_FALSE(writer_.in_flight());
}

}  // namespace
}  // namespace atl::train
