#include "train/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "dataset/synth.h"
#include "dataset/tfrecord_convert.h"
#include "dataset/tfrecord_shards.h"
#include "storage/local_store.h"

namespace atl::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::MatchesRegex;

// Eight training and four validation images, in COCO's layout and as TFRecords.
class Splits : public testing::Test {
 protected:
  Splits() {
    std::string name = (fs::temp_directory_path() / "atoll-split-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    storage::LocalStore coco(folder_ / "coco");
    storage::LocalStore records(folder_ / "records");
    dataset::SynthOptions synth;
    synth.train_images = 8;
    synth.val_images = 4;
    synth.size_px = 64;
    EXPECT_TRUE(dataset::synthesise(coco, synth));
    for (const std::string split : {"train", "val"}) {
      const auto json = coco.get("annotations/instances_" + split + "2017.json").value();
      const auto data = dataset::CocoDataset::parse(json.text(), split).value();
      EXPECT_TRUE(dataset::coco_to_tfrecords(data, coco, split + "2017/", records, {split, 2}, {}));
    }
  }
  ~Splits() override { fs::remove_all(folder_); }

  SplitOptions records(dataset::Split split = dataset::Split::kTrain) const {
    return {.path = "tfrecord:" + (folder_ / "records").string(), .split = split};
  }
  SplitOptions coco(dataset::Split split = dataset::Split::kTrain) const {
    return {.path = (folder_ / "coco").string(), .split = split};
  }
  static Split opened(const SplitOptions& options) {
    auto split = open_split(options);
    EXPECT_TRUE(split.has_value()) << split.error().to_string();
    return split ? *std::move(split) : Split();
  }

  fs::path folder_;
};

TEST_F(Splits, records_are_the_same_split_as_the_json_that_they_were_made_of) {
  for (const auto which : {dataset::Split::kTrain, dataset::Split::kVal}) {
    const Split a = opened(coco(which));
    const Split b = opened(records(which));
    EXPECT_EQ(a.images, b.images);
    EXPECT_EQ(a.sizes(), b.sizes());
    EXPECT_EQ(categories_of(a.dataset), categories_of(b.dataset));
    for (size_t i = 0; i < a.images.size(); ++i) {
      EXPECT_EQ(a.dataset.images()[i].id, b.dataset.images()[i].id);
      const std::string name(b.dataset.images()[i].file_name);
      EXPECT_EQ(a.store->get(a.image_prefix + name)->text(),
                b.store->get(b.image_prefix + name)->text());
    }
  }
  EXPECT_EQ(opened(records()).name(),
            "tfrecord:" + (folder_ / "records").string() + "/train-*-of-00002.tfrecord");
}

TEST_F(Splits, whether_there_is_a_split_is_known_without_reading_it) {
  EXPECT_TRUE(has_split(records(dataset::Split::kVal)).value());
  EXPECT_TRUE(has_split(coco(dataset::Split::kVal)).value());
  for (size_t i = 0; i < 2; ++i) {
    fs::remove(folder_ / "records" / dataset::shard_name("val", i, 2));
  }
  fs::remove(folder_ / "coco/annotations/instances_val2017.json");
  EXPECT_FALSE(has_split(records(dataset::Split::kVal)).value());
  EXPECT_FALSE(has_split(coco(dataset::Split::kVal)).value());
}

TEST_F(Splits, a_split_whose_pictures_are_missing_is_there_and_broken) {
  fs::remove_all(folder_ / "coco/val2017");
  EXPECT_TRUE(has_split(coco(dataset::Split::kVal)).value());
  const auto split = open_split(coco(dataset::Split::kVal));
  ASSERT_FALSE(split.has_value());
  EXPECT_THAT(split.error().message, HasSubstr("the images of annotations/instances_val2017.json"));
}

TEST_F(Splits, bad_records_are_told_and_counted) {
  const auto shard = folder_ / "records" / dataset::shard_name("train", 1, 2);
  fs::resize_file(shard, fs::file_size(shard) - 2);
  EXPECT_FALSE(open_split(records()).has_value());
  SplitOptions options = records();
  options.max_bad_records = 3;
  std::vector<std::string> lines;
  options.console.line = [&](const std::string& line) { lines.push_back(line); };
  const Split split = opened(options);
  EXPECT_EQ(split.images.size(), 7U);
  EXPECT_GE(split.bad_records, 1);
  EXPECT_THAT(lines, testing::ElementsAre(HasSubstr("skipped: tfrecord:")));
}

TEST_F(Splits, without_a_label_map_a_split_takes_the_models_categories) {
  fs::remove(folder_ / "records/label_map.pbtxt");
  // Only as many images as make some class missing.
  SplitOptions options = records(dataset::Split::kVal);
  options.limit_images = 1;
  Split split = opened(options);
  EXPECT_TRUE(split.only_seen_categories);
  const size_t images = split.images.size();
  auto model = categories_of(opened(records()).dataset);
  model.ids.push_back(77);
  model.names.emplace_back("never seen");
  ASSERT_TRUE(check_categories(model, split, "the model").has_value());
  EXPECT_EQ(categories_of(split.dataset), model);
  EXPECT_EQ(split.dataset.images().size(), images);
  // Not one that contradicts its own.
  model.names[0] = "another";
  const auto refused = check_categories(model, split, "the model");
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().to_string(), HasSubstr("label_map.pbtxt"));
}

