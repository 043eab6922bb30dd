#include "dataset/rle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

using Json = nlohmann::json;
using Bitmap = std::vector<uint8_t>;

// ---- pycocotools' results, made by reference/rle_goldens.py

const Json& goldens() {
  static const Json file = [] {
    const char* other = std::getenv("ATOLL_RLE_GOLDENS");
    std::ifstream stream(other != nullptr ? other : ATOLL_SOURCE_DIR "/reference/goldens/rle.json");
    return Json::parse(stream);
  }();
  return file;
}

struct GoldenCase {
  uint32_t height;
  uint32_t width;
  std::vector<Rle> masks;
  std::vector<uint8_t> crowd;
};

GoldenCase read_case(const Json& json) {
  GoldenCase result{json["size"][0], json["size"][1], {}, json["crowd"]};
  for (const auto& text : json["masks"]) {
    result.masks.push_back(
        rle_from_string(text.get<std::string>(), result.height, result.width).value());
  }
  return result;
}

void expect_equal_to_the_bit(const std::vector<double>& actual, const Json& rows) {
  size_t i = 0;
  for (const auto& row : rows) {
    for (const auto& value : row) {
      ASSERT_LT(i, actual.size());
      EXPECT_EQ(actual[i++], std::strtod(value.get<std::string>().c_str(), nullptr));
    }
  }
  EXPECT_EQ(i, actual.size());
}

TEST(RleGoldens, polygons_cover_the_pixels_of_pycocotools) {
  ASSERT_GE(goldens()["cases"].size(), 50U);
  for (const auto& json : goldens()["cases"]) {
    const GoldenCase golden = read_case(json);
    const size_t first = golden.masks.size() - json["polygons"].size();
    for (size_t i = 0; i < json["polygons"].size(); ++i) {
      const std::vector<double> xy = json["polygons"][i];
      ASSERT_EQ(rle_from_polygon(xy, golden.height, golden.width), golden.masks[first + i])
          << json["size"] << " " << json["polygons"][i];
    }
  }
}

TEST(RleGoldens, union_and_intersection_are_those_of_pycocotools) {
  for (const auto& json : goldens()["cases"]) {
    const GoldenCase golden = read_case(json);
    EXPECT_EQ(rle_to_string(rle_merge(golden.masks)), json["union"]);
    EXPECT_EQ(rle_to_string(rle_merge(std::span(golden.masks).first(2), true)),
              json["intersection"]);
  }
}

TEST(RleGoldens, area_box_and_string_are_those_of_pycocotools) {
  for (const auto& json : goldens()["cases"]) {
    const GoldenCase golden = read_case(json);
    for (size_t i = 0; i < golden.masks.size(); ++i) {
      EXPECT_EQ(rle_area(golden.masks[i]), json["area"][i]);
      EXPECT_EQ(Json(rle_bounding_box(golden.masks[i])), json["box"][i]);
      EXPECT_EQ(rle_to_string(golden.masks[i]), json["masks"][i]);
    }
  }
}

TEST(RleGoldens, ious_are_those_of_pycocotools_to_the_last_bit) {
  for (const auto& json : goldens()["cases"]) {
    const GoldenCase golden = read_case(json);
    expect_equal_to_the_bit(rle_iou(golden.masks, golden.masks, golden.crowd), json["iou"]);
    const std::vector<std::array<double, 4>> boxes = json["boxes"][0];
    const std::vector<std::array<double, 4>> other = json["boxes"][1];
    expect_equal_to_the_bit(box_iou(boxes, other, std::span(golden.crowd).first(3)),
                            json["box_iou"]);
  }
}

// ---- properties, against bitmaps

Rle random_mask(KeyedRandom& random, uint32_t height, uint32_t width, Bitmap& bitmap) {
  bitmap.assign(size_t{height} * width, 0);
  const uint64_t mean_run = 1 + random.below(3 * height + 1);
  uint8_t value = static_cast<uint8_t>(random.below(2));
  for (size_t i = 0; i < bitmap.size();) {
    for (uint64_t run = 1 + random.below(mean_run); run > 0 && i < bitmap.size(); --run) {
      bitmap[i++] = value;
    }
    value ^= 1;
  }
  return rle_from_bitmap(bitmap, height, width);
}

Bitmap bitmap_of(const Rle& rle) {
  Bitmap bitmap(size_t{rle.height} * rle.width, 7);
  rle_to_bitmap(rle, bitmap);
  return bitmap;
}

// The same foreground with runs of length 0 put in, as foreign writers make them.
Rle with_empty_runs(KeyedRandom& random, const Rle& rle) {
  Rle result{rle.height, rle.width, {}};
  for (const uint32_t count : rle.counts) {
    const uint32_t first = count == 0 ? 0 : static_cast<uint32_t>(random.below(count + 1));
    result.counts.insert(result.counts.end(), {first, 0, count - first});
  }
  if (random.below(2) != 0) result.counts.push_back(0);
  return result;
}

