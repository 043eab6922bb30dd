#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
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
  state.steps = 1000;
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
  add_with_prefix(tensors,
                  "model",
                  {{"a", at::arange(7, at::kFloat)},
                   {"b",
                    at::arange(24, at::kFloat)
                        .reshape({2, 3, 2, 2})
                        .contiguous(at::MemoryFormat::ChannelsLast)},
                   {"n", at::scalar_tensor(3, at::kLong)}});
  add_with_prefix(tensors, "optimizer", {{"momentum.a", at::ones({7})}});
  return tensors;
}

void expect_same(const TensorMap& found, const TensorMap& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_TRUE(at::equal(found.at(name), tensor)) << name;
  }
}

std::vector<std::string> keys(storage::ObjectStore& store) {
  std::vector<std::string> keys;
  EXPECT_TRUE(store.list("", [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  return keys;
}

std::string text_of(storage::ObjectStore& store, const std::string& key) {
  return std::string(store.get(key)->text());
}

void damage(storage::ObjectStore& store, const std::string& key, size_t from_the_end, bool cut) {
  std::string bytes = text_of(store, key);
  if (cut) {
    bytes = bytes.substr(0, bytes.size() - from_the_end);
  } else {
    bytes[bytes.size() - from_the_end] ^= 1;
  }
  ASSERT_TRUE(storage::put_text(store, key, bytes));
}

class WrittenByRanks : public testing::TestWithParam<size_t> {};

// More ranks than tensors, too.
INSTANTIATE_TEST_SUITE_P(Ranks, WrittenByRanks, testing::Values(1, 2, 3, 4, 7));

TEST_P(WrittenByRanks, comes_back_as_it_was) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(40), some_tensors(), GetParam()));
  EXPECT_EQ(keys(store).size(), GetParam() + 1);
  const auto read = read_checkpoint(store, 40);
  ASSERT_TRUE(read) << read.error().to_string();
  RunState wanted = state_at(40);
  wanted.bad_images[0] = "a\xef\xbf\xbd.jpg: cut";  // JSON holds no such byte
  EXPECT_EQ(read->state, wanted);
  expect_same(read->tensors, some_tensors());
  EXPECT_EQ(with_prefix_removed(read->tensors, "model").size(), 3U);
}

TEST(Checkpoint, shards_hold_every_tensor_once_and_are_alike_in_size) {
  TensorMap tensors;
  for (int64_t i = 0; i < 40; ++i) tensors[fmt::format("t{}", i)] = at::zeros({100 + i});
  const auto shards = divide_into_shards(tensors, 4);
  TensorMap all;
  for (const auto& shard : shards) {
    size_t bytes = 0;
    for (const auto& [name, tensor] : shard) {
      EXPECT_TRUE(all.emplace(name, tensor).second) << name;
      bytes += tensor.nbytes();
    }
    EXPECT_NEAR(bytes, 10 * 119.5 * 4, 139 * 4);
  }
  EXPECT_EQ(all.size(), tensors.size());
}

TEST(Checkpoint, there_is_none_in_a_fresh_directory) {
  storage::FakeStore store;
  const auto found = newest_checkpoint(store);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->checkpoint);
}

TEST(Checkpoint, a_truncated_or_altered_newest_one_falls_back_to_the_one_before) {
  for (const bool cut : {true, false}) {
    for (const std::string& key : {shard_key(10, 0, 2), shard_key(10, 1, 2), manifest_key(10)}) {
      storage::FakeStore store;
      for (const int64_t step : {8, 9, 10}) {
        ASSERT_TRUE(write_checkpoint(store, state_at(step), some_tensors(), 2));
      }
      damage(store, key, 5, cut);
      const auto found = newest_checkpoint(store);
      ASSERT_TRUE(found) << found.error().to_string();
      EXPECT_EQ(found->checkpoint->state.step, 9);
      ASSERT_EQ(found->damaged.size(), 1U);
      EXPECT_EQ(found->damaged[0].step, 10);
      EXPECT_THAT(found->damaged[0].reason, HasSubstr(key));
    }
  }
}

