#include "dataset/layout.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using storage::FakeStore;
using storage::put_text;

constexpr const char* kJson =
    R"({"annotations": [], "categories": [], "images": [
        {"id": 0, "width": 1, "height": 1, "file_name": "a.jpg"},
        {"id": 1, "width": 1, "height": 1, "file_name": "../b.jpg"},
        {"id": 2, "width": 1, "height": 1, "file_name": "sub/c.jpg"}]})";

// Makes each of these, the JSONs with kJson in them.
void fill(FakeStore& store, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    ASSERT_TRUE(put_text(store, key, key.ends_with(".json") ? kJson : "picture"));
  }
}

struct Custom {
  std::vector<std::string> keys;
  Split split;
  std::string annotations;
  std::string image_prefix;
  bool note = false;
};

class Customs : public testing::TestWithParam<Custom> {};

TEST_P(Customs, are_found) {
  FakeStore store;
  fill(store, GetParam().keys);
  const auto found = find_split(store, GetParam().split);
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->annotations, GetParam().annotations);
  EXPECT_EQ(found->image_prefix, GetParam().image_prefix);
  EXPECT_EQ(!found->note.empty(), GetParam().note);
}

const std::vector<std::string> kCoco = {"annotations/instances_train2017.json",
                                        "annotations/instances_val2017.json",
                                        "train2017/a.jpg",
                                        "val2017/a.jpg"};
const std::vector<std::string> kYears = {"annotations/instances_train2014.json",
                                         "annotations/instances_train2015.json",
                                         "annotations/instances_trainbest.json",
                                         "annotations/person_keypoints_train2019.json",
                                         "train2014/a.jpg",
                                         "train2015/a.jpg"};
const std::vector<std::string> kRoot = {
    "instances_train.json", "instances_val.json", "train/a.jpg", "val/sub/c.jpg"};
const std::vector<std::string> kShared = {"trainval.json", "images/a.jpg"};
const std::vector<std::string> kBeside = {
    "train/_annotations.coco.json", "train/a.jpg", "valid/_annotations.coco.json", "valid/a.jpg"};

INSTANTIATE_TEST_SUITE_P(
    Layout,
    Customs,
    testing::Values(
        Custom{kCoco, Split::kTrain, "annotations/instances_train2017.json", "train2017/"},
        Custom{kCoco, Split::kVal, "annotations/instances_val2017.json", "val2017/"},
        Custom{kYears, Split::kTrain, "annotations/instances_train2015.json", "train2015/"},
        Custom{kRoot, Split::kTrain, "instances_train.json", "train/"},
        Custom{kRoot, Split::kVal, "instances_val.json", "val/"},
        Custom{kShared, Split::kTrain, "trainval.json", "images/", true},
        Custom{kShared, Split::kVal, "trainval.json", "images/", true},
        Custom{kBeside, Split::kTrain, "train/_annotations.coco.json", "train/"},
        Custom{kBeside, Split::kVal, "valid/_annotations.coco.json", "valid/"},
        Custom{{"annotations/train.json", "a.jpg"}, Split::kTrain, "annotations/train.json", ""},
        Custom{{"train.json", "images/train/a.jpg"}, Split::kTrain, "train.json", "images/train/"},
        Custom{{"annotations/instances_default.json", "images/a.jpg"},
               Split::kVal,
               "annotations/instances_default.json",
               "images/",
               true}));

TEST(Layout, the_folder_with_most_of_the_images_wins) {
  FakeStore store;
  fill(store, {"train.json", "train/a.jpg", "images/a.jpg", "images/sub/c.jpg"});
  EXPECT_EQ(find_split(store, Split::kTrain)->image_prefix, "images/");
}

TEST(Layout, an_empty_or_missing_place_is_named_as_such) {
  FakeStore store;
  const auto found = find_split(store, Split::kTrain);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().to_string(),
            "fake:: there is no dataset, nor anything else (check the path)");
}

TEST(Layout, the_other_split_does_not_serve) {
  FakeStore store;
  fill(store, {"annotations/instances_train2017.json", "train2017/a.jpg"});
  const auto found = find_split(store, Split::kVal);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kInvalidInput);
  EXPECT_NE(
      found.error().message.find(
          "no validation annotations in fake:: looked for annotations/instances_val2017.json, "),
      std::string::npos)
      << found.error().to_string();
  EXPECT_NE(found.error().message.find("trainval.json"), std::string::npos);
}

TEST(Layout, missing_images_say_where_they_were_looked_for) {
  FakeStore store;
  fill(store, {"train.json", "pictures/a.jpg"});
  const auto found = find_split(store, Split::kTrain);
  ASSERT_FALSE(found);
  EXPECT_NE(
      found.error().message.find("looked for a.jpg in train/, images/train/, images/, the root"),
      std::string::npos)
      << found.error().to_string();
  EXPECT_EQ(find_image_prefix(store, "train.json", {"a.jpg"}, "pictures").value(), "pictures/");
}

TEST(Layout, a_store_that_fails_is_not_a_missing_file) {
  FakeStore store;
  fill(store, kCoco);
  store.fail_call(2, Error{ErrorCode::kIo, "the line is dead", {}, {}});
  const auto found = find_split(store, Split::kTrain);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kIo);
}

TEST(Layout, broken_annotations_are_named) {
  FakeStore store;
  ASSERT_TRUE(put_text(store, "train.json", "{\"images\" 1}"));
  const auto found = find_split(store, Split::kTrain);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().to_string().find("train.json: byte 10: malformed JSON"),
            std::string::npos);
}

TEST(Layout, real_datasets_are_found) {
  const char* variable = std::getenv("ATOLL_REAL_DATA");
  const std::filesystem::path root =
      variable != nullptr ? std::filesystem::path(variable)
                          : std::filesystem::path(ATOLL_SOURCE_DIR) / "../shared/data";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << "no real data in " << root;
  const auto balloon = storage::open_store((root / "balloon").string());
  ASSERT_TRUE(balloon) << balloon.error().to_string();
  EXPECT_EQ(find_split(**balloon, Split::kTrain)->image_prefix, "train/");
  EXPECT_EQ(find_split(**balloon, Split::kVal)->annotations, "instances_val.json");
  const auto fruits = storage::open_store((root / "fruits_nuts").string());
  ASSERT_TRUE(fruits);
  EXPECT_EQ(find_split(**fruits, Split::kTrain)->image_prefix, "images/");
  EXPECT_FALSE(find_split(**fruits, Split::kVal)->note.empty());
}

}  // namespace
}  // namespace atl::dataset