TEST_F(Splits, listed_categories_must_be_the_models) {
  Split split = opened(records());
  auto model = categories_of(split.dataset);
  model.ids.push_back(77);
  model.names.emplace_back("never seen");
  const auto refused = check_categories(model, split, "the model");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(exit_code(refused.error()), 2);
  // Both lists.
  EXPECT_THAT(refused.error().to_string(),
              MatchesRegex(".*the model and tfrecord:.* have different categories: "
                           "1 disc, .*, 77 never seen against 1 disc, .*"));
}

TEST_F(Splits, a_dataset_with_nothing_to_train_on_is_refused) {
  const auto refused_with = [&](const char* json, bool keep_empty = true) {
    std::ofstream(folder_ / "coco/annotations/instances_train2017.json") << json;
    std::ofstream(folder_ / "coco/train2017/000000000001.jpg");
    SplitOptions options = coco();
    options.keep_empty = keep_empty;
    const auto split = open_split(options);
    EXPECT_FALSE(split.has_value());
    return split ? std::string() : split.error().to_string();
  };
  EXPECT_THAT(
      refused_with(R"({"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]})"),
      HasSubstr("instances_train2017.json names no images"));
  const char* image =
      R"({"images": [{"id": 1, "file_name": "000000000001.jpg", "width": 64, "height": 64}],
                          "annotations": [], "categories": [)";
  EXPECT_THAT(refused_with((std::string(image) + "]}").c_str()), HasSubstr("no categories"));
  EXPECT_THAT(refused_with((std::string(image) + R"({"id": 1, "name": "a"}]})").c_str(), false),
              HasSubstr("no images with objects"));
}

TEST_F(Splits, the_first_images_of_records_can_be_had_alone) {
  SplitOptions options = records();
  options.limit_images = 3;
  EXPECT_EQ(opened(options).images.size(), 3U);
}

TEST_F(Splits, a_directory_of_pictures_makes_no_sense_for_records) {
  SplitOptions options = records();
  options.images = "train2017";
  const auto split = open_split(options);
  ASSERT_FALSE(split.has_value());
  EXPECT_THAT(split.error().to_string(), HasSubstr("the pictures are in the records"));
}

TEST_F(Splits, a_stop_ends_the_reading_of_records) {
  std::stop_source source;
  source.request_stop();
  SplitOptions options = records();
  options.stop = source.get_token();
  EXPECT_EQ(open_split(options).error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace atl::train
