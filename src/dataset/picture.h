// Draws masks, boxes, names and scores over a picture.
#pragma once

#include <array>
#include <span>
#include <string>

#include "dataset/image.h"
#include "dataset/rle.h"

namespace atl::dataset {

struct Overlay {
  Rle mask;                        // the picture's size; empty counts: no mask
  std::array<double, 4> box = {};  // x, y, w, h
  std::string label;               // "dog 0.97"
  int color_index = 0;             // one colour for each category
};

// Masks at 45 % opacity with a solid outline, boxes 1–3 px by picture size, labels in a built-in
// bitmap font on a plate of the colour, kept inside the picture.
void draw_overlays(Picture& picture, std::span<const Overlay> overlays);

}  // namespace atl::dataset
