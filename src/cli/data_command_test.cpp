// atoll synth and atoll data as their users meet them: a dataset is made, looked over, then spoilt
// in one place at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Names and bytes of all files below a folder, in order.
std::vector<std::pair<std::string, std::string>> tree(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files.emplace_back(fs::relative(entry.path(), folder).string(), contents(entry.path()));
  }
  std::ranges::sort(files);
  return files;
}

class Data : public ProgramInFolder {
 protected:
  void synth(const std::string& out) {
    const Outcome outcome = run("synth --images 4 --val-images 2 --size 64 --out " + out);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  fs::path train_json() const { return folder_ / "shapes/annotations/instances_train2017.json"; }
  void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
};

TEST_F(Data, synth_writes_cocos_layout_and_the_same_bytes_whatever_the_threads) {
  const Outcome made = run("synth --out shapes --images 5 --size 64 --seed 3 --threads 1");
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("5 training and 1 validation images of 64 px, seed 3, in "));
  const auto files = tree(folder_ / "shapes");
  ASSERT_EQ(files.size(), 8U);
  EXPECT_EQ(files[0].first, "annotations/instances_train2017.json");
  EXPECT_EQ(files[1].first, "annotations/instances_val2017.json");
  EXPECT_THAT(files[2].first, StartsWith("train2017/"));
  EXPECT_THAT(files[7].first, StartsWith("val2017/"));
  EXPECT_EQ(run("synth --out again --images 5 --size 64 --seed 3 --threads 3").exit_code, 0);
  EXPECT_EQ(tree(folder_ / "again"), files);
  EXPECT_EQ(run("synth --out other --images 5 --size 64 --seed 4").exit_code, 0);
  EXPECT_NE(tree(folder_ / "other")[2].second, files[2].second);
}

TEST_F(Data, synth_refuses_a_size_or_a_place_that_does_not_do) {
  const Outcome small = run("synth --out shapes --images 1 --size 8");
  EXPECT_EQ(small.exit_code, 2);
  EXPECT_THAT(small.err, AllOf(StartsWith("atoll: "), HasSubstr("32"), HasSubstr("4096")));
  EXPECT_FALSE(fs::exists(train_json()));
  write(folder_ / "file", "");
  const Outcome place = run("synth --out file/shapes --images 1");
  EXPECT_EQ(place.exit_code, 1);
  EXPECT_THAT(place.err, AllOf(StartsWith("atoll: "), HasSubstr("file/shapes")));
}

TEST_F(Data, stats_counts_what_the_json_holds) {
  synth("shapes");
  const Json truth = Json::parse(contents(train_json()));
  const Outcome text = run("data stats --data shapes");
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, StartsWith("annotations/instances_train2017.json\nimages "));
  EXPECT_THAT(text.out, HasSubstr("\nannotations/instances_val2017.json\nimages "));
  const Outcome json = run("data stats --data shapes --json");
  const Json stats = Json::parse(json.out)["annotations/instances_train2017.json"];
  EXPECT_EQ(stats["images"]["count"], truth["images"].size());
  int64_t crowds = 0;
  for (const auto& annotation : truth["annotations"]) crowds += annotation["iscrowd"].get<int>();
  EXPECT_EQ(stats["objects"]["crowds"], crowds);
  EXPECT_EQ(stats["objects"]["count"].get<int64_t>() + crowds,
            static_cast<int64_t>(truth["annotations"].size()));
}

TEST_F(Data, validate_passes_a_whole_dataset_and_names_each_problem_of_a_spoilt_one) {
  synth("shapes");
  const Outcome whole = run("data validate --data shapes");
  EXPECT_EQ(whole.exit_code, 0) << whole.out;
  EXPECT_THAT(whole.out,
              HasSubstr("annotations/instances_train2017.json with train2017/: 4 images, "));

  Json document = Json::parse(contents(train_json()));
  const std::string missing = document["images"][0]["file_name"];
  fs::remove(folder_ / "shapes/train2017" / missing);
  const std::string broken = document["images"][1]["file_name"];
  write(folder_ / "shapes/train2017" / broken, "not a picture");
  document["images"][3]["width"] = 65;
  document["annotations"][0]["category_id"] = 99;
  write(train_json(), document.dump());
  const Outcome spoilt = run("data validate --data shapes");
  EXPECT_EQ(spoilt.exit_code, 1);
  EXPECT_THAT(spoilt.out, HasSubstr("problem: missing-file: train2017/" + missing));
  EXPECT_THAT(spoilt.out, HasSubstr("problem: unreadable: train2017/" + broken));
  EXPECT_THAT(spoilt.out,
              HasSubstr("problem: size-mismatch: train2017/" +
                        document["images"][3]["file_name"].get<std::string>()));
  EXPECT_THAT(spoilt.out,
              HasSubstr("annotation " + document["annotations"][0]["id"].dump() + ": "));

  const Outcome json = run("data validate --data shapes --json");
  EXPECT_EQ(json.exit_code, 1);
  const Json report = Json::parse(json.out);
  EXPECT_FALSE(report["clean"]);
  // RLE masks say their size, too.
  int64_t problems = 4;
  for (const auto& annotation : document["annotations"]) {
    problems += annotation["image_id"] == 3 && annotation["segmentation"].is_object() ? 1 : 0;
  }
  EXPECT_EQ(report["sets"][0]["problems"], problems);
  EXPECT_EQ(report["sets"][1]["problems"], 0);
}

