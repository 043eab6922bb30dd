#include "dataset/validate.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "dataset/image.h"
#include "dataset/validate_records.h"
#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using nlohmann::json;
using storage::FakeStore;
using Kind = Problem::Kind;

std::vector<std::byte> jpeg(int width, int height) {
  const Picture picture{
      width,
      height,
      std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 90)};
  return *encode_jpeg(picture);
}

// The same JPEG with an EXIF segment that holds only the orientation.
std::vector<std::byte> turned(const std::vector<std::byte>& file, uint8_t orientation) {
  const std::vector<uint8_t> exif = {
      0xFF, 0xE1, 0,    34,   'E', 'x', 'i', 'f', 0, 0, 'M', 'M',         0, 42, 0, 0, 0, 8,
      0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1, 0,   orientation, 0, 0,  0, 0, 0, 0};
  std::vector<std::byte> out(file.begin(), file.begin() + 2);
  for (const uint8_t byte : exif) out.push_back(static_cast<std::byte>(byte));
  out.insert(out.end(), file.begin() + 2, file.end());
  return out;
}

void put(FakeStore& store, std::string_view key, const std::vector<std::byte>& bytes) {
  const std::span<const std::byte> part = bytes;
  ASSERT_TRUE(store.put(key, std::span(&part, 1)));
}

json image(int id, int width, int height, const std::string& name) {
  return {{"id", id}, {"width", width}, {"height", height}, {"file_name", name}};
}

json object(int id, int image_id, const json& polygons, const json& box, double area) {
  return {{"id", id},
          {"image_id", image_id},
          {"category_id", 1},
          {"segmentation", polygons},
          {"bbox", box},
          {"area", area}};
}

// One sound picture of 40 x 30 with one sound square.
class ValidateTest : public testing::Test {
 protected:
  ValidateTest() {
    document_ = {
        {"images", {image(1, 40, 30, "one.jpg")}},
        {"categories", {{{"id", 1}, {"name", "square"}}}},
        {"annotations", {object(1, 1, {{10, 10, 20, 10, 20, 20, 10, 20}}, {10, 10, 10, 10}, 100)}}};
    put(store_, "pictures/one.jpg", jpeg(40, 30));
  }

  ValidationReport run(int threads = 1) {
    EXPECT_TRUE(storage::put_text(store_, "labels.json", document_.dump()));
    auto report = validate(store_,
                           "labels.json",
                           "pictures/",
                           {.decode = decode_, .threads = threads, .progress = {}});
    EXPECT_TRUE(report) << report.error().to_string();
    return report ? std::move(*report) : ValidationReport{};
  }

  // The dataset has this one finding.
  void expect_only(Kind kind,
                   const std::string& file,
                   const std::string& record,
                   const std::string& message,
                   Problem::Severity severity = Problem::Severity::kProblem) {
    const auto report = run();
    ASSERT_EQ(report.findings.size(), 1U);
    const Problem& found = report.findings[0];
    EXPECT_EQ(problem_kind_name(found.kind), problem_kind_name(kind));
    EXPECT_EQ(found.severity, severity);
    EXPECT_EQ(found.file, file);
    EXPECT_EQ(found.record, record);
    EXPECT_NE(found.message.find(message), std::string::npos) << found.message;
    EXPECT_EQ(report.clean(), severity == Problem::Severity::kInfo);
  }

  FakeStore store_;
  json document_;
  bool decode_ = true;
};

constexpr auto kInfo = Problem::Severity::kInfo;

TEST_F(ValidateTest, a_sound_dataset_is_clean) {
  const auto report = run();
  EXPECT_TRUE(report.findings.empty());
  EXPECT_EQ(report.images, 1);
  EXPECT_EQ(report.annotations, 1);
  EXPECT_EQ(report.categories, 1);
}

TEST_F(ValidateTest, a_missing_file_is_named) {
  ASSERT_TRUE(store_.remove("pictures/one.jpg"));
  expect_only(Kind::kMissingFile, "pictures/one.jpg", "image 1", "not there");
}

TEST_F(ValidateTest, a_truncated_picture_is_unreadable_unless_only_headers_are_read) {
  auto file = jpeg(40, 30);
  file.resize(file.size() - 20);
  put(store_, "pictures/one.jpg", file);
  expect_only(Kind::kUnreadable, "pictures/one.jpg", "image 1", "");
  decode_ = false;
  EXPECT_TRUE(run().clean());
}

