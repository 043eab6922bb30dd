#include "dataset/synth.h"

#include <gtest/gtest.h>

#include <map>

#include "dataset/validate.h"
#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using storage::FakeStore;

SynthOptions small(uint64_t seed, int threads = 1) {
  return {.train_images = 40,
          .val_images = 10,
          .size_px = 64,
          .seed = seed,
          .threads = threads,
          .progress = {}};
}

std::map<std::string, std::string> contents(FakeStore& store) {
  std::map<std::string, std::string> all;
  std::vector<std::string> keys;
  EXPECT_TRUE(store.list("", [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  for (const std::string& key : keys) all[key] = std::string(store.get(key)->text());
  return all;
}

TEST(Synth, lies_on_disk_as_coco_does) {
  FakeStore store;
  ASSERT_TRUE(synthesise(store, small(1)));
  const auto files = contents(store);
  EXPECT_EQ(files.size(), 52U);
  EXPECT_TRUE(files.contains("train2017/000000000000.jpg"));
  EXPECT_TRUE(files.contains("val2017/000000000009.jpg"));
  const auto train = find_split(store, Split::kTrain);
  ASSERT_TRUE(train) << train.error().to_string();
  EXPECT_EQ(train->annotations, "annotations/instances_train2017.json");
  EXPECT_EQ(train->image_prefix, "train2017/");
  EXPECT_EQ(find_split(store, Split::kVal)->image_prefix, "val2017/");
}

TEST(Synth, the_same_seed_gives_the_same_bytes_on_any_number_of_threads) {
  FakeStore one;
  FakeStore three;
  FakeStore other;
  ASSERT_TRUE(synthesise(one, small(1)));
  ASSERT_TRUE(synthesise(three, small(1, 3)));
  ASSERT_TRUE(synthesise(other, small(2)));
  EXPECT_EQ(contents(one), contents(three));
  const auto first = contents(one);
  const auto second = contents(other);
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [key, bytes] : first) EXPECT_NE(second.at(key), bytes) << key;
}

TEST(Synth, its_annotations_are_those_of_its_pictures) {
  FakeStore store;
  ASSERT_TRUE(synthesise(store, small(3)));
  const auto json = store.get("annotations/instances_val2017.json");
  const auto data = CocoDataset::parse(json->text(), "val");
  ASSERT_TRUE(data) << data.error().to_string();
  ASSERT_EQ(data->images().size(), 10U);
  EXPECT_EQ(data->images()[0].id, 0);
  EXPECT_EQ(data->categories()[3], (Category{5, "star", "shape"}));
  for (size_t i = 0; i < 10; ++i) {
    const auto expected = synth_image(3, Split::kVal, static_cast<int64_t>(i), 64).objects;
    const auto written = data->annotations_of(i);
    ASSERT_EQ(written.size(), expected.size());
    for (size_t k = 0; k < expected.size(); ++k) {
      EXPECT_EQ(data->mask_of(written[k]), expected[k].rle);
      EXPECT_EQ(written[k].box, *expected[k].box);
      EXPECT_EQ(written[k].area, *expected[k].area);
      EXPECT_EQ(written[k].category_id, expected[k].category_id);
      EXPECT_EQ(written[k].crowd, expected[k].crowd);
      EXPECT_GT(written[k].id, 0);
    }
  }
}

TEST(Synth, validation_finds_nothing_wrong) {
  FakeStore store;
  ASSERT_TRUE(synthesise(store, small(5)));
  const auto report = validate(store, "annotations/instances_train2017.json", "train2017/", {});
  ASSERT_TRUE(report) << report.error().to_string();
  for (const Problem& problem : report->findings) {
    EXPECT_EQ(problem.severity, Problem::Severity::kInfo) << problem.record << problem.message;
  }
  EXPECT_EQ(report->images, 40);
}

TEST(Synth, progress_counts_every_image_once) {
  FakeStore store;
  SynthOptions options = small(1, 3);
  std::vector<int64_t> seen;
  options.progress = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 50);
    seen.push_back(done);
  };
  ASSERT_TRUE(synthesise(store, options));
  ASSERT_EQ(seen.size(), 50U);
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<int64_t>(i + 1));
}

TEST(Synth, a_full_disk_leaves_no_annotations_behind) {
  FakeStore store;
  store.fail_call(20, Error{ErrorCode::kIo, "no space left", {}, {}});
  const auto made = synthesise(store, small(1, 2));
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().to_string().starts_with("generating the dataset: "));
  EXPECT_EQ(made.error().code, ErrorCode::kIo);
  EXPECT_FALSE(store.head("annotations/instances_train2017.json"));
}

TEST(Synth, sizes_and_numbers_that_make_no_dataset_are_refused) {
  FakeStore store;
  for (const auto& [train, val, size] :
       {std::tuple{0, 0, 64}, {-1, 5, 64}, {5, 5, 31}, {5, 5, 5000}}) {
    const auto made = synthesise(
        store, {.train_images = train, .val_images = val, .size_px = size, .progress = {}});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidInput);
  }
  EXPECT_TRUE(store.calls().empty());
}

}  // namespace
}  // namespace atl::dataset
