#include "sagemaker/channels.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataset/tfrecord.h"
#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Channels : public ContainerFolder {
 protected:
  Result<DataPlace> find(const std::vector<std::string>& names) {
    std::vector<ChannelFolder> channels;
    for (const std::string& name : names) channels.push_back({{.name = name}, channel(name)});
    return find_data(settings_, channels, paths_, hosts_);
  }
  DataPlace found(const std::vector<std::string>& names) {
    auto place = find(names);
    EXPECT_TRUE(place) << place.error().to_string();
    return place ? *place : DataPlace{};
  }
  std::string error_of(const std::vector<std::string>& names) {
    const auto place = find(names);
    return place ? "found " + place->path : place.error().to_string();
  }
  void write_records(const std::string& file) { write(file, dataset::frame_tfrecord("a record")); }
  void move(const std::string& from, const std::string& to) {
    fs::create_directories(fs::path(path(to)).parent_path());
    fs::rename(path(from), path(to));
  }

  Settings settings_;
  int hosts_ = 1;
};

TEST_F(Channels, one_holds_a_dataset_in_cocos_layout) {
  for (const char* name : {"training", "train", "data", "coco"}) {
    make_data(std::string("input/data/") + name);
    const auto place = found({name});
    EXPECT_EQ(place.path, channel(name));
    EXPECT_EQ(place.train_annotations, "");
    EXPECT_THAT(place.description, HasSubstr(std::string("channel ") + name));
  }
}

TEST_F(Channels, one_holds_a_dataset_one_folder_below) {
  make_data("input/data/training/coco");
  write("input/data/training/readme/x", "1");
  EXPECT_EQ(found({"training"}).path, channel("training/coco"));
  make_data("input/data/training/other");
  EXPECT_THAT(error_of({"training"}),
              AllOf(HasSubstr("several datasets"), HasSubstr("data.path = ")));
}

TEST_F(Channels, one_holds_tfrecords) {
  write_records("input/data/train/train-00000-of-00001.tfrecord");
  EXPECT_EQ(found({"train"}).path, "tfrecord:" + channel("train"));
  // As the lab's file system has them: also the JSON of the validation split.
  write_records("input/data/train/val-00000-of-00001.tfrecord");
  write("input/data/train/annotations/instances_val2017.json", "{}");
  EXPECT_EQ(found({"train"}).path, "tfrecord:" + channel("train"));
}

TEST_F(Channels, one_holds_tfrecords_in_folders_of_the_splits) {
  write_records("input/data/training/train/part-00000-of-00001.tfrecord");
  write_records("input/data/training/val/part-00000-of-00001.tfrecord");
  const auto place = found({"training"});
  EXPECT_EQ(place.path, "tfrecord:" + channel("training"));
  EXPECT_EQ(place.train_annotations, "train/*.tfrecord");
  EXPECT_EQ(place.val_annotations, "val/*.tfrecord");
}

TEST_F(Channels, pictures_of_the_splits_and_annotations_each_in_their_own) {
  make_data("made");
  move("made/train2017", "input/data/train/train2017");
  move("made/val2017", "input/data/validation");
  move("made/annotations", "input/data/annotations");
  const auto place = found({"annotations", "train", "validation"});
  EXPECT_EQ(place.path, path("input/data"));
  EXPECT_EQ(place.train_annotations, "annotations/instances_train2017.json");
  EXPECT_EQ(place.train_images, "train/train2017");
  EXPECT_EQ(place.val_annotations, "annotations/instances_val2017.json");
  EXPECT_EQ(place.val_images, "validation");
}

TEST_F(Channels, each_split_with_its_own_annotations) {
  make_data("made");
  move("made/train2017", "input/data/train/images");
  move("made/annotations/instances_train2017.json", "input/data/train/train.json");
  move("made/val2017", "input/data/val/images");
  move("made/annotations/instances_val2017.json", "input/data/val/annotations.json");
  const auto place = found({"train", "val"});
  EXPECT_EQ(place.train_annotations, "train/train.json");
  EXPECT_EQ(place.train_images, "train/images");
  EXPECT_EQ(place.val_annotations, "val/annotations.json");
  EXPECT_EQ(place.val_images, "val/images");
}

TEST_F(Channels, annotations_without_validation_pictures_are_for_training) {
  make_data("made");
  move("made/train2017", "input/data/train");
  move("made/annotations", "input/data/annotations");
  const auto place = found({"annotations", "train"});
  EXPECT_EQ(place.train_images, "train");
  EXPECT_EQ(place.val_annotations, "");
}

TEST_F(Channels, records_of_the_splits_each_in_their_own) {
  write_records("input/data/train/a.tfrecord");
  write_records("input/data/train/b.tfrecord");
  write_records("input/data/validation/coco_val.record-00000-of-00001");
  const auto place = found({"train", "validation"});
  EXPECT_EQ(place.path, "tfrecord:" + path("input/data"));
  EXPECT_EQ(place.train_annotations, "train/*.tfrecord");
  EXPECT_EQ(place.val_annotations, "validation/*-of-*");
  fs::remove_all(channel("validation"));
  write("input/data/validation/x.jpg", "1");
  EXPECT_THAT(error_of({"train", "validation"}), HasSubstr("channel validation"));
}