class BrokenCheckpoint : public testing::Test {
 protected:
  BrokenCheckpoint() { EXPECT_TRUE(write_checkpoint(store_, state_at(40), some_tensors(), 3)); }
  std::string error() {
    const auto read = read_checkpoint(store_, 40);
    if (read) return "no error";
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
    return read.error().to_string();
  }
  // As its writer might have been mistaken: everything is consistent but this.
  void alter_manifest(const std::function<void(Manifest&)>& alter) {
    auto manifest = *manifest_from_text(text_of(store_, manifest_key(40)), "m");
    alter(manifest);
    ASSERT_TRUE(write_manifest(store_, manifest));
  }
  storage::FakeStore store_;
};

TEST_F(BrokenCheckpoint, a_missing_shard_is_named) {
  ASSERT_TRUE(store_.remove(shard_key(40, 1, 3)));
  EXPECT_THAT(error(), HasSubstr(shard_key(40, 1, 3) + ": this shard is missing"));
}

TEST_F(BrokenCheckpoint, a_truncated_shard_is_found_by_its_length) {
  damage(store_, shard_key(40, 2, 3), 1, /*cut=*/true);
  EXPECT_THAT(error(), HasSubstr(shard_key(40, 2, 3)));
  EXPECT_THAT(error(), HasSubstr("bytes instead of"));
}

TEST_F(BrokenCheckpoint, exchanged_shards_are_found) {
  const std::string first = text_of(store_, shard_key(40, 0, 3));
  const std::string second = text_of(store_, shard_key(40, 1, 3));
  ASSERT_TRUE(storage::put_text(store_, shard_key(40, 0, 3), second));
  ASSERT_TRUE(storage::put_text(store_, shard_key(40, 1, 3), first));
  EXPECT_THAT(error(), HasSubstr(shard_key(40, 0, 3)));
}

TEST_F(BrokenCheckpoint, the_shard_of_another_step_is_found_though_it_looks_the_same) {
  auto others = some_tensors();
  for (auto& [name, tensor] : others) tensor = tensor + 1;
  ASSERT_TRUE(write_checkpoint(store_, state_at(41), others, 3));
  ASSERT_TRUE(storage::put_text(store_, shard_key(40, 0, 3), text_of(store_, shard_key(41, 0, 3))));
  EXPECT_THAT(error(), HasSubstr("the checksum is wrong"));
}

TEST_F(BrokenCheckpoint, tensors_that_are_not_those_of_the_manifest_are_found) {
  alter_manifest(
      [](Manifest& manifest) { manifest.shards[0].tensors.begin()->second.shape = {1}; });
  EXPECT_THAT(error(), HasSubstr("another shape or type than the manifest says"));
  alter_manifest([](Manifest& manifest) { manifest.shards[0].tensors.clear(); });
  EXPECT_THAT(error(), HasSubstr("is not in the manifest"));
}

TEST_F(BrokenCheckpoint, a_tensor_that_no_shard_holds_is_found) {
  alter_manifest([](Manifest& manifest) { manifest.shards[0].tensors["more"] = {"F32", {}}; });
  EXPECT_THAT(error(), HasSubstr("tensor more is missing"));
}

TEST_F(BrokenCheckpoint, the_manifest_of_another_step_is_found) {
  ASSERT_TRUE(write_checkpoint(store_, state_at(41), some_tensors(), 3));
  ASSERT_TRUE(storage::put_text(store_, manifest_key(40), text_of(store_, manifest_key(41))));
  EXPECT_THAT(error(), HasSubstr("it is that of step 41"));
}

// Of a run that was killed and went on with another number of ranks.
TEST_F(BrokenCheckpoint, shards_that_the_manifest_does_not_count_are_no_harm) {
  ASSERT_TRUE(write_shard(store_, 40, 0, 2, some_tensors()));
  EXPECT_EQ(error(), "no error");
}

