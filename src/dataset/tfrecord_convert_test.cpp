#include "dataset/tfrecord_convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "dataset/coco_builder.h"
#include "dataset/synth.h"
#include "dataset/tfrecord_shards.h"
#include "storage/local_store.h"

namespace atl::dataset {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string contents(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Ten generated images.
class Convert : public testing::Test {
 protected:
  Convert() {
    std::string name = (fs::temp_directory_path() / "atoll-convert-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    coco_.emplace((folder_ / "coco").string());
    out_.emplace((folder_ / "out").string());
    SynthOptions synth;
    synth.train_images = 10;
    synth.val_images = 0;
    synth.size_px = 64;
    EXPECT_TRUE(dataset::synthesise(*coco_, synth));
    json_ = contents(folder_ / "coco/annotations/instances_train2017.json");
    dataset_ = CocoDataset::parse(json_, "json").value();
  }
  ~Convert() override { fs::remove_all(folder_); }

  Result<ConvertResult> to_records(int64_t shards = 4, const std::string& source = "s") {
    return coco_to_tfrecords(
        dataset_, *coco_, "train2017/", *out_, {"train", shards, source}, options_);
  }
  // Names and bytes of the shards.
  std::map<std::string, std::string> shards() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      if (entry.path().extension() == ".tfrecord") {
        found[entry.path().filename().string()] = contents(entry.path());
      }
    }
    return found;
  }

  fs::path folder_;
  std::optional<storage::LocalStore> coco_;
  std::optional<storage::LocalStore> out_;
  std::string json_;
  CocoDataset dataset_;
  ConvertOptions options_;
};

TEST_F(Convert, there_and_back_keeps_all_that_the_schema_holds) {
  ASSERT_TRUE(to_records().has_value());
  const auto records = open_tfrecords("tfrecord:" + (folder_ / "out").string(), {});
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  storage::LocalStore back((folder_ / "back").string());
  const auto result = tfrecords_to_coco(
      *records, back, "annotations/instances_train2017.json", "train2017/", options_);
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->images, 10);
  EXPECT_EQ(result->kept_files, 0);
  const auto again =
      CocoDataset::parse(contents(folder_ / "back/annotations/instances_train2017.json"), "back");
  ASSERT_TRUE(again.has_value());
  for (size_t i = 0; i < 10; ++i) {
    const std::string name(dataset_.images()[i].file_name);
    EXPECT_EQ(contents(folder_ / "back/train2017" / name),
              contents(folder_ / "coco/train2017" / name));
    ASSERT_EQ(again->annotations_of(i).size(), dataset_.annotations_of(i).size());
    for (size_t k = 0; k < dataset_.annotations_of(i).size(); ++k) {
      EXPECT_EQ(again->mask_of(again->annotations_of(i)[k]),
                dataset_.mask_of(dataset_.annotations_of(i)[k]));
    }
  }
  // What has been through once loses nothing more: the records of that are the same, byte for byte.
  const auto first = shards();
  fs::remove_all(folder_ / "out");
  ASSERT_TRUE(coco_to_tfrecords(*again, back, "train2017/", *out_, {"train", 4, "s"}, options_)
                  .has_value());
  EXPECT_EQ(shards(), first);
}

TEST_F(Convert, images_are_shared_out_in_order_and_evenly) {
  const auto result = to_records(4);
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->images, 10);
  EXPECT_EQ(result->files, 4);
  const auto records = open_tfrecords("tfrecord:" + (folder_ / "out").string(), {});
  ASSERT_TRUE(records.has_value());
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(records->dataset.images()[i].id, dataset_.images()[i].id);
  }
  // Never a shard without an image.
  fs::remove_all(folder_ / "out");
  EXPECT_EQ(to_records(99)->files, 10);
}

TEST_F(Convert, the_threads_do_not_change_the_files) {
  ASSERT_TRUE(to_records().has_value());
  const auto one = shards();
  fs::remove_all(folder_ / "out");
  options_.threads = 4;
  ASSERT_TRUE(to_records().has_value());
  EXPECT_EQ(shards(), one);
}

TEST_F(Convert, goes_on_where_it_stopped_and_ends_the_same) {
  ASSERT_TRUE(to_records().has_value());
  const auto whole = shards();
  fs::remove_all(folder_ / "out");
  std::stop_source source;
  options_.stop = source.get_token();
  // In the third shard.
  options_.progress = [&](int64_t done, int64_t) {
    if (done == 6) source.request_stop();
  };
  const auto stopped = to_records();
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(shards().size(), 2U);
  options_ = {};
  const auto result = to_records();
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->kept_files, 2);
  EXPECT_EQ(shards(), whole);
}

