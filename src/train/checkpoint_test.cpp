#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/fake_store.h"

namespace atl::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

RunState state_at(int64_t step) {
  RunState state;
  state.step = step;
  state.epoch = 3;
  state.metrics_bytes = 12345;
  state.best_ap = 0.1 + 0.2;
  state.best_step = 2;
  state.bad_steps = 1;
  state.bad_images = {"a\xff.jpg: cut", "b.jpg: not an image"};
  state.train_images = 1000;
  state.config = "preset = \"tiny\"\n";
  state.categories = {{0, 7}, {"dog", "cät"}};
  return state;
}

TensorMap some_tensors() {
  TensorMap tensors;
  add_with_prefix(
      tensors, "model", {{"a", at::arange(7, at::kFloat)}, {"n", at::scalar_tensor(3, at::kLong)}});
  add_with_prefix(tensors, "optimizer", {{"momentum.a", at::ones({7})}});
  return tensors;
}

std::vector<std::string> keys(storage::ObjectStore& store) {
  std::vector<std::string> keys;
  EXPECT_TRUE(store.list("", [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  return keys;
}

void damage(storage::ObjectStore& store, const std::string& key, size_t from_the_end, bool cut) {
  std::string bytes(store.get(key)->text());
  if (cut) {
    bytes = bytes.substr(0, bytes.size() - from_the_end);
  } else {
    bytes[bytes.size() - from_the_end] ^= 1;
  }
  ASSERT_TRUE(storage::put_text(store, key, bytes));
}

TEST(Checkpoint, comes_back_as_it_was) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(40), some_tensors()));
  const auto read = read_checkpoint(store, checkpoint_key(40));
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(read->state.step, 40);
  EXPECT_EQ(read->state.metrics_bytes, 12345U);
  EXPECT_EQ(read->state.best_ap, 0.1 + 0.2);
  EXPECT_EQ(read->state.bad_images.size(), 2U);
  EXPECT_EQ(read->state.bad_images[1], "b.jpg: not an image");
  EXPECT_EQ(read->state.categories, state_at(40).categories);
  EXPECT_EQ(read->state.train_images, 1000);
  EXPECT_EQ(read->state.config, state_at(40).config);
  const auto model = with_prefix_removed(read->tensors, "model");
  ASSERT_EQ(model.size(), 2U);
  EXPECT_TRUE(at::equal(model.at("a"), at::arange(7, at::kFloat)));
  EXPECT_EQ(model.at("n").item<int64_t>(), 3);
}

TEST(Checkpoint, there_is_none_in_a_fresh_directory) {
  storage::FakeStore store;
  const auto found = newest_checkpoint(store);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->checkpoint);
}

TEST(Checkpoint, a_truncated_or_altered_newest_one_falls_back_to_the_one_before) {
  for (const bool cut : {true, false}) {
    storage::FakeStore store;
    for (const int64_t step : {8, 9, 10}) {
      ASSERT_TRUE(write_checkpoint(store, state_at(step), some_tensors()));
    }
    damage(store, checkpoint_key(10), 5, cut);
    const auto found = newest_checkpoint(store);
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(found->checkpoint->state.step, 9);
    ASSERT_EQ(found->damaged.size(), 1U);
    EXPECT_THAT(found->damaged[0], HasSubstr("step-00000010"));
  }
}

// The metadata stand in the header, whose own form survives a digit that is another one.
TEST(Checkpoint, altered_metadata_are_found) {
  const auto altered = [](const std::string& from, const std::string& to) {
    storage::FakeStore store;
    EXPECT_TRUE(write_checkpoint(store, state_at(40), some_tensors()));
    std::string bytes(store.get(checkpoint_key(40))->text());
    const size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    EXPECT_EQ(from.size(), to.size());
    bytes.replace(at, from.size(), to);
    EXPECT_TRUE(storage::put_text(store, checkpoint_key(40), bytes));
    const auto read = read_checkpoint(store, checkpoint_key(40));
    return read ? std::string("no error") : read.error().to_string();
  };
  EXPECT_THAT(altered("\\\"step\\\":40", "\\\"step\\\":48"), HasSubstr("the checksum is wrong"));
  EXPECT_THAT(altered("1000", "1001"), HasSubstr("the checksum is wrong"));
  EXPECT_THAT(altered("[0,7]", "[777]"), HasSubstr("categories"));
  EXPECT_THAT(altered("[0,7]", "[0.7}"), HasSubstr("no JSON object"));
  EXPECT_THAT(altered("[0,7]", "12345"), HasSubstr("damaged"));
}

TEST(Checkpoint, when_all_are_damaged_that_is_an_error_not_a_fresh_start) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors()));
  damage(store, checkpoint_key(8), 1, false);
  const auto found = newest_checkpoint(store);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().to_string(), HasSubstr("start anew"));
}

TEST(Checkpoint, a_failed_write_leaves_the_last_good_one) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors()));
  store.fail_call(1, Error{ErrorCode::kIo, "no space left", "", {}});
  EXPECT_FALSE(write_checkpoint(store, state_at(9), some_tensors()));
  EXPECT_EQ(newest_checkpoint(store)->checkpoint->state.step, 8);
}

TEST(Checkpoint, the_newest_and_the_best_are_kept) {
  storage::FakeStore store;
  for (const int64_t step : {100, 200, 300, 400, 100'000'000}) {
    ASSERT_TRUE(write_checkpoint(store, state_at(step), some_tensors()));
  }
  ASSERT_TRUE(storage::put_text(store, "checkpoints/notes.txt", "mine"));
  ASSERT_TRUE(prune_checkpoints(store, 2, 200));
  EXPECT_THAT(keys(store),
              ElementsAre("checkpoints/notes.txt",
                          checkpoint_key(200),
                          checkpoint_key(400),
                          checkpoint_key(100'000'000)));
}

}  // namespace
}  // namespace atl::train
