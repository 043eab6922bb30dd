#include "dataset/tfrecord_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> keys(const TfrecordShards& shards) {
  std::vector<std::string> keys;
  for (const auto& info : shards.shards) keys.push_back(info.key);
  return keys;
}

void fill(storage::FakeStore& store, const std::vector<std::string>& names) {
  for (const auto& name : names) ASSERT_TRUE(storage::put_text(store, name, "x"));
}

TEST(TfrecordUri, is_a_directory_or_files_in_one) {
  struct Case {
    const char* uri;
    const char* directory;
    const char* pattern;
  };
  for (const auto& [uri, directory, pattern] : {
           Case{"tfrecord:data/coco", "data/coco", ""},
           Case{"tfrecord:/data/coco/", "/data/coco/", ""},
           Case{"tfrecord:data/train-*.tfrecord", "data", "train-*.tfrecord"},
           Case{"tfrecord:data/train-?????"
                "-of-00256",
                "data",
                "train-?????"
                "-of-00256"},
           Case{"tfrecord:train.record", ".", "train.record"},
           Case{"tfrecord:/a-00000-of-00001", "/", "a-00000-of-00001"},
           Case{"tfrecord:s3://bucket/coco/val-*", "s3://bucket/coco", "val-*"},
       }) {
    const auto parsed = parse_tfrecord_uri(uri);
    ASSERT_TRUE(parsed.has_value()) << uri;
    EXPECT_EQ(parsed->directory, directory);
    EXPECT_EQ(parsed->pattern, pattern);
  }
  EXPECT_FALSE(parse_tfrecord_uri("data/train-*.tfrecord").has_value());
  EXPECT_FALSE(parse_tfrecord_uri("tfrecord:").has_value());
  EXPECT_THAT(parse_tfrecord_uri("tfrecord:a*/x.tfrecord").error().to_string(),
              HasSubstr("files' name only"));
}

TEST(TfrecordUri, wildcards_match_as_in_a_shell) {
  EXPECT_TRUE(matches_wildcards("train-*.tfrecord", "train-00000-of-00002.tfrecord"));
  EXPECT_TRUE(
      matches_wildcards("train-?????"
                        "-of-00002",
                        "train-00000-of-00002"));
  EXPECT_FALSE(
      matches_wildcards("train-????"
                        "-of-00002",
                        "train-00000-of-00002"));
  EXPECT_TRUE(matches_wildcards("*a*b*", "xxaxxabxx"));
  EXPECT_FALSE(matches_wildcards("*a*b", "xxaxxabxx"));
  EXPECT_TRUE(matches_wildcards("*", ""));
  EXPECT_FALSE(matches_wildcards("", "x"));
  EXPECT_TRUE(matches_wildcards("", ""));
}

TEST(TfrecordShards, a_name_is_taken_apart) {
  const ShardName name = parse_shard_name("coco_train.record-00003-of-00100");
  EXPECT_EQ(name.before, "coco_train.record-");
  EXPECT_EQ(name.number, 3U);
  EXPECT_EQ(name.count, 100U);
  EXPECT_EQ(name.group(), "coco_train.record");
  EXPECT_EQ(parse_shard_name(shard_name("train", 7, 9)).group(), "train.tfrecord");
  for (const char* other : {"train.tfrecord", "a-5-of-5", "a-x-of-5", "a-1-of-", "1-of-99999999"}) {
    EXPECT_EQ(parse_shard_name(other).count, 0U) << other;
  }
}

TEST(TfrecordShards, come_in_the_order_of_their_numbers) {
  storage::FakeStore store;
  fill(store, {"train-10-of-12.tfrecord", "train-9-of-12.tfrecord", "train-2-of-12.tfrecord"});
  const auto shards = find_tfrecord_shards(store, "train-*", Split::kTrain);
  ASSERT_TRUE(shards.has_value()) << shards.error().to_string();
  EXPECT_THAT(
      keys(*shards),
      ElementsAre("train-2-of-12.tfrecord", "train-9-of-12.tfrecord", "train-10-of-12.tfrecord"));
}

TEST(TfrecordShards, missing_ones_are_named) {
  storage::FakeStore store;
  fill(store, {shard_name("train", 0, 4), shard_name("train", 3, 4)});
  const auto all = find_tfrecord_shards(store, "", Split::kTrain);
  ASSERT_TRUE(all.has_value());
  EXPECT_THAT(all->missing, ElementsAre(shard_name("train", 1, 4), shard_name("train", 2, 4)));
  // Not those that were not asked for.
  const auto some = find_tfrecord_shards(store, "train-00003-*", Split::kTrain);
  ASSERT_TRUE(some.has_value());
  EXPECT_THAT(some->missing, IsEmpty());
}