TEST_F(Convert, finished_shards_are_checked_before_they_are_kept) {
  ASSERT_TRUE(to_records().has_value());
  const auto whole = shards();
  std::string damaged = whole.at(shard_name("train", 1, 4));
  damaged[500] ^= 1;
  std::ofstream(folder_ / "out" / shard_name("train", 1, 4), std::ios::binary) << damaged;
  fs::resize_file(folder_ / "out" / shard_name("train", 2, 4), 100);
  fs::remove(folder_ / "out" / shard_name("train", 3, 4));
  const auto result = to_records();
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->kept_files, 1);
  EXPECT_EQ(shards(), whole);
}

TEST_F(Convert, a_manifest_that_is_damaged_costs_only_work) {
  ASSERT_TRUE(to_records().has_value());
  const auto whole = shards();
  const auto manifest = folder_ / "out/train.manifest.jsonl";
  const std::string text = contents(manifest);
  std::ofstream(manifest) << text.substr(0, text.size() - 30) << "\n{\"shard\":5}\nnonsense\n[]\n";
  const auto result = to_records();
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->kept_files, 3);
  EXPECT_EQ(shards(), whole);
}

TEST_F(Convert, shards_of_other_data_are_not_overwritten_unless_asked) {
  ASSERT_TRUE(to_records(4).has_value());
  for (const auto& refused : {to_records(3), to_records(4, "changed")}) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(refused.error().to_string(),
                AllOf(HasSubstr(shard_name("train", 0, 4)), HasSubstr("--overwrite")));
  }
  EXPECT_EQ(shards().size(), 4U);
  options_.overwrite = true;
  ASSERT_TRUE(to_records(3).has_value());
  EXPECT_EQ(shards().size(), 3U);
}

TEST_F(Convert, another_label_map_is_not_overwritten_unless_asked) {
  ASSERT_TRUE(storage::put_text(*out_, "label_map.pbtxt", "item{id:1 name:'mine'}"));
  const auto refused = to_records();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().to_string(), HasSubstr("label_map.pbtxt is there already"));
  EXPECT_THAT(shards(), IsEmpty());
}

TEST_F(Convert, unreadable_pictures_are_named_and_left_out_within_the_limit) {
  fs::remove(folder_ / "coco/train2017/000000000002.jpg");
  std::ofstream(folder_ / "coco/train2017/000000000007.jpg") << "no picture";
  const auto strict = to_records();
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(strict.error().to_string(),
              AllOf(HasSubstr("1 unreadable image, 0 allowed"), HasSubstr("000000000002.jpg")));
  options_.max_bad_images = 2;
  const auto result = to_records();
  ASSERT_TRUE(result.has_value()) << result.error().to_string();
  EXPECT_EQ(result->images, 8);
  EXPECT_THAT(result->bad_images,
              ElementsAre(HasSubstr("000000000002.jpg"), HasSubstr("000000000007.jpg")));
  // Once they are repaired, the shards that lack them are made again.
  for (const char* name : {"000000000002.jpg", "000000000007.jpg"}) {
    fs::copy_file(folder_ / "coco/train2017/000000000001.jpg",
                  folder_ / "coco/train2017" / name,
                  fs::copy_options::overwrite_existing);
  }
  options_ = {};
  const auto again = to_records();
  ASSERT_TRUE(again.has_value()) << again.error().to_string();
  EXPECT_EQ(again->kept_files, 2);
  EXPECT_EQ(again->images, 10);
  EXPECT_THAT(again->bad_images, IsEmpty());
}

TEST_F(Convert, a_picture_of_another_size_than_the_json_says_is_refused) {
  CocoBuilder builder;
  ASSERT_TRUE(builder.add_category({1, "a", ""}));
  ASSERT_TRUE(builder.add_image({0, 65, 64, "000000000000.jpg"}));
  dataset_ = builder.finish();
  const auto result = to_records(1);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().to_string(), HasSubstr("the file is 64 x 64, the JSON has 65 x 64"));
}

TEST_F(Convert, back_to_coco_goes_on_and_does_not_overwrite_another_file) {
  ASSERT_TRUE(to_records().has_value());
  const auto records = open_tfrecords("tfrecord:" + (folder_ / "out").string(), {});
  ASSERT_TRUE(records.has_value());
  storage::LocalStore back((folder_ / "back").string());
  const auto convert = [&] {
    return tfrecords_to_coco(*records, back, "annotations/a.json", "images/", options_);
  };
  std::stop_source source;
  options_.stop = source.get_token();
  options_.progress = [&](int64_t done, int64_t) {
    if (done == 4) source.request_stop();
  };
  EXPECT_EQ(convert().error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(fs::exists(folder_ / "back/annotations/a.json"));
  options_ = {};
  EXPECT_EQ(convert()->kept_files, 4);
  std::ofstream(folder_ / "back/images/000000000003.jpg") << "mine";
  const auto refused = convert();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().to_string(), HasSubstr("images/000000000003.jpg is there already"));
  EXPECT_EQ(contents(folder_ / "back/images/000000000003.jpg"), "mine");
  options_.overwrite = true;
  EXPECT_EQ(convert()->kept_files, 9);
}

}  // namespace
}  // namespace atl::dataset