TEST_F(Data, named_annotations_with_their_images_elsewhere) {
  synth("shapes");
  fs::rename(train_json(), folder_ / "shapes/labels.json");
  fs::rename(folder_ / "shapes/train2017", folder_ / "shapes/pictures");
  const std::string named = "data validate --data shapes --annotations labels.json";
  const Outcome found = run(named + " --images pictures");
  EXPECT_EQ(found.exit_code, 0) << found.out << found.err;
  EXPECT_THAT(found.out, StartsWith("labels.json with pictures/: 4 images, "));
  const Outcome nowhere = run(named + " --images elsewhere --quick");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.out, HasSubstr("4 missing-file"));
}

TEST_F(Data, annotations_that_cannot_be_read_end_with_one_line) {
  for (const char* command : {"data stats", "data validate"}) {
    const Outcome nothing = run(std::string(command) + " --data nowhere");
    EXPECT_NE(nothing.exit_code, 0);
    EXPECT_THAT(nothing.err, AllOf(StartsWith("atoll: "), HasSubstr("nowhere")));
    EXPECT_THAT(nothing.out, IsEmpty());
  }
  synth("shapes");
  write(train_json(), R"({"images": [}")");
  for (const char* command : {"data stats", "data validate"}) {
    const Outcome malformed = run(std::string(command) + " --data shapes");
    EXPECT_EQ(malformed.exit_code, 2);
    EXPECT_THAT(malformed.err, AllOf(HasSubstr("instances_train2017.json"), HasSubstr("byte ")));
  }
}

// The index's name in a cache folder: the JSON's, a hash, the suffix.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST_F(Data, index_writes_both_splits_beside_their_json_and_leaves_what_is_up_to_date) {
  synth("shapes");
  const Outcome made = run("data index --data shapes");
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out,
              AllOf(HasSubstr("instances_train2017.json.atoll-index: 4 images, "),
                    HasSubstr("instances_val2017.json.atoll-index: 2 images, "),
                    HasSubstr("written in ")));
  const fs::path index = train_json().string() + ".atoll-index";
  const std::string bytes = contents(index);
  const Outcome again = run("data index --data shapes");
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("is whole and up to date: 4 images"));
  EXPECT_EQ(contents(index), bytes);
  fs::resize_file(index, fs::file_size(index) - 1);
  EXPECT_EQ(run("data index --data shapes").exit_code, 0);
  EXPECT_EQ(contents(index), bytes);
}

TEST_F(Data, stats_are_the_same_with_an_index_and_tell_of_one_that_is_stale) {
  synth("shapes");
  const Outcome plain = run("data stats --data shapes");
  ASSERT_EQ(run("data index --data shapes").exit_code, 0);
  const Outcome indexed = run("data stats --data shapes");
  EXPECT_EQ(indexed.out, plain.out);
  EXPECT_THAT(indexed.err, IsEmpty());
  write(train_json(), contents(train_json()) + "\n");
  const Outcome stale = run("data stats --data shapes");
  EXPECT_EQ(stale.out, plain.out);
  EXPECT_THAT(stale.err, HasSubstr("the JSON has changed"));
}

TEST_F(Data, index_goes_where_it_is_told) {
  synth("shapes");
  EXPECT_EQ(run("data index --data shapes --out cache").exit_code, 0);
  EXPECT_THAT(names_in(folder_ / "cache"),
              ::testing::UnorderedElementsAre(StartsWith("instances_train2017.json-"),
                                              StartsWith("instances_val2017.json-")));
  const std::string one = "--annotations annotations/instances_val2017.json --out val.atoll-index";
  EXPECT_EQ(run("data index --data shapes " + one).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "val.atoll-index"));
  const Outcome both = run("data index --data shapes --out one.atoll-index");
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("there are two splits"));
}

TEST_F(Data, index_refuses_bad_records_with_their_ids) {
  synth("shapes");
  Json document = Json::parse(contents(train_json()));
  document["annotations"][0]["category_id"] = 77;
  write(train_json(), document.dump());
  const Outcome outcome = run("data index --data shapes");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("category 77, which it names, is not among the categories"));
}

}  // namespace
}  // namespace atl::cli