TEST(TfrecordShards, a_directory_gives_each_split_its_own) {
  storage::FakeStore store;
  fill(store,
       {shard_name("train", 0, 1), shard_name("val", 0, 1), "notes.txt", "sub/train.tfrecord"});
  EXPECT_THAT(keys(find_tfrecord_shards(store, "", Split::kTrain).value()),
              ElementsAre(shard_name("train", 0, 1)));
  EXPECT_THAT(keys(find_tfrecord_shards(store, "", Split::kVal).value()),
              ElementsAre(shard_name("val", 0, 1)));
}

TEST(TfrecordShards, the_validation_split_lies_beside_the_training_records_that_are_named) {
  storage::FakeStore store;
  fill(store,
       {"coco_train2017.record-00000-of-00001",
        "coco_val2017.record-00000-of-00001",
        "voc_train.record",
        "voc_valid.record"});
  EXPECT_THAT(keys(find_tfrecord_shards(store, "coco_train*", Split::kVal).value()),
              ElementsAre("coco_val2017.record-00000-of-00001"));
  EXPECT_THAT(keys(find_tfrecord_shards(store, "voc_train*", Split::kVal).value()),
              ElementsAre("voc_valid.record"));
  // With a directory alone it is not clear which.
  const auto unclear = find_tfrecord_shards(store, "", Split::kTrain);
  ASSERT_FALSE(unclear.has_value());
  EXPECT_THAT(unclear.error().to_string(), HasSubstr("several sets of training records"));
  EXPECT_EQ(find_tfrecord_shards(store, "*train*", Split::kTrain)->shards.size(), 2U);
}

TEST(TfrecordShards, one_split_is_never_taken_for_the_other) {
  storage::FakeStore store;
  fill(store, {shard_name("train", 0, 1)});
  for (const char* pattern : {"", "train-*"}) {
    const auto none = find_tfrecord_shards(store, pattern, Split::kVal);
    ASSERT_FALSE(none.has_value());
    EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(none.error().to_string(), HasSubstr("no validation records beside"));
  }
  // Unless it is asked for by name.
  EXPECT_EQ(
      find_tfrecord_shards(store, "train-*", Split::kVal, PatternMeans::kSplit)->shards.size(), 1U);
}

TEST(TfrecordShards, files_alone_are_wanted_without_what_lies_beside_them) {
  storage::FakeStore store;
  fill(store, {shard_name("train", 0, 1), shard_name("val", 0, 1)});
  const auto means = PatternMeans::kThese;
  EXPECT_EQ(find_tfrecord_shards(store, "val-*", Split::kVal, means)->shards.size(), 1U);
  EXPECT_EQ(find_tfrecord_shards(store, "val-*", Split::kTrain, means).error().code,
            ErrorCode::kNotFound);
}

TEST(TfrecordShards, files_that_name_no_split_serve_as_both_and_that_is_said) {
  storage::FakeStore store;
  fill(store, {"shapes.tfrecord"});
  for (const Split split : {Split::kTrain, Split::kVal}) {
    const auto shards = find_tfrecord_shards(store, "", split);
    ASSERT_TRUE(shards.has_value());
    EXPECT_THAT(keys(*shards), ElementsAre("shapes.tfrecord"));
    EXPECT_THAT(shards->note, HasSubstr("serves for training and for validation"));
  }
  // "trainval" is no word of either.
  storage::FakeStore both;
  fill(both, {"trainval.tfrecord"});
  EXPECT_FALSE(find_tfrecord_shards(both, "", Split::kVal)->note.empty());
}

TEST(TfrecordShards, two_numberings_side_by_side_are_refused) {
  storage::FakeStore store;
  fill(store, {shard_name("train", 0, 1), shard_name("train", 0, 2), shard_name("train", 1, 2)});
  const auto shards = find_tfrecord_shards(store, "", Split::kTrain);
  ASSERT_FALSE(shards.has_value());
  EXPECT_THAT(shards.error().to_string(), HasSubstr("side by side"));
  EXPECT_EQ(find_tfrecord_shards(store, "train-*-of-00002.tfrecord", Split::kTrain)->shards.size(),
            2U);
}

TEST(TfrecordShards, nothing_there_is_said) {
  storage::FakeStore store;
  EXPECT_EQ(find_tfrecord_shards(store, "", Split::kTrain).error().code, ErrorCode::kNotFound);
  const auto named = find_tfrecord_shards(store, "train-*", Split::kTrain);
  EXPECT_EQ(named.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(named.error().to_string(), HasSubstr("no file is called train-*"));
}

}  // namespace
}  // namespace atl::dataset