struct Drawn {
  uint32_t height;
  uint32_t width;
  Bitmap bitmap;
  Bitmap other_bitmap;
  Rle mask;
  Rle other;
};

template <typename Body>
void for_random_masks(Body body) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    KeyedRandom random({seed, 1});
    Drawn drawn;
    drawn.height = 1 + static_cast<uint32_t>(random.below(17));
    drawn.width = 1 + static_cast<uint32_t>(random.below(17));
    drawn.mask = random_mask(random, drawn.height, drawn.width, drawn.bitmap);
    drawn.other = random_mask(random, drawn.height, drawn.width, drawn.other_bitmap);
    if (seed % 4 == 3) drawn.mask = with_empty_runs(random, drawn.mask);
    SCOPED_TRACE(seed);
    body(drawn, random);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Rle, bitmaps_survive_the_round_trip) {
  for_random_masks([](const Drawn& drawn, KeyedRandom&) {
    EXPECT_EQ(bitmap_of(drawn.mask), drawn.bitmap);
    uint64_t sum = 0;
    for (const uint32_t count : drawn.mask.counts) sum += count;
    EXPECT_EQ(sum, drawn.bitmap.size());
  });
}

TEST(Rle, strings_survive_the_round_trip) {
  for_random_masks([](const Drawn& drawn, KeyedRandom&) {
    EXPECT_EQ(rle_from_string(rle_to_string(drawn.mask), drawn.height, drawn.width), drawn.mask);
  });
  const Rle large{0x8000, 0x1ffff, {1, 0xfffe7ffd, 1, 0x10001}};
  EXPECT_EQ(rle_from_string(rle_to_string(large), large.height, large.width), large);
}

TEST(Rle, merging_is_or_and_and_of_bitmaps) {
  for_random_masks([](const Drawn& drawn, KeyedRandom&) {
    Bitmap either = drawn.bitmap;
    Bitmap both = drawn.bitmap;
    uint64_t common = 0;
    for (size_t i = 0; i < either.size(); ++i) {
      either[i] |= drawn.other_bitmap[i];
      both[i] &= drawn.other_bitmap[i];
      common += both[i];
    }
    const Rle masks[] = {drawn.mask, drawn.other};
    EXPECT_EQ(rle_merge(masks), rle_from_bitmap(either, drawn.height, drawn.width));
    EXPECT_EQ(rle_merge(masks, true), rle_from_bitmap(both, drawn.height, drawn.width));
    EXPECT_EQ(rle_intersection_area(drawn.mask, drawn.other), common);
  });
}

TEST(Rle, area_and_box_are_those_of_the_foreground_whatever_empty_runs_there_are) {
  for_random_masks([](const Drawn& drawn, KeyedRandom&) {
    uint64_t area = 0;
    uint32_t left = drawn.width, top = drawn.height, right = 0, bottom = 0;
    for (uint32_t x = 0; x < drawn.width; ++x) {
      for (uint32_t y = 0; y < drawn.height; ++y) {
        if (drawn.bitmap[x * drawn.height + y] == 0) continue;
        ++area;
        left = std::min(left, x), right = std::max(right, x + 1);
        top = std::min(top, y), bottom = std::max(bottom, y + 1);
      }
    }
    if (area == 0) left = top = right = bottom = 0;
    const std::array<double, 4> box = {
        double(left), double(top), double(right - left), double(bottom - top)};
    EXPECT_EQ(rle_area(drawn.mask), area);
    EXPECT_EQ(rle_bounding_box(drawn.mask), box);
  });
}

TEST(Rle, flipping_mirrors_columns) {
  for_random_masks([](const Drawn& drawn, KeyedRandom&) {
    Bitmap mirrored(drawn.bitmap.size());
    for (uint32_t x = 0; x < drawn.width; ++x) {
      for (uint32_t y = 0; y < drawn.height; ++y) {
        mirrored[(drawn.width - 1 - x) * drawn.height + y] = drawn.bitmap[x * drawn.height + y];
      }
    }
    EXPECT_EQ(rle_flip_horizontal(drawn.mask),
              rle_from_bitmap(mirrored, drawn.height, drawn.width));
  });
}

TEST(Rle, resizing_takes_the_nearest_source_pixel) {
  for_random_masks([](const Drawn& drawn, KeyedRandom& random) {
    const auto height = static_cast<uint32_t>(random.below(40));
    const auto width = static_cast<uint32_t>(random.below(40));
    Bitmap resized(size_t{height} * width);
    for (uint32_t x = 0; x < width; ++x) {
      for (uint32_t y = 0; y < height; ++y) {
        resized[x * height + y] =
            drawn.bitmap[(x * drawn.width / width) * drawn.height + y * drawn.height / height];
      }
    }
    EXPECT_EQ(rle_resize(drawn.mask, height, width), rle_from_bitmap(resized, height, width));
  });
}

