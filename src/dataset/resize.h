// Bilinear resize of 8-bit pictures, as torch's interpolate(mode="bilinear", align_corners=False)
// does it on float: half-pixel centres, the ratio input/output, no antialiasing, the edge repeated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/image.h"

namespace atl::dataset {

// Resizes, mirrors if asked and normalises in one pass, without rounding in between. Holds the
// buffers of the pass, so that a thread that resizes many pictures allocates once. Not thread safe.
class Resizer {
 public:
  struct Output {
    ImageSize size;              // of the resized picture
    bool flip = false;           // mirrored left to right
    std::array<float, 3> scale;  // result = value * scale + offset, value in 0..255
    std::array<float, 3> offset;
  };
  // Row y of the result begins at pixels[y * row_stride] and holds size.width * 3 floats.
  void resize(const Picture& source,
              const Output& output,
              std::span<float> pixels,
              size_t row_stride);

 private:
  friend void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb);

  // For each position along one axis: the first of the two source pixels, and the second's weight.
  struct Axis {
    std::vector<int32_t> first;
    std::vector<float> weight;
  };
  static void make_axis(int source, int target, bool flip, Axis& axis);
  // The vertical blend of target row y into row_, over the source's whole width.
  void blend_rows(const Picture& source, int y);

  Axis columns_;
  Axis rows_;
  std::vector<float>
      row_;  // (source width + 1) * 3 + 1: the last pixel twice, and one to read over
};

}  // namespace atl::dataset
