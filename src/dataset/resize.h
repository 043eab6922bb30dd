// Bilinear resize of 8-bit pictures, as torch's interpolate(mode="bilinear", align_corners=False)
// does it on float: half-pixel centres, the ratio input/output, no antialiasing, the edge repeated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/image.h"
#include "dataset/pixel_buffer.h"
#include "dataset/resize_rows.h"

namespace atl::dataset {

// Where the pixels of one image go: (height, width, 3), at a multiple of the type's size.
struct PixelPlane {
  PixelType type = PixelType::kFloat32;
  int height = 0;
  int width = 0;
  std::byte* data = nullptr;

  size_t row_bytes() const { return static_cast<size_t>(width) * 3 * size_of(type); }
};

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

  explicit Resizer(const internal::RowKernels& kernels = internal::row_kernels())
      : kernels_(&kernels) {}

  // What resize() reads of a picture of that size, shrunk so.
  static ImageRect needed_part(ImageSize whole, int shrink, const Output& output);
  // The window lands in the plane's upper left corner; the rest of the plane becomes 0.
  void resize(const Picture& source, const Output& output, const PixelPlane& plane);
  // The same from a part that holds at least what is needed.
  void resize(const PicturePart& source, const Output& output, const PixelPlane& plane);

 private:
  friend void resize_bilinear(const Picture& source, ImageSize target, std::span<uint8_t> rgb);

  // A picture that is perhaps shrunk, and the part of it that is there.
  struct Source {
    const uint8_t* rgb = nullptr;
    ImageRect part;
    ImageSize whole;  // before it was shrunk
    int shrink = 1;
  };
  // One axis of a source and of what is made of it.
  struct Axis {
    int source;  // before it was shrunk
    int shrink;
    int scaled;
    int begin;  // of the window
    int count;
    // Where in the shrunk source the window's position i lies.
    float at(int i) const;
    // For each position of the window: the first of the two source pixels, the second's weight.
    void fill(std::vector<int32_t>& first, std::vector<float>& weight) const;
  };
  static Axis columns_axis(ImageSize whole, int shrink, const Output& output);
  static Axis rows_axis(ImageSize whole, int shrink, const Output& output);

  void resize(const Source& source, const Output& output, const PixelPlane& plane);
  // `width`: of the rows that are made, in pixels; zeros behind the window's.
  void begin(const Source& source, const Output& output, int width);
  void make_columns(const Source& source);
  // Source row y, coloured, normalised and resized to the window's width.
  const float* wide_row(const Source& source, int y);
  // Calls write(y, upper, lower, weight) for each row of the window.
  template <typename Write>
  void for_each_row(const Source& source, Write write);

  const internal::RowKernels* kernels_;
  Output output_;
  // The source's columns that the window needs, [begin, end).
  int columns_begin_ = 0;
  int columns_end_ = 0;
  internal::Columns columns_;
  std::vector<int32_t> first_row_;
  std::vector<float> row_weight_;
  std::vector<uint8_t> mirrored_;  // the needed part of a source row, mirrored
  std::vector<float> row_;         // the same as floats, the last pixel twice
  // The last two source rows that were used, at the window's width; row y in wide_[y % 2].
  std::array<std::vector<float>, 2> wide_;
  std::array<int, 2> wide_is_ = {};
};

}  // namespace atl::dataset
