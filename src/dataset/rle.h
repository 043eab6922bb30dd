// Run-length masks, COCO's form: runs over the image in column-major order, zeros first.
//
// Exactly cocoapi's semantics (common/maskApi.c): rasterising a polygon upsamples five-fold, takes a
// column only at its exact pixel centre and rounds y up; merge, area, bounding box and the ASCII
// form of counts give the same values. Everything that comes from outside is checked: the runs of
// a valid Rle sum to height * width.
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

// x0, y0, x1, y1, … in pixels; an image side is at most 2^20 px, coordinates are clamped as cocoapi
// does. Fewer than 3 points give an empty mask.
Rle rle_from_polygon(std::span<const double> xy, uint32_t height, uint32_t width);
// The union, or the intersection, of masks of one size.
Rle rle_merge(std::span<const Rle> masks, bool intersect = false);
// bitmap[x * height + y], column-major, non-zero is foreground.
Rle rle_from_bitmap(std::span<const uint8_t> column_major, uint32_t height, uint32_t width);
void rle_to_bitmap(const Rle& rle, std::span<uint8_t> column_major);

uint64_t rle_area(const Rle& rle);
// x, y, w, h of the foreground; all 0 for an empty mask.
std::array<double, 4> rle_bounding_box(const Rle& rle);

// COCO's compressed ASCII "counts".
std::string rle_to_string(const Rle& rle);
// Errors (kInvalidInput): a byte outside the alphabet, a cut-off number, a negative or overflowing
// run, a sum other than height * width.
Result<Rle> rle_from_string(std::string_view counts, uint32_t height, uint32_t width);
Result<Rle> rle_from_counts(std::span<const uint32_t> counts, uint32_t height, uint32_t width);

// IoU of each detection with each ground truth, row-major (detections, ground truths), float64.
// Where crowd[g], the denominator is the detection's area. Masks of different sizes give -1.
std::vector<double> rle_iou(std::span<const Rle> detections,
                            std::span<const Rle> ground_truths,
                            std::span<const uint8_t> crowd);
// The same for boxes x, y, w, h (no "+1"; w <= 0 or h <= 0 gives 0).
std::vector<double> box_iou(std::span<const std::array<double, 4>> detections,
                            std::span<const std::array<double, 4>> ground_truths,
                            std::span<const uint8_t> crowd);

// Mirrors left to right.
Rle rle_flip_horizontal(const Rle& rle);
// Nearest-neighbour resize: target pixel (y, x) takes source (floor(y * h / H), floor(x * w / W)).
Rle rle_resize(const Rle& rle, uint32_t height, uint32_t width);

}  // namespace atl::dataset
