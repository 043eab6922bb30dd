// atoll coco-eval as its users meet it, on one of pycocotools' goldens.
#include <fmt/format.h>
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
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CocoEval : public ProgramInFolder {
 protected:
  CocoEval() {
    golden_ =
        Json::parse(contents(ATOLL_SOURCE_DIR "/reference/goldens/coco_eval.json"))["cases"][1];
    write("gt.json", golden_["truth"]);
    write("dt.json", golden_["results"]);
  }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  // Of the four golden runs: bbox and segm, each with categories and without.
  const Json& golden_run(size_t index) const { return golden_["runs"][index]; }

  Outcome run(const std::string& arguments) {
    return ProgramInFolder::run("coco-eval " + arguments);
  }

  Json golden_;
};

TEST_F(CocoEval, prints_pycocotools_table_and_writes_every_digit) {
  const Outcome outcome = run("--gt gt.json --dt dt.json --json out.json --strict-pycocotools");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "bbox\n" + golden_run(0)["text"].get<std::string>() + "segm\n" +
                golden_run(2)["text"].get<std::string>());
  EXPECT_THAT(outcome.err, HasSubstr("12 images, "));
  const Json numbers = Json::parse(contents(folder_ / "out.json"));
  for (const size_t index : {0, 2}) {
    const Json& golden = golden_run(index);
    const Json& stats = numbers[golden["kind"].get<std::string>()]["stats"];
    ASSERT_EQ(stats.size(), 12U);
    for (size_t i = 0; i < 12; ++i) {
      EXPECT_EQ(stats[i], std::strtod(golden["stats"][i].get<std::string>().c_str(), nullptr));
    }
  }
}

TEST_F(CocoEval, one_kind_without_categories_and_a_table_of_them) {
  const Outcome outcome =
      run("--gt gt.json --dt dt.json --iou segm --no-categories --per-category --threads 1");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith(golden_run(3)["text"].get<std::string>()));
  EXPECT_THAT(outcome.out, HasSubstr("\ncategory  segm AP\nall "));
}

TEST_F(CocoEval, lvis_prints_the_lvis_packages_table_and_writes_every_digit) {
  const Json golden =
      Json::parse(contents(ATOLL_SOURCE_DIR "/reference/goldens/lvis.json"))["cases"][2];
  write("gt.json", golden["truth"]);
  write("dt.json", golden["results"]);
  const Outcome outcome =
      run("--gt gt.json --dt dt.json --lvis --strict-pycocotools --json out.json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "bbox\n" + golden["runs"][0]["text"].get<std::string>() + "segm\n" +
                golden["runs"][1]["text"].get<std::string>());
  const Json numbers = Json::parse(contents(folder_ / "out.json"));
  for (const Json& expected : golden["runs"]) {
    const Json& stats = numbers[expected["kind"].get<std::string>()]["stats"];
    ASSERT_EQ(stats.size(), 13U);
    for (const auto& [name, value] : expected["stats"].items()) {
      EXPECT_EQ(stats[name], std::strtod(value.get<std::string>().c_str(), nullptr)) << name;
    }
  }
}

TEST_F(CocoEval, lvis_refuses_what_is_no_lvis_file_and_options_that_mean_nothing_there) {
  const Outcome coco = run("--gt gt.json --dt dt.json --lvis");
  EXPECT_EQ(coco.exit_code, 2);
  EXPECT_THAT(coco.err, StartsWith("atoll: gt.json: image "));
  EXPECT_THAT(coco.err, HasSubstr("leave out --lvis"));
  EXPECT_EQ(run("--gt gt.json --dt dt.json --lvis --no-categories").exit_code, 2);
  EXPECT_EQ(run("--gt gt.json --dt dt.json --lvis --max-detections 1,10,100").exit_code, 2);
}

TEST_F(CocoEval, analysis_and_curves_come_beside_the_numbers_and_do_not_change_them) {
  ASSERT_EQ(run("--gt gt.json --dt dt.json --json plain.json").exit_code, 0);
  const Outcome outcome =
      run("--gt gt.json --dt dt.json --json out.json --analysis --curves curves.html --threads 2");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\nbbox at IoU 0.5: the score of the highest F1\n"));
  EXPECT_THAT(outcome.out, HasSubstr("\nsegm at IoU 0.5: the score of the highest F1\n"));
  Json numbers = Json::parse(contents(folder_ / "out.json"));
  for (const char* kind : {"bbox", "segm"}) {
    const Json& confusion = numbers["confusion"][kind];
    ASSERT_EQ(confusion["counts"].size(), numbers[kind]["per_category"].size() + 1);
    EXPECT_EQ(numbers["thresholds"][kind].size(), numbers[kind]["per_category"].size());
  }
  numbers.erase("thresholds");
  numbers.erase("confusion");
  EXPECT_EQ(numbers, Json::parse(contents(folder_ / "plain.json")));
  const std::string html = contents(folder_ / "curves.html");
  EXPECT_THAT(html, HasSubstr("<h1>dt.json against gt.json</h1>"));
  EXPECT_THAT(html, HasSubstr("<h2>segm</h2>"));

  const Outcome fixed =
      run("--gt gt.json --dt dt.json --json out.json --analysis --score-threshold 2");
  ASSERT_EQ(fixed.exit_code, 0) << fixed.err;
  const Json counts = Json::parse(contents(folder_ / "out.json"))["confusion"]["bbox"]["counts"];
  for (const Json& row : counts) {
    for (size_t predicted = 0; predicted + 1 < row.size(); ++predicted) {
      EXPECT_EQ(row[predicted], 0);  // no detection has such a score: all is missed
    }
  }
  EXPECT_EQ(run("--gt gt.json --dt dt.json --score-threshold 0.5").exit_code, 2);
}