TEST_F(ValidateTest, a_file_that_is_no_picture_is_unreadable) {
  ASSERT_TRUE(storage::put_text(store_, "pictures/one.jpg", "<html>not found</html>"));
  expect_only(Kind::kUnreadable, "pictures/one.jpg", "image 1", "");
}

TEST_F(ValidateTest, a_size_mismatch_shows_both_sizes) {
  put(store_, "pictures/one.jpg", jpeg(41, 30));
  expect_only(Kind::kSizeMismatch,
              "pictures/one.jpg",
              "image 1",
              "the file is 41 x 30, the JSON has 40 x 30");
}

TEST_F(ValidateTest, exif_is_a_note_where_one_of_both_ways_fits) {
  put(store_, "pictures/one.jpg", turned(jpeg(30, 40), 6));
  expect_only(Kind::kExif, "pictures/one.jpg", "image 1", "orientation 6 is applied", kInfo);
  put(store_, "pictures/one.jpg", turned(jpeg(40, 30), 6));
  expect_only(Kind::kExif, "pictures/one.jpg", "image 1", "orientation 6 is not applied", kInfo);
  // Turned by 180 degrees, the picture would have to be 40 x 30 all the same.
  put(store_, "pictures/one.jpg", turned(jpeg(30, 40), 3));
  expect_only(Kind::kSizeMismatch, "pictures/one.jpg", "image 1", "30 x 40");
}

TEST_F(ValidateTest, names_that_leave_the_folder_are_not_followed) {
  for (const char* name : {"../one.jpg", "/one.jpg", "a//one.jpg", "a/./one.jpg", "a/.."}) {
    EXPECT_FALSE(is_safe_name(name)) << name;
    document_["images"][0]["file_name"] = name;
    expect_only(
        Kind::kUnsafeName, std::string("pictures/") + name, "image 1", "below the images' folder");
  }
  EXPECT_TRUE(is_safe_name("a/..one.jpg"));
}

TEST_F(ValidateTest, two_images_with_one_file_are_a_problem) {
  document_["images"].push_back(image(0, 40, 30, "one.jpg"));
  const auto report = run();
  ASSERT_EQ(report.findings.size(), 2U);
  EXPECT_EQ(report.findings[0].kind, Kind::kDuplicateFile);
  EXPECT_EQ(report.findings[0].record, "image 0");
  EXPECT_EQ(report.findings[0].message, "image 1 has the same file");
  EXPECT_EQ(report.findings[1].kind, Kind::kEmptyImage);
  EXPECT_EQ(report.findings[1].severity, kInfo);
}

TEST_F(ValidateTest, every_bad_record_is_listed_and_the_rest_still_checked) {
  document_["annotations"].push_back(document_["annotations"][0]);  // the same id
  json unknown = document_["annotations"][0];
  unknown["id"] = 7;
  unknown["category_id"] = 9;
  document_["annotations"].push_back(unknown);
  document_["annotations"].push_back(object(8, 1, {{10, 10, 20, 10}}, {10, 10, 10, 10}, 100));
  put(store_, "pictures/one.jpg", jpeg(41, 30));
  const auto report = run();
  ASSERT_EQ(report.findings.size(), 5U);
  EXPECT_EQ(report.findings[0].record, "annotation 1");
  EXPECT_EQ(report.findings[0].message, "the id appears twice");
  EXPECT_EQ(report.findings[1].record, "annotation 7");
  EXPECT_EQ(report.findings[2].record, "annotation 8");
  EXPECT_EQ(report.findings[3].record, "annotation 8");
  EXPECT_EQ(report.findings[3].message, "none of its polygons can be used");
  EXPECT_EQ(report.findings[4].kind, Kind::kSizeMismatch);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(report.findings[i].kind, Kind::kRecord);
    EXPECT_EQ(report.findings[i].file, "labels.json");
  }
}

TEST_F(ValidateTest, shapes_that_leave_the_picture_are_found_beyond_a_pixel) {
  document_["annotations"][0] =
      object(1, 1, {{30, 10, 40.9, 10, 40.9, 20, 30, 20}}, {30, 10, 10.9, 10}, 100);
  EXPECT_TRUE(run().clean());
  document_["annotations"][0] =
      object(1, 1, {{30, 10, 45, 10, 45, 20, 30, 20}}, {30, 10, 10, 10}, 100);
  expect_only(Kind::kOutside,
              "pictures/one.jpg",
              "annotation 1",
              "a polygon (x 30.0..45.0, y 10.0..20.0) leaves the picture of 40 x 30");
  document_["annotations"][0] =
      object(1, 1, {{30, 10, 40, 10, 40, 20, 30, 20}}, {30, 10, 15, 10}, 100);
  expect_only(Kind::kOutside, "pictures/one.jpg", "annotation 1", "the box (x 30.0..45.0");
}

