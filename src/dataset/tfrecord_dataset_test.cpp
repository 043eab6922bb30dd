#include "dataset/tfrecord_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "dataset/synth.h"
#include "dataset/tfrecord_convert.h"
#include "dataset/tfrecord_fixture.h"
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

class Tfrecords : public testing::Test {
 protected:
  Tfrecords() {
    std::string name = (fs::temp_directory_path() / "atoll-tfrecord-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Tfrecords() override { fs::remove_all(folder_); }

  void write(const std::string& name, std::string_view bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  // Six generated training images, two in each of three files.
  void synthesise_records() {
    const auto coco = folder_ / "coco";
    storage::LocalStore store(coco.string());
    SynthOptions synth;
    synth.train_images = 6;
    synth.val_images = 0;
    synth.size_px = 64;
    synth.seed = 5;
    ASSERT_TRUE(dataset::synthesise(store, synth));
    const auto json = store.get("annotations/instances_train2017.json").value();
    original_ = CocoDataset::parse(json.text(), "json").value();
    storage::LocalStore out(folder_.string());
    const auto converted =
        coco_to_tfrecords(original_, store, "train2017/", out, {"train", 3, "x"}, {});
    ASSERT_TRUE(converted.has_value()) << converted.error().to_string();
  }
  void damage(const std::string& name, size_t at) {
    std::string bytes = contents(folder_ / name);
    bytes.at(at) ^= 0x20;
    write(name, bytes);
  }
  Result<TfrecordDataset> open(int64_t max_bad = 0) {
    TfrecordOptions options;
    options.threads = 3;
    options.max_bad_records = max_bad;
    return open_tfrecords("tfrecord:" + folder_.string(), options);
  }
  std::vector<std::string> names(const TfrecordDataset& records) {
    std::vector<std::string> names;
    for (const auto& image : records.dataset.images()) names.emplace_back(image.file_name);
    return names;
  }

  fs::path folder_;
  CocoDataset original_;
};

TEST_F(Tfrecords, give_the_images_objects_and_pictures_that_they_were_made_of) {
  synthesise_records();
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_THAT(records->notes, IsEmpty());
  EXPECT_TRUE(records->categories_are_listed);
  const CocoDataset& data = records->dataset;
  ASSERT_EQ(data.images().size(), 6U);
  ASSERT_EQ(data.categories().size(), original_.categories().size());
  for (size_t i = 0; i < data.categories().size(); ++i) {
    EXPECT_EQ(data.categories()[i].id, original_.categories()[i].id);
    EXPECT_EQ(data.categories()[i].name, original_.categories()[i].name);
  }
  for (size_t i = 0; i < 6; ++i) {
    const Image& image = data.images()[i];
    EXPECT_EQ(image.id, original_.images()[i].id);
    EXPECT_EQ(image.file_name, original_.images()[i].file_name);
    EXPECT_EQ(image.width, 64);
    const auto picture = records->store->get(image.file_name);
    ASSERT_TRUE(picture.has_value()) << picture.error().to_string();
    EXPECT_EQ(picture->text(), contents(folder_ / "coco/train2017" / std::string(image.file_name)));
    const auto before = original_.annotations_of(i);
    const auto after = data.annotations_of(i);
    ASSERT_EQ(after.size(), before.size());
    for (size_t k = 0; k < after.size(); ++k) {
      EXPECT_EQ(after[k].category_id, before[k].category_id);
      EXPECT_EQ(after[k].crowd, before[k].crowd);
      EXPECT_EQ(data.mask_of(after[k]), original_.mask_of(before[k]));
      EXPECT_EQ(after[k].area, static_cast<double>(static_cast<float>(before[k].area)));
      for (size_t side = 0; side < 4; ++side) {
        EXPECT_NEAR(after[k].box[side], before[k].box[side], 64 * 0x1p-22);
      }
    }
  }
}

TEST_F(Tfrecords, a_record_with_damaged_data_is_named_skipped_and_counted) {
  synthesise_records();
  damage(shard_name("train", 1, 3), 2000);
  const auto strict = open();
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(strict.error().to_string(),
              AllOf(HasSubstr("1 bad record, 0 allowed"),
                    HasSubstr("train-00001-of-00003.tfrecord: the record at byte 0: the data do"),
                    HasSubstr("data.max_bad_images")));
  const auto records = open(1);
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_EQ(records->bad_record_count, 1);
  EXPECT_THAT(names(*records),
              ElementsAre("000000000000.jpg",
                          "000000000001.jpg",
                          "000000000003.jpg",
                          "000000000004.jpg",
                          "000000000005.jpg"));
}

TEST_F(Tfrecords, a_broken_length_ends_its_file_and_the_lost_records_are_estimated) {
  synthesise_records();
  const std::string name = shard_name("train", 2, 3);
  const auto size = fs::file_size(folder_ / name);
  damage(name, 3);
  const auto strict = open(0);
  ASSERT_FALSE(strict.has_value());
  EXPECT_THAT(strict.error().to_string(),
              HasSubstr(std::to_string(size) + " bytes from there on are lost"));
  const auto records = open(10);
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_EQ(records->dataset.images().size(), 4U);
  EXPECT_EQ(records->bad_records.size(), 1U);
  // One line, about two records.
  EXPECT_GE(records->bad_record_count, 2);
  EXPECT_LE(records->bad_record_count, 4);
}

TEST_F(Tfrecords, a_cut_off_tail_costs_the_last_record) {
  synthesise_records();
  const std::string name = shard_name("train", 2, 3);
  fs::resize_file(folder_ / name, fs::file_size(folder_ / name) - 1);
  const auto records = open(2);
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_EQ(records->dataset.images().size(), 5U);
  EXPECT_THAT(records->bad_records, ElementsAre(HasSubstr("cut off")));
}

TEST_F(Tfrecords, an_empty_file_is_a_shard_without_records) {
  synthesise_records();
  write(shard_name("train", 1, 3), "");
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_EQ(records->dataset.images().size(), 4U);
}

TEST_F(Tfrecords, a_missing_shard_is_said) {
  synthesise_records();
  fs::remove(folder_ / shard_name("train", 1, 3));
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_THAT(records->missing_shards, ElementsAre(shard_name("train", 1, 3)));
  EXPECT_THAT(records->notes,
              ElementsAre(AllOf(HasSubstr("1 of 3 shards are missing"),
                                HasSubstr(shard_name("train", 1, 3)))));
}

TEST_F(Tfrecords, a_picture_is_checked_each_time_it_is_read) {
  synthesise_records();
  const auto records = open();
  ASSERT_TRUE(records.has_value());
  const std::string name = shard_name("train", 0, 3);
  damage(name, 1500);
  const auto picture = records->store->get("000000000000.jpg");
  ASSERT_FALSE(picture.has_value());
  EXPECT_EQ(picture.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(
      picture.error().to_string(),
      AllOf(HasSubstr(name + ": the record at byte 0 (000000000000.jpg)"), HasSubstr("checksum")));
  EXPECT_TRUE(records->store->get("000000000001.jpg").has_value());
  // A file that has been replaced is noticed, too.
  write(name, contents(folder_ / shard_name("train", 1, 3)));
  EXPECT_EQ(records->store->get("000000000001.jpg").error().code, ErrorCode::kCorrupt);
}

TEST_F(Tfrecords, the_store_is_as_others_but_read_only) {
  synthesise_records();
  const auto records = open();
  ASSERT_TRUE(records.has_value());
  storage::ObjectStore& store = *records->store;
  const auto whole = store.get("000000000002.jpg").value();
  EXPECT_EQ(store.head("000000000002.jpg")->size_bytes, whole.size());
  EXPECT_EQ(store.get_range("000000000002.jpg", 10, 20)->text(), whole.text().substr(10, 20));
  EXPECT_EQ(store.get_range("000000000002.jpg", whole.size() - 3, 20)->size(), 3U);
  EXPECT_EQ(store.get_range("000000000002.jpg", whole.size() + 5, 20)->size(), 0U);
  EXPECT_EQ(store.get("another.jpg").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store.get("../x.jpg").error().code, ErrorCode::kInvalidInput);
  std::vector<std::string> keys;
  ASSERT_TRUE(store.list("0000000000", [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return keys.size() < 3;
  }));
  EXPECT_THAT(keys, ElementsAre("000000000000.jpg", "000000000001.jpg", "000000000002.jpg"));
  EXPECT_EQ(storage::put_text(store, "x", "y").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(store.append("x", {}).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(store.remove("000000000002.jpg").error().code, ErrorCode::kUnsupported);
}

TEST_F(Tfrecords, ids_that_are_no_numbers_or_not_unique_are_replaced_by_the_order) {
  write("train.tfrecord",
        MadeRecord{"abc", "a.png", {}, {}}.record() + MadeRecord{"7", "b.png", {}, {}}.record());
  auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_EQ(records->dataset.images()[0].id, 1);
  EXPECT_EQ(records->dataset.images()[1].id, 2);
  EXPECT_THAT(records->notes, ElementsAre(HasSubstr("\"abc\" is no whole number")));
  write("train.tfrecord",
        MadeRecord{"7", "a.png", {}, {}}.record() + MadeRecord{"7", "b.png", {}, {}}.record());
  records = open();
  ASSERT_TRUE(records.has_value());
  EXPECT_EQ(records->dataset.images()[1].id, 2);
  EXPECT_THAT(records->notes, ElementsAre(HasSubstr("7 appears twice")));
}

TEST_F(Tfrecords, names_that_cannot_be_keys_are_replaced_by_the_id) {
  write("train.tfrecord",
        MadeRecord{"1", "../../etc/x.png", {}, {}}.record() + MadeRecord{"2", "", {}, {}}.record() +
            MadeRecord{"3", "same.png", {}, {}}.record() +
            MadeRecord{"4", "same.png", {}, {}}.record() +
            MadeRecord{"5", "000000000006.png", {}, {}}.record() +
            MadeRecord{"6", "", {}, {}}.record());
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_THAT(names(*records),
              ElementsAre("000000000001.png",
                          "000000000002.png",
                          "same.png",
                          "000000000004.png",
                          "000000000006.png",
                          "image-000000000006.png"));
  EXPECT_THAT(records->notes, ElementsAre(HasSubstr("4 images are called by their ids")));
  for (const auto& name : names(*records)) EXPECT_TRUE(records->store->get(name).has_value());
}

TEST_F(Tfrecords, without_a_label_map_the_classes_are_those_that_occur) {
  write("train.tfrecord",
        MadeRecord{"1", "a.png", {9, 4}, {"nine", "four"}}.record() +
            MadeRecord{"2", "b.png", {4, 5}, {}}.record() +
            MadeRecord{"3", "c.png", {9}, {"neuf"}}.record());
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  EXPECT_FALSE(records->categories_are_listed);
  const auto categories = records->dataset.categories();
  ASSERT_EQ(categories.size(), 3U);
  EXPECT_EQ(categories[0], (Category{4, "four", ""}));
  EXPECT_EQ(categories[1], (Category{5, "class 5", ""}));
  EXPECT_EQ(categories[2], (Category{9, "nine", ""}));
  EXPECT_THAT(records->notes, ElementsAre(HasSubstr("label 9 is \"nine\" and also \"neuf\"")));
}

TEST_F(Tfrecords, a_label_map_names_the_classes_with_and_without_objects) {
  write("train.tfrecord", MadeRecord{"1", "a.png", {2, 3}, {"/m/2", "three"}}.record());
  write("label_map.pbtxt", "item{id:1 name:'one'} item{id:2 name:'/m/2' display_name:'two'}");
  const auto records = open();
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  const auto categories = records->dataset.categories();
  ASSERT_EQ(categories.size(), 3U);
  EXPECT_EQ(categories[0].name, "one");
  EXPECT_EQ(categories[1].name, "two");
  EXPECT_EQ(categories[2].name, "three");
  EXPECT_THAT(records->notes,
              ElementsAre(HasSubstr("label 3 (\"three\") is not in the label map")));
  write("label_map.pbtxt", "item{id:1");
  const auto broken = open();
  ASSERT_FALSE(broken.has_value());
  EXPECT_THAT(broken.error().to_string(), HasSubstr("label_map.pbtxt: line 1"));
}

TEST_F(Tfrecords, a_label_map_of_another_name_is_taken_where_it_is_the_only_one) {
  write("train.tfrecord", MadeRecord{"1", "a.png", {2}, {}}.record());
  write("graph.pbtxt", "node { name: 'not ours' }");
  write("coco_label_map.pbtxt", "item{id:2 name:'two'}");
  EXPECT_EQ(open()->dataset.categories()[0].name, "two");
  write("other_labels.pbtxt", "item{id:2 name:'zwei'}");
  const auto unclear = open();
  ASSERT_TRUE(unclear.has_value());
  EXPECT_FALSE(unclear->categories_are_listed);
  EXPECT_THAT(unclear->notes, ElementsAre(HasSubstr("so none is used")));
}

TEST_F(Tfrecords, a_pattern_may_name_a_folder_below_whose_label_map_is_taken) {
  fs::create_directory(folder_ / "train");
  fs::create_directory(folder_ / "other");
  write("train/part-1.tfrecord", MadeRecord{.labels = {1}, .texts = {"cat"}}.record());
  write("train/part-2.tfrecord", MadeRecord{.source_id = "2", .file_name = "b.png"}.record());
  write("train/label_map.pbtxt", "item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }");
  write("other/part-3.tfrecord", MadeRecord{}.record());
  write("label_map.pbtxt", "item { id: 1 name: 'another' }");
  TfrecordOptions options;
  options.pattern = "train/part-*";
  const auto opened = open_tfrecords("tfrecord:" + folder_.string(), options);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_EQ(opened->dataset.images().size(), 2U);
  ASSERT_EQ(opened->dataset.categories().size(), 2U);
  EXPECT_EQ(opened->dataset.categories()[1].name, "dog");
  EXPECT_TRUE(opened->store->get("b.png"));
}

TEST_F(Tfrecords, a_stop_ends_the_pass) {
  synthesise_records();
  std::stop_source source;
  TfrecordOptions options;
  options.stop = source.get_token();
  options.progress = [&](uint64_t, uint64_t) { source.request_stop(); };
  const auto records = open_tfrecords("tfrecord:" + folder_.string(), options);
  ASSERT_FALSE(records.has_value());
  EXPECT_EQ(records.error().code, ErrorCode::kCancelled);
}

TEST_F(Tfrecords, progress_reaches_the_end_and_never_goes_back) {
  synthesise_records();
  uint64_t last = 0;
  uint64_t end = 0;
  TfrecordOptions options;
  options.threads = 2;
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    end = total;
  };
  ASSERT_TRUE(open_tfrecords("tfrecord:" + folder_.string(), options).has_value());
  EXPECT_EQ(last, end);
  EXPECT_GT(end, 0U);
}

}  // namespace
}  // namespace atl::dataset
