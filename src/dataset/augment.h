// How training pictures are varied. docs/augmentation.md describes each option with its formula and
// source; sample.h makes the choices, image by image, each keyed by (seed, epoch, image id, what it
// is for).
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "dataset/image.h"

namespace atl::dataset {

struct AugmentOptions {
  // Multi-scale: one of these is an image's min_size_px; empty: off.
  std::vector<int64_t> min_sizes_px;

  // Large-scale jitter: pictures are scaled by a factor from [lsj_min_scale, lsj_max_scale) of what
  // fits a square of this side, and cut to the square; 0: off. In place of min_size_px and
  // max_size_px.
  int lsj_size_px = 0;
  double lsj_min_scale = 0.1;
  double lsj_max_scale = 2.0;

  // Of laying objects of another picture over a picture.
  double copy_paste_probability = 0;

  // Of each of the four changes of colour below; 0: off.
  double photometric_probability = 0;
  double brightness = 0.125;  // a factor from [1 - x, 1 + x)
  double contrast = 0.5;      // likewise
  double saturation = 0.5;    // likewise
  double hue = 0.05;          // a turn of the colour wheel from [-x, x)

  friend bool operator==(const AugmentOptions&, const AugmentOptions&) = default;
};

// kInvalidInput for values out of their ranges, and for options that contradict each other; names
// the configuration's keys.
Result<void> validate(const AugmentOptions& options);

// --- Colours, as matrices ---
//
// Contrast, saturation and hue commute, because each keeps greys grey and is linear around them.
// Luma is BT.601's, Y = 0.299 R + 0.587 G + 0.114 B.

// factor * v.
ColourTransform brightness_transform(double factor);
// factor * v + (1 - factor) * pivot; pivot is a grey in 0..255.
ColourTransform contrast_transform(double factor, double pivot);
// factor * v + (1 - factor) * Y.
ColourTransform saturation_transform(double factor);
// Turns the chroma plane (I, Q) of YIQ by `turns`, a third of which takes red to green; luma stays.
ColourTransform hue_transform(double turns);
// `first`, then `second`, without the clamping in between.
ColourTransform combine(const ColourTransform& first, const ColourTransform& second);

}  // namespace atl::dataset
