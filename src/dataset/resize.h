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

// Resizes, cuts out a window, mirrors if asked, transforms the colours and normalises in one pass,
// without rounding in between. Holds the buffers of the pass, so that a thread that resizes many
// pictures allocates once. Not thread safe.
class Resizer {
 public:
  struct Output {
    ImageSize scaled;  // of the whole picture after scaling
    // The part of it that is wanted, in its pixels. Where it reaches beyond the picture, the edge
    // is repeated.
    int left = 0;
    int top = 0;
    ImageSize window;
    bool flip = false;  // the window is mirrored left to right
    // result = value * scale + offset, value in 0..255
    std::array<float, 3> scale = {1, 1, 1};
    std::array<float, 3> offset = {0, 0, 0};
    ColourTransform colour = {};  // before that, on the source's pixels
  };
  // Row y of the result begins at pixels[y * row_stride] and holds window.width * 3 floats.
  void resize(const Picture& source,
              const Output& output,
              std::span<float> pixels,
              size_t row_stride);

 private:
  friend void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb);

  // For each position of the window along one axis: the first of the two source pixels, and the
  // second's weight.
  struct Axis {
    std::vector<int32_t> first;
    std::vector<float> weight;
  };
  static void make_axis(int source, int scaled, int begin, int count, Axis& axis);
  void begin(const Picture& source, const Output& output);
  // Source row y, coloured, normalised and resized to the window's width.
  const float* wide_row(const Picture& source, int y);
  // Calls write(y, upper, lower, weight) for each row of the window.
  template <typename Write>
  void for_each_row(const Picture& source, Write write);

  Output output_;
  Axis columns_;
  Axis rows_;
  std::vector<float> scales_;   // of a source row's values, one each
  std::vector<float> offsets_;  // as above
  std::vector<float> row_;      // (source width + 2) * 3: a source row, the edge pixel repeated
  // The last two source rows that were used, at the window's width; row y in wide_[y % 2].
  std::array<std::vector<float>, 2> wide_;
  std::array<int, 2> wide_is_ = {};
};

}  // namespace atl::dataset
