#include "dataset/picture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "dataset/font.h"

namespace atl::dataset {
namespace {

Picture grey(int width, int height) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 128)};
}

std::array<int, 3> pixel(const Picture& picture, int x, int y) {
  const uint8_t* at = &picture.rgb[static_cast<size_t>((y * picture.width + x) * 3)];
  return {at[0], at[1], at[2]};
}

constexpr std::array<int, 3> kGrey = {128, 128, 128};

Overlay square(int from, int to, uint32_t side) {
  const double a = from;
  const double b = to;
  const std::array<double, 8> corners = {a, a, b, a, b, b, a, b};
  return {rle_from_polygon(corners, side, side), {a, a, b - a, b - a}, "", 3};
}

TEST(PictureOverlay, a_mask_is_blended_inside_and_solid_on_its_outline) {
  Picture picture = grey(60, 60);
  Overlay overlay = square(10, 50, 60);
  overlay.box = {0, 0, 0, 0};
  draw_overlays(picture, {&overlay, 1});
  EXPECT_EQ(pixel(picture, 5, 30), kGrey);
  const auto outline = pixel(picture, 10, 30);
  const auto inside = pixel(picture, 30, 30);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(inside[c], 128 + 0.45 * (outline[c] - 128), 1);
  }
  EXPECT_NE(outline, inside);
  EXPECT_NE(inside, kGrey);
}

TEST(PictureOverlay, a_box_is_a_frame_and_leaves_its_inside) {
  Picture picture = grey(60, 60);
  const Overlay overlay = {{}, {10, 12, 30, 20}, "", 0};
  draw_overlays(picture, {&overlay, 1});
  for (const auto& [x, y] : {std::pair{10, 12}, {39, 12}, {10, 31}, {39, 31}, {20, 12}, {10, 20}}) {
    EXPECT_NE(pixel(picture, x, y), kGrey) << x << " " << y;
  }
  for (const auto& [x, y] : {std::pair{9, 12}, {40, 12}, {10, 32}, {11, 13}, {38, 30}, {20, 20}}) {
    EXPECT_EQ(pixel(picture, x, y), kGrey) << x << " " << y;
  }
}

TEST(PictureOverlay, categories_have_colours_of_their_own) {
  std::set<std::array<int, 3>> colors;
  for (int i = 0; i < 80; ++i) {
    Picture picture = grey(20, 20);
    const Overlay overlay = {{}, {5, 5, 10, 10}, "", i};
    draw_overlays(picture, {&overlay, 1});
    colors.insert(pixel(picture, 5, 5));
  }
  EXPECT_GE(colors.size(), 79U);
}

// How many pixels differ from the same picture with another label.
int changed(const Overlay& overlay, const std::string& label, int side) {
  Picture one = grey(side, side);
  Picture other = grey(side, side);
  draw_overlays(one, {&overlay, 1});
  Overlay relabelled = overlay;
  relabelled.label = label;
  draw_overlays(other, {&relabelled, 1});
  int count = 0;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x)
      count += static_cast<int>(pixel(one, x, y) != pixel(other, x, y));
  }
  return count;
}

TEST(PictureOverlay, labels_stay_inside_the_picture_wherever_the_box_is) {
  for (const std::array<double, 4> box : {std::array<double, 4>{0, 0, 10, 10},
                                          {95, 95, 5, 5},
                                          {-50, -50, 20, 20},
                                          {90, 0, 500, 500},
                                          {1e300, -1e300, 5, 5},
                                          {std::numeric_limits<double>::quiet_NaN(), 3, 5, 5}}) {
    const Overlay overlay = {{}, box, "dog 0.97", 1};
    // The plate's 8 cells fit, so every glyph pixel of a changed word shows.
    EXPECT_GT(changed(overlay, "cat 0.97", 100), 10);
  }
}

TEST(PictureOverlay, pictures_smaller_than_a_label_are_drawn_all_the_same) {
  for (const int side : {1, 2, 7}) {
    Picture picture = grey(side, side);
    const Overlay overlay = {{}, {0, 0, 1, 1}, "a long name 0.50", 1};
    draw_overlays(picture, {&overlay, 1});
    EXPECT_NE(pixel(picture, 0, 0), kGrey);
  }
}

TEST(PictureOverlay, labels_grow_with_the_picture) {
  const Overlay overlay = {{}, {50, 50, 20, 20}, "A", 1};
  const int small = changed(overlay, "B", 400);
  EXPECT_GT(small, 0);
  EXPECT_EQ(changed(overlay, "B", 800), 4 * small);
  EXPECT_EQ(changed(overlay, "B", 1600), 9 * small);
}

TEST(Font, every_printable_character_has_a_glyph_of_its_own) {
  std::set<std::array<uint8_t, kGlyphHeight>> glyphs;
  for (char c = ' '; c <= '~'; ++c) {
    const auto& glyph = glyph_of(c);
    EXPECT_TRUE(glyphs.insert(glyph).second) << c;
    for (const uint8_t row : glyph) EXPECT_LT(row, 1 << kGlyphWidth) << c;
  }
  EXPECT_EQ(glyph_of('\n'), glyph_of('?'));
  EXPECT_EQ(glyph_of('\xc3'), glyph_of('?'));
}

}  // namespace
}  // namespace atl::dataset
