#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class DataPreview : public ProgramInFolder {
 protected:
  void SetUp() override {
    ASSERT_EQ(run("synth --images 6 --val-images 1 --size 64 --out shapes").exit_code, 0);
  }
  // Bytes by name.
  std::map<std::string, std::string> preview(const std::string& arguments) {
    fs::remove_all(folder_ / "pictures");
    const Outcome outcome =
        run("data preview --data shapes --out pictures --min-size-px 64 " + arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    report_ = outcome.out;
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder_ / "pictures")) {
      files[entry.path().filename().string()] = contents(entry.path());
    }
    return files;
  }

  std::string report_;
};

TEST_F(DataPreview, the_pictures_are_those_of_the_seed_and_epoch_whatever_the_threads) {
  const std::string all =
      "--images 4 --lsj-size-px 64 --lsj-min-scale 0.8 --copy-paste-probability 1 "
      "--photometric-probability 0.5 ";
  const auto both = preview(all + "--epoch 2 --epochs 2 --threads 1");
  ASSERT_THAT(both, SizeIs(8));
  EXPECT_THAT(report_, HasSubstr("pasted from 0000"));
  EXPECT_EQ(preview(all + "--epoch 2 --epochs 2 --threads 3"), both);
  EXPECT_NE(preview(all + "--epoch 2 --epochs 2 --seed 1"), both);
  const auto one = preview(all + "--epoch 2");
  ASSERT_THAT(one, SizeIs(4));
  for (const auto& [name, bytes] : one) EXPECT_EQ(both.at(name), bytes) << name;
}

TEST_F(DataPreview, more_images_than_there_are_give_all_and_plain_ones_are_bare) {
  const auto drawn = preview("--images 50");
  const auto plain = preview("--images 50 --plain");
  EXPECT_THAT(drawn, SizeIs(6));
  EXPECT_THAT(plain, SizeIs(6));
  EXPECT_NE(drawn, plain);
  EXPECT_THAT(report_, HasSubstr("64x64 to 64x64"));
  EXPECT_THAT(report_, HasSubstr("6 images in 1 epoch, "));
}

TEST_F(DataPreview, records_are_shown_as_json_is) {
  const Outcome made = run("data convert --data shapes --out tfrecord:records");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  fs::remove_all(folder_ / "pictures");
  const Outcome outcome = run("data preview --data tfrecord:records --out pictures --images 50");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("6 images in 1 epoch, "));
}

TEST_F(DataPreview, an_index_beside_the_json_is_looked_at) {
  const std::string name = "instances_train2017.json.atoll-index";
  std::ofstream(folder_ / "shapes/annotations" / name) << "no index";
  const Outcome outcome = run("data preview --data shapes --out pictures");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(name));
  EXPECT_THAT(outcome.out, HasSubstr("6 images in 1 epoch, "));
}

TEST_F(DataPreview, an_unreadable_picture_is_named_and_left_out) {
  std::ofstream(folder_ / "shapes/train2017/000000000003.jpg") << "no picture";
  fs::remove_all(folder_ / "pictures");
  const Outcome outcome = run("data preview --data shapes --out pictures");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("left out: train2017/000000000003.jpg"));
  EXPECT_THAT(outcome.out, HasSubstr("5 images in 1 epoch, "));
}

TEST_F(DataPreview, options_that_make_no_sense_are_refused_by_their_key) {
  const auto refused = [&](const std::string& arguments) {
    const Outcome outcome = run("data preview --data shapes --out pictures " + arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    return outcome.err;
  };
  EXPECT_THAT(refused("--lsj-size-px 64 --min-sizes-px 40,64"),
              HasSubstr("data.lsj_size_px and data.min_sizes_px both say"));
  EXPECT_THAT(refused("--copy-paste-probability 1.5"), HasSubstr("must be from 0 to 1"));
  EXPECT_THAT(refused("--flip-probability -1"), HasSubstr("--flip-probability"));
  EXPECT_THAT(refused("--min-size-px 0"), HasSubstr("--min-size-px"));
  EXPECT_FALSE(fs::exists(folder_ / "pictures"));
}

}  // namespace
}  // namespace atl::cli
