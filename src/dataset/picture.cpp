// Three layers over all overlays, so that no mask covers a label: masks with outlines, boxes,
// labels.
#include "dataset/picture.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "dataset/font.h"

namespace atl::dataset {
namespace {

using Color = std::array<uint8_t, 3>;

constexpr double kMaskOpacity = 0.45;

// Hues a golden section of the circle apart never come near an earlier one for long; brightness
// takes turns, so that also the neighbours that do come differ.
Color color_of(int index) {
  const unsigned number = static_cast<unsigned>(index);
  const double turn = 0.02 + 0.618033988749895 * number;
  const double hue = (turn - std::floor(turn)) * 6;
  const double value = number % 2 == 0 ? 0.95 : 0.75;
  const double saturation = number % 3 == 2 ? 0.6 : 0.85;
  const auto channel = [&](double shift) {
    const double k = std::fmod(shift + hue, 6.0);
    const double fall = std::clamp(std::min(k, 4 - k), 0.0, 1.0);
    return static_cast<uint8_t>(std::lround(255 * value * (1 - saturation * fall)));
  };
  return {channel(5), channel(3), channel(1)};
}

// Black or white, whichever reads better on the colour (luma of ITU-R BT.601).
Color ink_on(Color plate) {
  const double luma = 0.299 * plate[0] + 0.587 * plate[1] + 0.114 * plate[2];
  return luma > 140 ? Color{0, 0, 0} : Color{255, 255, 255};
}

// Draws with everything outside cut off.
class Canvas {
 public:
  explicit Canvas(Picture& picture) : picture_(picture) {}

  void blend(int x, int y, Color color, double opacity) {
    uint8_t* pixel = at(x, y);
    for (size_t c = 0; c < 3; ++c) {
      pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + (color[c] - pixel[c]) * opacity));
    }
  }
  void fill(int left, int top, int right, int bottom, Color color) {
    left = std::max(left, 0);
    top = std::max(top, 0);
    right = std::min(right, picture_.width);
    bottom = std::min(bottom, picture_.height);
    for (int y = top; y < bottom; ++y) {
      for (int x = left; x < right; ++x) std::copy(color.begin(), color.end(), at(x, y));
    }
  }
  int width() const { return picture_.width; }
  int height() const { return picture_.height; }

 private:
  uint8_t* at(int x, int y) {
    return picture_.rgb.data() +
           (static_cast<size_t>(y) * static_cast<size_t>(picture_.width) + static_cast<size_t>(x)) *
               3;
  }
  Picture& picture_;
};

// A pixel of the mask is outline if one within `thickness` along an axis is not of the mask; the
// picture's border is no outline.
void draw_mask(Canvas& canvas, const Rle& mask, Color color, int thickness) {
  const int width = canvas.width();
  const int height = canvas.height();
  ATOLL_CHECK(mask.width == static_cast<uint32_t>(width) &&
              mask.height == static_cast<uint32_t>(height))
      << "mask " << mask.width << "x" << mask.height << ", picture " << width << "x" << height;
  std::vector<uint8_t> bitmap(static_cast<size_t>(width) * static_cast<size_t>(height));
  rle_to_bitmap(mask, bitmap);
  const auto outside = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < width && y < height &&
           bitmap[static_cast<size_t>(x) * static_cast<size_t>(height) + static_cast<size_t>(y)] ==
               0;
  };
  const auto [left, top, box_width, box_height] = rle_bounding_box(mask);
  for (int x = static_cast<int>(left); x < static_cast<int>(left + box_width); ++x) {
    for (int y = static_cast<int>(top); y < static_cast<int>(top + box_height); ++y) {
      if (outside(x, y)) continue;
      bool outline = false;
      for (int step = 1; step <= thickness && !outline; ++step) {
        outline = outside(x - step, y) || outside(x + step, y) || outside(x, y - step) ||
                  outside(x, y + step);
      }
      canvas.blend(x, y, color, outline ? 1.0 : kMaskOpacity);
    }
  }
}

int pixel_of(double position, int size) {
  // NaN and far numbers come from broken annotations; they end on the border.
  if (!(position > 0)) return 0;
  return static_cast<int>(std::lround(std::min(position, static_cast<double>(size))));
}

struct Rectangle {
  int left, top, right, bottom;
};

Rectangle rectangle_of(const std::array<double, 4>& box, const Canvas& canvas) {
  return {pixel_of(box[0], canvas.width()),
          pixel_of(box[1], canvas.height()),
          pixel_of(box[0] + box[2], canvas.width()),
          pixel_of(box[1] + box[3], canvas.height())};
}

void draw_box(Canvas& canvas, const Rectangle& box, Color color, int thickness) {
  const auto [left, top, right, bottom] = box;
  canvas.fill(left, top, right, std::min(top + thickness, bottom), color);
  canvas.fill(left, std::max(bottom - thickness, top), right, bottom, color);
  canvas.fill(left, top, std::min(left + thickness, right), bottom, color);
  canvas.fill(std::max(right - thickness, left), top, right, bottom, color);
}

// The plate stands on the box's top edge, or inside the box where there is no room above it.
void draw_label(
    Canvas& canvas, const Rectangle& box, const std::string& text, Color color, int zoom) {
  const int plate_width = (static_cast<int>(text.size()) * kCellWidth + 3) * zoom;
  const int plate_height = (kCellHeight + 3) * zoom;
  const int left = std::max(0, std::min(box.left, canvas.width() - plate_width));
  int top = box.top >= plate_height ? box.top - plate_height : box.top;
  top = std::max(0, std::min(top, canvas.height() - plate_height));
  canvas.fill(left, top, left + plate_width, top + plate_height, color);
  const Color ink = ink_on(color);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto& glyph = glyph_of(text[i]);
    const int glyph_left = left + (2 + static_cast<int>(i) * kCellWidth) * zoom;
    if (glyph_left >= canvas.width()) break;
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if ((glyph[static_cast<size_t>(row)] >> (kGlyphWidth - 1 - column) & 1) == 0) continue;
        const int x = glyph_left + column * zoom;
        const int y = top + (2 + row) * zoom;
        canvas.fill(x, y, x + zoom, y + zoom, ink);
      }
    }
  }
}

}  // namespace

void draw_overlays(Picture& picture, std::span<const Overlay> overlays) {
  Canvas canvas(picture);
  // 1 up to 500 px of the longer side, 2 up to 1000, then 3.
  const int thickness = std::clamp(1 + (std::max(picture.width, picture.height) - 1) / 500, 1, 3);
  for (const Overlay& overlay : overlays) {
    if (overlay.mask.counts.empty()) continue;
    draw_mask(canvas, overlay.mask, color_of(overlay.color_index), thickness);
  }
  for (const Overlay& overlay : overlays) {
    draw_box(canvas, rectangle_of(overlay.box, canvas), color_of(overlay.color_index), thickness);
  }
  for (const Overlay& overlay : overlays) {
    if (overlay.label.empty()) continue;
    draw_label(canvas,
               rectangle_of(overlay.box, canvas),
               overlay.label,
               color_of(overlay.color_index),
               thickness);
  }
}

}  // namespace atl::dataset
