// atoll data convert as its users meet it: there, back, again, and wrongly asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class DataConvert : public ProgramInFolder {
 protected:
  DataConvert() {
    EXPECT_EQ(run("synth --images 6 --val-images 2 --size 64 --out shapes").exit_code, 0);
  }
  Json stats(const std::string& data) {
    const Outcome outcome = run("data stats --json --data " + data);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Json::parse(outcome.out);
  }
};

TEST_F(DataConvert, goes_there_and_back_and_says_what_it_did) {
  const Outcome there = run("data convert --data shapes --out tfrecord:records --shards 3");
  ASSERT_EQ(there.exit_code, 0) << there.err;
  EXPECT_THAT(there.out,
              AllOf(HasSubstr("tfrecord:records/train-*.tfrecord: 6 images in 3 files"),
                    HasSubstr("tfrecord:records/val-*.tfrecord: 2 images in 1 file,")));
  EXPECT_TRUE(fs::exists(folder_ / "records/train-00002-of-00003.tfrecord"));
  EXPECT_TRUE(fs::exists(folder_ / "records/label_map.pbtxt"));

  const Outcome again = run("data convert --data shapes --out tfrecord:records --shards 3");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("6 images in 3 files, all written before"));

  const Outcome back = run("data convert --data tfrecord:records --out back");
  ASSERT_EQ(back.exit_code, 0) << back.err;
  EXPECT_THAT(back.out, HasSubstr("back/annotations/instances_train2017.json: 6 images in 6"));
  for (const char* name : {"train2017/000000000004.jpg", "val2017/000000000001.jpg"}) {
    EXPECT_EQ(contents(folder_ / "back" / name), contents(folder_ / "shapes" / name));
  }
  EXPECT_EQ(run("data validate --data back").exit_code, 0);
}

TEST_F(DataConvert, records_are_counted_and_validated_like_the_json) {
  ASSERT_EQ(run("data convert --data shapes --out tfrecord:records").exit_code, 0);
  const Json json = stats("shapes").at("annotations/instances_train2017.json");
  const Json records = stats("tfrecord:records").at("train-*-of-00001.tfrecord");
  for (const char* key : {"count", "empty", "width_px"}) {
    EXPECT_EQ(json.at("images").at(key), records.at("images").at(key));
  }
  for (const char* key : {"count", "crowds", "object_area_px", "small"}) {
    if (json.at("objects").contains(key)) {
      EXPECT_EQ(json.at("objects").at(key), records.at("objects").at(key)) << key;
    }
  }
  const Outcome clean = run("data validate --data tfrecord:records");
  EXPECT_EQ(clean.exit_code, 0) << clean.out << clean.err;

  // A damaged record and a missing shard are problems.
  const fs::path shard = folder_ / "records/train-00000-of-00001.tfrecord";
  std::string bytes = contents(shard);
  bytes[3000] ^= 1;
  std::ofstream(folder_ / "records/train-00000-of-00002.tfrecord", std::ios::binary) << bytes;
  fs::remove(shard);
  const Outcome damaged = run("data validate --data 'tfrecord:records/train-*'");
  EXPECT_EQ(damaged.exit_code, 1) << damaged.err;
  EXPECT_THAT(damaged.out,
              AllOf(HasSubstr("bad-record: train-00000-of-00002.tfrecord: the record at byte "),
                    HasSubstr("missing-file: train-00001-of-00002.tfrecord"),
                    HasSubstr("5 images")));
}

TEST_F(DataConvert, one_json_is_converted_under_its_own_name) {
  fs::rename(folder_ / "shapes/annotations/instances_val2017.json", folder_ / "shapes/mine.json");
  const Outcome outcome = run(
      "data convert --data shapes --annotations mine.json --images val2017 --out tfrecord:records");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(fs::exists(folder_ / "records/mine-00000-of-00001.tfrecord"));
  EXPECT_FALSE(fs::exists(folder_ / "records/train-00000-of-00001.tfrecord"));
  const Outcome back = run("data convert --data tfrecord:records --out back");
  ASSERT_EQ(back.exit_code, 0) << back.err;
  EXPECT_THAT(back.err, HasSubstr("serves for training and for validation"));
  EXPECT_TRUE(fs::exists(folder_ / "back/annotations/instances_default.json"));
  EXPECT_EQ(run("data validate --data back").exit_code, 0);
}

TEST_F(DataConvert, what_is_asked_for_wrongly_is_bad_usage) {
  const Outcome neither = run("data convert --data shapes --out other");
  EXPECT_EQ(neither.exit_code, 2);
  EXPECT_THAT(neither.err, HasSubstr("neither of --data and --out begin with tfrecord:"));
  const Outcome files = run("data convert --data shapes --out 'tfrecord:x/train-*'");
  EXPECT_EQ(files.exit_code, 2);
  EXPECT_THAT(files.err, HasSubstr("names files, not a directory (write tfrecord:x)"));
  EXPECT_EQ(run("data convert --data tfrecord:none --out other").exit_code, 2);
  ASSERT_EQ(run("data convert --data shapes --out tfrecord:records").exit_code, 0);
  const Outcome other = run("data convert --data shapes --out tfrecord:records --shards 2");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("--overwrite"));
}

TEST_F(DataConvert, a_missing_picture_is_named) {
  fs::remove(folder_ / "shapes/train2017/000000000001.jpg");
  const Outcome strict = run("data convert --data shapes --out tfrecord:records");
  EXPECT_EQ(strict.exit_code, 2);
  EXPECT_THAT(strict.err, AllOf(HasSubstr("000000000001.jpg"), HasSubstr("--max-bad-images")));
  const Outcome lenient =
      run("data convert --data shapes --out tfrecord:records --max-bad-images 1");
  EXPECT_EQ(lenient.exit_code, 0) << lenient.err;
  EXPECT_THAT(lenient.out, HasSubstr("5 images in 1 file, 1 left out"));
}

TEST_F(DataConvert, a_damaged_record_is_named_with_the_option_that_leaves_it_out) {
  ASSERT_EQ(run("data convert --data shapes --out tfrecord:records").exit_code, 0);
  const fs::path shard = folder_ / "records/train-00000-of-00001.tfrecord";
  std::string bytes = contents(shard);
  bytes[3000] ^= 1;
  std::ofstream(shard, std::ios::binary) << bytes;
  const Outcome strict = run("data convert --data tfrecord:records --out back");
  EXPECT_EQ(strict.exit_code, 2);
  EXPECT_THAT(strict.err,
              AllOf(HasSubstr("the record at byte "), HasSubstr("or raise --max-bad-images")));
  const Outcome lenient = run("data convert --data tfrecord:records --out back --max-bad-images 1");
  EXPECT_EQ(lenient.exit_code, 0) << lenient.err;
  EXPECT_THAT(lenient.out, HasSubstr("instances_train2017.json: 5 images"));
}

}  // namespace
}  // namespace atl::cli