// ---- edges

TEST(Rle, a_square_of_0_to_9_has_81_pixels) {
  const double xy[] = {0, 0, 9, 0, 9, 9, 0, 9};
  EXPECT_EQ(rle_area(rle_from_polygon(xy, 20, 20)), 81U);
}

TEST(Rle, fewer_than_three_points_give_an_empty_mask) {
  const double xy[] = {1, 1, 8, 9};
  const Rle empty{10, 12, {120}};
  EXPECT_EQ(rle_from_polygon(xy, 10, 12), empty);
  EXPECT_EQ(rle_from_polygon({}, 10, 12), empty);
}

TEST(Rle, coordinates_beyond_all_bounds_are_clamped) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double xy[] = {-kInfinity, -1e300, kInfinity, -1e300, 1e300, kInfinity, -1e300, 1e300};
  EXPECT_EQ(rle_area(rle_from_polygon(xy, 30, 40)), 1200U);
  const double not_numbers[] = {std::nan(""), 0, 5, std::nan(""), 5, 5};
  EXPECT_LE(rle_area(rle_from_polygon(not_numbers, 30, 40)), 1200U);
}

TEST(Rle, masks_without_pixels_are_met_everywhere) {
  for (const Rle& none : {Rle{0, 5, {0}}, Rle{5, 0, {}}, Rle{}}) {
    EXPECT_EQ(rle_area(none), 0U);
    EXPECT_EQ(rle_bounding_box(none), (std::array<double, 4>{}));
    EXPECT_EQ(rle_area(rle_flip_horizontal(none)), 0U);
    EXPECT_EQ(rle_resize(none, 3, 4), (Rle{3, 4, {12}}));
    const Rle two[] = {none, none};
    EXPECT_EQ(rle_area(rle_merge(two)), 0U);
    EXPECT_EQ(rle_iou(two, two, {}), std::vector<double>(4, 0.0));
    const double xy[] = {0, 0, 9, 0, 9, 9, 0, 9};
    EXPECT_EQ(rle_area(rle_from_polygon(xy, none.height, none.width)), 0U);
  }
}

TEST(Rle, merging_none_or_different_sizes_gives_nothing_as_in_cocoapi) {
  const Rle masks[] = {{2, 3, {1, 5}}, {3, 2, {1, 5}}};
  EXPECT_EQ(rle_merge({}), Rle{});
  EXPECT_EQ(rle_merge(masks), Rle{});
}

TEST(Rle, iou_of_different_sizes_is_minus_one_only_where_boxes_overlap) {
  const Rle detection[] = {{2, 3, {0, 6}}};
  const Rle ground_truths[] = {{3, 2, {0, 6}}, {3, 9, {18, 9}}};
  EXPECT_EQ(rle_iou(detection, ground_truths, {}), (std::vector<double>{-1, 0}));
}

void expect_refused(const Result<Rle>& result, std::string_view part) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  EXPECT_NE(result.error().to_string().find(part), std::string::npos) << result.error().to_string();
}

TEST(Rle, damaged_strings_are_refused_with_the_place) {
  expect_refused(rle_from_string("0 6", 2, 3), "character 1: not one of '0' to 'o'");
  expect_refused(rle_from_string("0p", 2, 3), "character 1: not one of");
  expect_refused(rle_from_string("0\xff", 2, 3), "character 1: not one of");
  expect_refused(rle_from_string("6P", 2, 3), "character 1: the text ends inside a number");
  expect_refused(rle_from_string("ooooooooo0", 2, 3), "character 0: a number that is too long");
  expect_refused(rle_from_string("O", 2, 3), "character 0: a run that is negative");
  expect_refused(rle_from_string("11O", 2, 3), "character 2: a run that is negative");
  expect_refused(rle_from_string("114O", 2, 4), "sum to 6 pixels");
  expect_refused(rle_from_string("ooooooO", 2, 3), "character 0: a run");
  expect_refused(rle_from_string("05", 2, 3), "sum to 5 pixels, its size 2 x 3");
  expect_refused(rle_from_string("", 0x10000, 0x10000), "more than 2^32 - 1");
}

TEST(Rle, counts_that_do_not_fill_the_mask_are_refused) {
  const uint32_t counts[] = {1, 2, 4};
  EXPECT_EQ(rle_from_counts(counts, 7, 1), (Rle{7, 1, {1, 2, 4}}));
  expect_refused(rle_from_counts(counts, 2, 3), "sum to 7 pixels");
  const uint32_t wrapping[] = {0xffffffff, 7};
  expect_refused(rle_from_counts(wrapping, 2, 3), "sum to 4294967302 pixels");
}

}  // namespace
}  // namespace atl::dataset