TEST_F(CocoEval, without_categories_there_are_thresholds_and_no_confusion) {
  const Outcome outcome =
      run("--gt gt.json --dt dt.json --json out.json --analysis --no-categories --iou boundary");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json numbers = Json::parse(contents(folder_ / "out.json"));
  EXPECT_TRUE(numbers["thresholds"]["boundary"].contains("all"));
  EXPECT_FALSE(numbers.contains("confusion"));
}

TEST_F(CocoEval, results_that_cannot_be_scored_stop_it_or_are_counted) {
  const std::string image =
      Json::parse(golden_["truth"].get<std::string>())["images"][0]["id"].dump();
  const auto record = [&](const std::string& id, int category) {
    return fmt::format(R"({{"image_id": {}, "category_id": {}, "score": 1, "bbox": [1, 1, 5, 5],
                           "segmentation": {{"size": [1, 1], "counts": [0, 1]}}}})",
                       id,
                       category);
  };
  write("dt.json", fmt::format("[{}, {}]", record(image, 12345), record(image, 1)));
  const Outcome refused = run("--gt gt.json --dt dt.json");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err,
              StartsWith(fmt::format("atoll: dt.json: record 0: category_id 12345 is not in the "
                                     "ground truth (image_id {})",
                                     image)));
  EXPECT_THAT(refused.err, HasSubstr("--lenient"));

  const Outcome lenient = run("--gt gt.json --dt dt.json --lenient");
  ASSERT_EQ(lenient.exit_code, 0) << lenient.err;
  EXPECT_THAT(lenient.err,
              HasSubstr("1 results are left out, the first of them is record 0: category_id"));
  EXPECT_THAT(
      lenient.err,
      HasSubstr("1 results are left out, the first of them is record 1: its mask is 1 x 1"));
  EXPECT_THAT(lenient.err, HasSubstr(", 0 detections"));

  const Outcome strict = run("--gt gt.json --dt dt.json --strict-pycocotools");
  ASSERT_EQ(strict.exit_code, 0) << strict.err;
  EXPECT_THAT(strict.err, HasSubstr("1 results match nothing, as in pycocotools, the first"));

  write("dt.json", fmt::format("[{}]", record("987654", 1)));
  for (const char* flag : {"", "--strict-pycocotools"}) {
    const Outcome unknown = run(fmt::format("--gt gt.json --dt dt.json {}", flag));
    EXPECT_EQ(unknown.exit_code, 2);
    EXPECT_THAT(unknown.err, HasSubstr("record 0: image_id 987654 is not in the ground truth"));
  }
  EXPECT_EQ(run("--gt gt.json --dt dt.json --lenient").exit_code, 0);
  write("dt.json", "[]");
  EXPECT_THAT(run("--gt gt.json --dt dt.json").err, HasSubstr("no detections: AP is 0"));
  EXPECT_EQ(run("--gt gt.json --dt dt.json --lenient --strict-pycocotools").exit_code, 2);
}

TEST_F(CocoEval, bad_records_of_the_ground_truth_stop_it_or_are_counted) {
  const Outcome whole = run("--gt gt.json --dt dt.json");
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  Json truth = Json::parse(golden_["truth"].get<std::string>());
  Json record = truth["annotations"][0];
  record["id"] = 987654;
  record["segmentation"] = Json::parse("[[1, 1, 5, 5]]");
  truth["annotations"].push_back(record);
  write("gt.json", truth.dump());
  const Outcome strict = run("--gt gt.json --dt dt.json");
  EXPECT_EQ(strict.exit_code, 2);
  EXPECT_THAT(strict.err, StartsWith("atoll: gt.json: annotation 987654: polygon 0 has 4 numbers"));

  const Outcome lenient = run("--gt gt.json --dt dt.json --lenient");
  ASSERT_EQ(lenient.exit_code, 0) << lenient.err;
  // The polygon, and the record, which has no other.
  EXPECT_THAT(lenient.err,
              StartsWith("atoll: gt.json: 2 bad records or polygons are left out, the first: "
                         "annotation 987654: polygon 0 has 4 numbers"));
  EXPECT_EQ(lenient.out, whole.out);
}

TEST_F(CocoEval, bad_files_and_options_end_with_one_line_that_names_them) {
  const Outcome missing = run("--gt gt.json --dt nowhere.json");
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, StartsWith("atoll: reading the results: "));
  EXPECT_THAT(missing.err, HasSubstr("nowhere.json"));
  write("dt.json", "[{]");
  const Outcome malformed = run("--gt gt.json --dt dt.json");
  EXPECT_EQ(malformed.exit_code, 2);
  EXPECT_THAT(malformed.err, StartsWith("atoll: dt.json: near byte 3: "));
  EXPECT_EQ(run("--gt gt.json --dt dt.json --iou masks").exit_code, 2);
  EXPECT_EQ(run("--gt gt.json --dt dt.json --max-detections 1,10").exit_code, 2);
  EXPECT_EQ(run("--gt gt.json --dt dt.json --max-detections 0,1,10").exit_code, 2);
  EXPECT_EQ(run("--gt gt.json").exit_code, 2);
}

}  // namespace
}  // namespace atl::cli