TEST_F(Channels, patterns_of_the_lab_are_followed_wherever_they_lead) {
  write_records("input/data/train/train-00000-of-00001.tfrecord");
  write_records("input/data/train/val-00000-of-00001.tfrecord");
  settings_.training_files = "/opt/ml/input/data/train/train*.tfrecord";
  EXPECT_EQ(found({}).path, "tfrecord:" + channel("train/train*.tfrecord"));
  settings_.validation_files = "/opt/ml/input/data/train/val*.tfrecord";
  auto place = found({});
  EXPECT_EQ(place.path, "tfrecord:" + channel("train"));
  EXPECT_EQ(place.train_annotations, "train*.tfrecord");
  EXPECT_EQ(place.val_annotations, "val*.tfrecord");

  move("input/data/train/val-00000-of-00001.tfrecord",
       "input/data/validation/val-00000-of-00001.tfrecord");
  settings_.validation_files = "validation/val*";
  place = found({});
  EXPECT_EQ(place.path, "tfrecord:" + path("input/data"));
  EXPECT_EQ(place.train_annotations, "train/train*.tfrecord");
  EXPECT_EQ(place.val_annotations, "validation/val*");

  settings_.training_files = "/opt/ml/input/data/train/x*";
  EXPECT_THAT(error_of({}),
              AllOf(HasSubstr("hyperparameter training_file_pattern: "),
                    HasSubstr("no file is called x*")));
  settings_.training_files = "";
  EXPECT_THAT(error_of({}), HasSubstr("without training_file_pattern"));
}

TEST_F(Channels, what_the_hyperparameters_name_needs_no_channel) {
  settings_.data = "s3://bucket/coco";
  EXPECT_EQ(found({}).path, "s3://bucket/coco");
  settings_.data = "/opt/ml/input/data/x";
  EXPECT_EQ(found({}).path, channel("x"));
  settings_.training_files = "x/train*";
  EXPECT_THAT(error_of({}), HasSubstr("both say where the data is"));
}

TEST_F(Channels, an_evaluation_needs_the_validation_split_alone) {
  make_data("made");
  move("made/val2017", "input/data/validation/val2017");
  move("made/annotations/instances_val2017.json",
       "input/data/validation/annotations/instances_val2017.json");
  settings_.mode = Mode::kEvaluate;
  EXPECT_EQ(found({"validation"}).path, channel("validation"));
  settings_.mode = Mode::kTrain;
  EXPECT_THAT(error_of({"validation"}), HasSubstr("no channel of the job holds training data"));
}

TEST_F(Channels, an_empty_or_missing_one_is_named_with_what_to_do) {
  EXPECT_THAT(error_of({"training"}),
              AllOf(HasSubstr("channel training (" + channel("training") + ", File): "),
                    HasSubstr("see that the channel's S3 prefix")));
  fs::create_directories(channel("training/empty"));
  EXPECT_THAT(error_of({"training"}), HasSubstr("there is nothing in it"));
  write("input/data/training/notes.txt", "1");
  EXPECT_THAT(error_of({"training"}),
              AllOf(HasSubstr("neither training annotations"), HasSubstr("train-00000-of-00256")));
  EXPECT_THAT(error_of({}), HasSubstr("set the hyperparameter data.path = s3://BUCKET/PREFIX"));
  EXPECT_THAT(error_of({"config"}), HasSubstr("no channel of the job holds training data"));
}

TEST_F(Channels, an_unreadable_one_is_named) {
  fs::create_directories(channel("."));
  fs::create_symlink(channel("loop"), channel("loop"));
  EXPECT_THAT(error_of({"loop"}),
              AllOf(HasSubstr("channel loop ("), HasSubstr("Too many levels of symbolic links")));
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  make_data("input/data/training");
  ASSERT_EQ(::chmod(channel("training").c_str(), 0), 0);
  EXPECT_THAT(error_of({"training"}),
              AllOf(HasSubstr("channel training ("), HasSubstr("Permission denied")));
  ASSERT_EQ(::chmod(channel("training").c_str(), 0700), 0);
}

TEST_F(Channels, several_that_could_be_meant_are_an_error) {
  make_data("input/data/a");
  make_data("input/data/b");
  make_data("input/data/train");
  EXPECT_THAT(error_of({"a", "b"}), HasSubstr("several channels could be meant: a, b"));
  EXPECT_THAT(error_of({"a", "train"}), HasSubstr("several channels could be meant: train, a"));
}

TEST_F(Channels, a_part_of_the_objects_on_each_host_is_not_enough) {
  make_data("input/data/training");
  hosts_ = 2;
  const std::vector<ChannelFolder> channels = {
      {{.name = "training", .mode = InputMode::kFastFile, .sharded = true}, channel("training")}};
  const auto place = find_data(settings_, channels, paths_, hosts_);
  ASSERT_FALSE(place);
  EXPECT_EQ(place.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(place.error().to_string(),
              AllOf(HasSubstr("(ShardedByS3Key)"), HasSubstr("make it FullyReplicated")));
  EXPECT_TRUE(find_data(settings_, channels, paths_, 1));
}

}  // namespace
}  // namespace atl::sagemaker
