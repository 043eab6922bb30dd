// Ground truth as a sample shows it: boxes and masks scaled, cut to the window, mirrored, and
// covered by what is pasted over them. Geometry acts on polygons and runs, never on bitmaps. Private
// to this room.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataset/coco.h"
#include "dataset/loader.h"

namespace atl::dataset {

// Of an object that a window or a paste has cut, at least so much must be left: a sliver of fewer
// pixels does not show what it is a part of. Objects that are small as a whole stay.
inline constexpr uint64_t kMinCutArea_px = 16;

// How a picture lies in a sample: scaled, of that a window, mirrored.
struct Placement {
  ImageSize original;
  ImageSize scaled;
  int left = 0;
  int top = 0;
  ImageSize window;
  bool flipped = false;

  // The whole picture is seen, and nothing else.
  bool is_whole() const { return left == 0 && top == 0 && window == scaled; }
};

// The annotation's mask, window.height x window.width: the same pixels as the mask at the scaled
// size, cropped and mirrored.
Rle place_mask(const CocoDataset& dataset,
               const Annotation& annotation,
               const Placement& placement);

struct Target {
  std::array<float, 4> box = {};  // x1, y1, x2, y2
  int64_t label = 0;
  Rle mask;
};
// nullopt for what is no target: a crowd, a box without extent inside the picture, a mask without a
// pixel in the window, or with too few where the window cuts the object.
std::optional<Target> place_object(const CocoDataset& dataset,
                                   const Annotation& annotation,
                                   const Placement& placement);

// Fills in the masks of the sample's pastes, and its boxes, labels and masks.
void add_targets(const CocoDataset& dataset, Sample& sample);

}  // namespace atl::dataset
