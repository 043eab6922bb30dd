#include "train/detection_records.h"

#include <gtest/gtest.h>

namespace atl::train {
namespace {

eval::Detection left_half(uint32_t height, uint32_t width) {
  eval::Detection record;
  record.category_id = 7;
  record.score = 0.9;
  record.box = {0, 0, width / 2.0, static_cast<double>(height)};
  record.mask = {height, width, {0, height * (width / 2), height * (width - width / 2)}};
  return record;
}

TEST(DrawRecords, a_small_picture_is_enlarged_with_its_masks_and_a_large_one_is_not) {
  const model::CategoryMap categories{{7}, {"dog"}};
  for (const auto& [side, drawn_side] : {std::pair{100, 400}, std::pair{500, 500}}) {
    const dataset::Picture grey{side, side, std::vector<uint8_t>(3UL * side * side, 100)};
    const std::vector<eval::Detection> records = {left_half(side, side)};
    const auto drawn = draw_records(grey, records, categories, 0.5);
    ASSERT_EQ(drawn.width, drawn_side);
    ASSERT_EQ(drawn.height, drawn_side);
    const auto red = [&](int x) {
      return drawn.rgb[3 * (static_cast<size_t>(drawn_side / 2) * drawn_side + x)];
    };
    EXPECT_NE(red(drawn_side / 4), 100);
    EXPECT_EQ(red(3 * drawn_side / 4), 100);
    EXPECT_EQ(draw_records(grey, records, categories, 0.95).rgb,
              std::vector<uint8_t>(3UL * drawn_side * drawn_side, 100));
  }
}

}  // namespace
}  // namespace atl::train