TEST_F(ValidateTest, objects_without_a_pixel_are_found) {
  document_["annotations"][0] = object(1, 1, {{10, 10, 20, 10, 30, 10}}, {10, 10, 20, 0}, 0);
  expect_only(Kind::kZeroArea, "pictures/one.jpg", "annotation 1", "not one pixel");
  document_["annotations"][0] =
      object(1, 1, {{10, 10, 20, 10, 20, 20, 10, 20}}, {10, 10, 10, 0}, 100);
  expect_only(Kind::kZeroArea, "pictures/one.jpg", "annotation 1", "its box is 10 x 0");
  document_["annotations"][0]["bbox"] = {10, 10, 10, 10};
  document_["annotations"][0]["area"] = 0;
  expect_only(Kind::kZeroArea, "pictures/one.jpg", "annotation 1", "'area' is 0");
}

TEST_F(ValidateTest, a_box_beside_its_mask_is_found_and_a_rounded_one_is_not) {
  document_["annotations"][0]["bbox"] = {9, 9, 12, 12};
  EXPECT_TRUE(run().findings.empty());
  document_["annotations"][0]["bbox"] = {9, 9, 12, 13};
  expect_only(Kind::kBoxMismatch,
              "pictures/one.jpg",
              "annotation 1",
              "its box is x 9.0..21.0, y 9.0..22.0, but its mask is x 10.0..20.0, y 10.0..20.0");
}

TEST_F(ValidateTest, an_area_far_from_the_mask_is_a_note) {
  document_["annotations"][0]["area"] = 119;
  EXPECT_TRUE(run().findings.empty());
  document_["annotations"][0]["area"] = 200;
  expect_only(Kind::kAreaMismatch,
              "pictures/one.jpg",
              "annotation 1",
              "'area' is 200, its mask has 100 pixels",
              kInfo);
}

TEST_F(ValidateTest, classes_without_objects_are_a_note) {
  document_["categories"].push_back({{"id", 0}, {"name", "ghost"}});
  expect_only(Kind::kUnusedCategory, "labels.json", "category 0", "no objects of 'ghost'", kInfo);
}

TEST_F(ValidateTest, no_images_at_all_is_a_problem) {
  document_["images"] = json::array();
  document_["annotations"] = json::array();
  const auto report = run();
  ASSERT_EQ(report.findings.size(), 2U);
  EXPECT_EQ(report.findings[0].kind, Kind::kNoImages);
  EXPECT_FALSE(report.clean());
}

TEST_F(ValidateTest, the_report_is_the_same_on_any_number_of_threads) {
  for (int id = 2; id < 60; ++id)
    document_["images"].push_back(image(id, 40, 30, std::to_string(id)));
  const auto one = run(1);
  const auto four = run(4);
  ASSERT_EQ(one.findings.size(), 2U * 58U);
  ASSERT_EQ(four.findings.size(), one.findings.size());
  for (size_t i = 0; i < one.findings.size(); ++i) {
    EXPECT_EQ(one.findings[i].record, four.findings[i].record);
    EXPECT_EQ(one.findings[i].kind, four.findings[i].kind);
  }
}

TEST_F(ValidateTest, what_is_no_coco_file_or_no_store_is_an_error) {
  ASSERT_TRUE(storage::put_text(store_, "labels.json", "{\"images\": [}"));
  const auto malformed = validate(store_, "labels.json", "pictures/", {});
  ASSERT_FALSE(malformed);
  EXPECT_TRUE(malformed.error().to_string().starts_with("labels.json: byte 12: malformed JSON"));
  ASSERT_TRUE(storage::put_text(store_, "labels.json", document_.dump()));
  store_.fail_call(2, Error{ErrorCode::kIo, "the line is dead", {}, {}});
  const auto dead = validate(store_, "labels.json", "pictures/", {});
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().message, "the line is dead");
}

}  // namespace
}  // namespace atl::dataset
