#include "dataset/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/keyed_random.h"

namespace atl::dataset {
namespace {

using Colour = std::array<float, 3>;

Colour transformed(const ColourTransform& transform, const Colour& rgb) {
  Colour result = transform.offset;
  for (size_t row = 0; row < 3; ++row) {
    for (size_t c = 0; c < 3; ++c) result[row] += transform.matrix[3 * row + c] * rgb[c];
  }
  return result;
}

float luma(const Colour& rgb) { return 0.299F * rgb[0] + 0.587F * rgb[1] + 0.114F * rgb[2]; }

void expect_near(const Colour& a, const Colour& b, float tolerance = 0.01F) {
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(a[c], b[c], tolerance) << "channel " << c;
}

TEST(Augment, each_colour_transform_does_what_its_formula_says) {
  const Colour rgb = {200, 100, 40};
  expect_near(transformed(brightness_transform(1.1), rgb), {220, 110, 44});
  expect_near(transformed(contrast_transform(0.5, 120), rgb), {160, 110, 80});
  const float grey = luma(rgb);
  expect_near(transformed(saturation_transform(0), rgb), {grey, grey, grey});
  expect_near(transformed(saturation_transform(1.5), rgb),
              {300 - grey / 2, 150 - grey / 2, 60 - grey / 2});
}

TEST(Augment, hue_turns_red_to_green_to_blue_and_keeps_greys_and_luma) {
  const Colour red = {255, 0, 0};
  const auto strongest = [](const Colour& colour) {
    return std::max_element(colour.begin(), colour.end()) - colour.begin();
  };
  EXPECT_EQ(strongest(transformed(hue_transform(1.0 / 3), red)), 1);
  EXPECT_EQ(strongest(transformed(hue_transform(2.0 / 3), red)), 2);
  // A little to the positive is orange, as for HSV's hue.
  EXPECT_GT(transformed(hue_transform(0.05), red)[1], transformed(hue_transform(-0.05), red)[1]);
  KeyedRandom random(3);
  for (int i = 0; i < 100; ++i) {
    const auto level = [&] { return static_cast<float>(random.uniform(0, 255)); };
    const Colour rgb = {level(), level(), level()};
    const double turns = random.uniform(-0.5, 0.5);
    EXPECT_NEAR(luma(transformed(hue_transform(turns), rgb)), luma(rgb), 0.01);
    expect_near(transformed(hue_transform(turns), {rgb[0], rgb[0], rgb[0]}),
                {rgb[0], rgb[0], rgb[0]});
    expect_near(transformed(hue_transform(-turns), transformed(hue_transform(turns), rgb)), rgb);
  }
}

TEST(Augment, combining_is_one_after_the_other) {
  KeyedRandom random(4);
  for (int i = 0; i < 50; ++i) {
    const auto level = [&] { return static_cast<float>(random.uniform(0, 255)); };
    const Colour rgb = {level(), level(), level()};
    const ColourTransform contrast = contrast_transform(random.uniform(0.5, 1.5), 110);
    const ColourTransform saturation = saturation_transform(random.uniform(0.5, 1.5));
    const ColourTransform hue = hue_transform(random.uniform(-0.1, 0.1));
    const ColourTransform brightness = brightness_transform(random.uniform(0.8, 1.2));
    expect_near(transformed(combine(contrast, brightness), rgb),
                transformed(brightness, transformed(contrast, rgb)));
    // These three commute, which is why no order is drawn for them.
    expect_near(transformed(combine(contrast, combine(hue, saturation)), rgb),
                transformed(combine(saturation, combine(contrast, hue)), rgb));
  }
}

}  // namespace
}  // namespace atl::dataset
