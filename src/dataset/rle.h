// Run-length masks, COCO's form: runs over the image in column-major order, zeros first.
//
// Exactly cocoapi's semantics (common/maskApi.c): rasterising a polygon upsamples five-fold, takes
// a column only at its exact pixel centre and rounds y up; merge, area, bounding box and the ASCII
// form of counts give the same values. Everything that comes from outside is checked: the runs of
// a valid Rle sum to height * width, which is below 2^32 (cocoapi's own limit; it wraps beyond).
//
// All functions are pure and thread safe. Where an Rle is made here it is canonical: no run is
// empty but the first, which is empty exactly when pixel 0 is foreground. Rles read from outside
// may have empty runs; every function takes them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::dataset {

struct Rle {
  uint32_t height = 0;
  uint32_t width = 0;
  std::vector<uint32_t> counts;  // zeros, ones, zeros, …; sum = height * width

  friend bool operator==(const Rle&, const Rle&) = default;
};

// Whether a mask of this size can be run-length coded: height * width < 2^32.
constexpr bool rle_size_fits(uint32_t height, uint32_t width) {
  return uint64_t{height} * width <= 0xffffffffU;
}

// A part of a mask: width columns from `left`, height rows from `top`. It may reach beyond the mask;
// nothing is foreground there.
struct RleWindow {
  int64_t left = 0;
  int64_t top = 0;
  uint32_t width = 0;
  uint32_t height = 0;
};

// x0, y0, x1, y1, … in pixels; rle_size_fits(height, width). Fewer than 3 points give an empty
// mask. Coordinates beyond ±2^27 px (where cocoapi overflows) are clamped; NaN counts as 0. Time is
// proportional to points + columns crossed.
Rle rle_from_polygon(std::span<const double> xy, uint32_t height, uint32_t width);
// The window's part of that mask, the same pixels as rle_crop gives, without making the whole.
Rle rle_from_polygon(std::span<const double> xy,
                     uint32_t height,
                     uint32_t width,
                     const RleWindow& window);
// The union, or the intersection, of masks of one size. As in cocoapi one mask is copied as it is;
// none, or masks of different sizes, give a 0 x 0 mask.
Rle rle_merge(std::span<const Rle> masks, bool intersect = false);
// The pixels of a that are not in b; masks of one size.
Rle rle_subtract(const Rle& a, const Rle& b);
// The pixels whose neighbours up to radius_px away, along both axes, are all foreground; beyond the
// mask's edge nothing is. A 3 x 3 erosion applied radius_px times is the same. Time is proportional
// to the runs in all columns, whatever the radius.
Rle rle_erode(const Rle& rle, uint32_t radius_px);
// bitmap[x * height + y], column-major, non-zero is foreground.
Rle rle_from_bitmap(std::span<const uint8_t> column_major, uint32_t height, uint32_t width);
void rle_to_bitmap(const Rle& rle, std::span<uint8_t> column_major);

uint64_t rle_area(const Rle& rle);
// x, y, w, h of the foreground; all 0 for an empty mask. (cocoapi lets empty runs of foreground
// count, and gives boxes beyond the mask for them.)
std::array<double, 4> rle_bounding_box(const Rle& rle);
// Pixels in both; masks of one size.
uint64_t rle_intersection_area(const Rle& a, const Rle& b);

// COCO's compressed ASCII "counts".
std::string rle_to_string(const Rle& rle);
// Errors (kInvalidInput): a byte outside the alphabet, a cut-off number, a negative or overflowing
// run, a sum other than height * width, a size that does not fit.
Result<Rle> rle_from_string(std::string_view counts, uint32_t height, uint32_t width);
Result<Rle> rle_from_counts(std::span<const uint32_t> counts, uint32_t height, uint32_t width);

// IoU of each detection with each ground truth, row-major (detections, ground truths), float64.
// Where crowd[g], the denominator is the detection's area. Masks whose boxes do not overlap give 0;
// of the rest, those of different sizes give -1. `crowd` is empty (none is) or as long as the
// ground truths.
std::vector<double> rle_iou(std::span<const Rle> detections,
                            std::span<const Rle> ground_truths,
                            std::span<const uint8_t> crowd);
// The same for boxes x, y, w, h (no "+1"; an overlap of w <= 0 or h <= 0 gives 0).
std::vector<double> box_iou(std::span<const std::array<double, 4>> detections,
                            std::span<const std::array<double, 4>> ground_truths,
                            std::span<const uint8_t> crowd);

// Mirrors left to right.
Rle rle_flip_horizontal(const Rle& rle);
// Nearest-neighbour resize: target pixel (y, x) takes source (floor(y * h / H), floor(x * w / W)).
// A mask without pixels gives an empty one; rle_size_fits(height, width).
Rle rle_resize(const Rle& rle, uint32_t height, uint32_t width);
// The window's part of that, without making the whole.
Rle rle_resize(const Rle& rle, uint32_t height, uint32_t width, const RleWindow& window);
Rle rle_crop(const Rle& rle, const RleWindow& window);

}  // namespace atl::dataset