TEST(Checkpoint, shards_without_a_manifest_are_none) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors(), 2));
  ASSERT_TRUE(write_checkpoint(store, state_at(9), some_tensors(), 2));
  ASSERT_TRUE(store.remove(manifest_key(9)));
  const auto found = newest_checkpoint(store);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->checkpoint->state.step, 8);
  EXPECT_TRUE(found->damaged.empty());
}

TEST(Checkpoint, when_all_are_damaged_that_is_an_error_not_a_fresh_start) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors()));
  damage(store, shard_key(8, 0, 1), 1, false);
  const auto found = newest_checkpoint(store);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().to_string(), HasSubstr("start anew"));
}

TEST(Checkpoint, a_store_that_fails_is_not_taken_for_damage) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors()));
  ASSERT_TRUE(write_checkpoint(store, state_at(9), some_tensors()));
  store.fail_calls("get checkpoints/step-00000009.shard",
                   Error{ErrorCode::kIo, "503 slow down", "", {}});
  const auto found = newest_checkpoint(store);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kIo);
}

TEST(Checkpoint, one_of_an_older_version_is_named_not_passed_over) {
  storage::FakeStore store;
  ASSERT_TRUE(storage::put_text(store, "checkpoints/step-00000400.safetensors", "x"));
  const auto found = newest_checkpoint(store);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(found.error().to_string(), HasSubstr("an older version of atoll"));
}

TEST(Checkpoint, a_failed_write_leaves_the_last_good_one) {
  for (const int call : {1, 2, 3}) {  // the shards and the manifest
    storage::FakeStore store;
    ASSERT_TRUE(write_checkpoint(store, state_at(8), some_tensors(), 2));
    store.fail_call(call, Error{ErrorCode::kIo, "no space left", "", {}});
    EXPECT_FALSE(write_checkpoint(store, state_at(9), some_tensors(), 2));
    EXPECT_EQ(newest_checkpoint(store)->checkpoint->state.step, 8);
  }
}

TEST(Checkpoint, the_newest_and_the_best_are_kept_and_no_half_ones) {
  storage::FakeStore store;
  for (const int64_t step : {100, 200, 300, 400, 100'000'000}) {
    ASSERT_TRUE(write_checkpoint(store, state_at(step), some_tensors(), 2));
  }
  ASSERT_TRUE(write_shard(store, 350, 0, 4, some_tensors()));
  ASSERT_TRUE(storage::put_text(store, "checkpoints/notes.txt", "mine"));
  ASSERT_TRUE(prune_checkpoints(store, 2, 200, 100'000'000));
  std::vector<std::string> kept = {"checkpoints/notes.txt"};
  for (const int64_t step : {200, 400, 100'000'000}) {
    kept.push_back(manifest_key(step));
    kept.push_back(shard_key(step, 0, 2));
    kept.push_back(shard_key(step, 1, 2));
  }
  EXPECT_THAT(keys(store), testing::ElementsAreArray(kept));
}

// A damaged one that was passed over must not count as one that is kept.
TEST(Checkpoint, newer_ones_than_the_newest_neither_count_nor_go) {
  storage::FakeStore store;
  for (const int64_t step : {100, 200, 300, 400}) {
    ASSERT_TRUE(write_checkpoint(store, state_at(step), some_tensors()));
  }
  ASSERT_TRUE(prune_checkpoints(store, 1, -1, 300));
  EXPECT_THAT(*list_checkpoints(store), ElementsAre(400, 300));
}

// A crash in the middle must not leave a manifest without its shards.
TEST(Checkpoint, the_manifest_is_removed_first) {
  storage::FakeStore store;
  ASSERT_TRUE(write_checkpoint(store, state_at(100), some_tensors(), 2));
  store.fail_calls("remove checkpoints/step-00000100.shard",
                   Error{ErrorCode::kIo, "killed", "", {}});
  EXPECT_FALSE(remove_checkpoint(store, 100));
  EXPECT_THAT(*list_checkpoints(store), ElementsAre());
  EXPECT_FALSE(newest_checkpoint(store)->checkpoint);
}

}  // namespace
}  // namespace atl::train
