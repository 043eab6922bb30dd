// Horizontal first: a source row becomes floats, coloured and normalised (which commutes with
// interpolation), and is resized to the window's width. Then every row of the window is a blend of
// two such rows. A source row is done once, however many rows of the window it takes part in.
// Mirroring is done to the bytes of a source row, where it is cheapest.
#include "dataset/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace atl::dataset {
namespace {

using internal::kMirrorSlack;
using internal::kRowSlack;

void transform_colours(const uint8_t* rgb,
                       size_t count,
                       const Resizer::Output& output,
                       float* out) {
  const auto& m = output.colour.matrix;
  for (size_t i = 0; i < count; i += 3) {
    const auto r = static_cast<float>(rgb[i]);
    const auto g = static_cast<float>(rgb[i + 1]);
    const auto b = static_cast<float>(rgb[i + 2]);
    for (size_t c = 0; c < 3; ++c) {
      const float value =
          m[3 * c] * r + m[3 * c + 1] * g + m[3 * c + 2] * b + output.colour.offset[c];
      out[i + c] = std::clamp(value, 0.0F, 255.0F) * output.scale[c] + output.offset[c];
    }
  }
}

}  // namespace

// In float32, as torch's area_pixel_compute_source_index does it.
float Resizer::Axis::at(int i) const {
  const float ratio =
      static_cast<float>(source) / static_cast<float>(shrink) / static_cast<float>(scaled);
  const int last = (source + shrink - 1) / shrink - 1;
  return std::clamp(
      ratio * (static_cast<float>(begin + i) + 0.5F) - 0.5F, 0.0F, static_cast<float>(last));
}

void Resizer::Axis::fill(std::vector<int32_t>& first, std::vector<float>& weight) const {
  first.resize(static_cast<size_t>(count));
  weight.resize(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const float position = at(i);
    first[static_cast<size_t>(i)] = static_cast<int32_t>(position);
    weight[static_cast<size_t>(i)] = position - std::floor(position);
  }
}

Resizer::Axis Resizer::columns_axis(ImageSize whole, int shrink, const Output& output) {
  return {whole.width, shrink, output.scaled.width, output.left, output.window.width};
}

Resizer::Axis Resizer::rows_axis(ImageSize whole, int shrink, const Output& output) {
  return {whole.height, shrink, output.scaled.height, output.top, output.window.height};
}

ImageRect Resizer::needed_part(ImageSize whole, int shrink, const Output& output) {
  const auto range = [](const Axis& axis) {
    const int begin = static_cast<int>(axis.at(0));
    const int end = static_cast<int>(std::ceil(axis.at(axis.count - 1))) + 1;
    return std::pair(begin, end - begin);
  };
  const auto [left, width] = range(columns_axis(whole, shrink, output));
  const auto [top, height] = range(rows_axis(whole, shrink, output));
  return {left, top, width, height};
}

// In the pixels of row_, which holds the needed columns only, in reverse order if mirrored.
void Resizer::make_columns(const Source& source) {
  auto& [first, weight, base, lanes, weights] = columns_;
  columns_axis(source.whole, source.shrink, output_).fill(first, weight);
  columns_begin_ = first.front();
  columns_end_ = first.back() + (weight.back() > 0 ? 2 : 1);
  ATOLL_CHECK(columns_begin_ >= source.part.left &&
              columns_end_ <= source.part.left + source.part.width);
  const int last = columns_end_ - columns_begin_ - 1;
  for (int32_t& column : first) column -= columns_begin_;
  if (output_.flip) {
    std::ranges::reverse(first);
    std::ranges::reverse(weight);
    // Of the pair (f, f + 1) the second comes first now; the last column has no second one.
    for (size_t x = 0; x < first.size(); ++x) {
      const bool alone = first[x] == last;
      first[x] = alone ? 0 : last - 1 - first[x];
      weight[x] = alone ? 0 : 1 - weight[x];
    }
  }
  columns_.make_lanes();
}

void Resizer::begin(const Source& source, const Output& output, int width) {
  ATOLL_CHECK(source.part.width > 0 && source.part.height > 0 && output.window.width > 0 &&
              output.window.height > 0 && output.scaled.width > 0 && output.scaled.height > 0);
  output_ = output;
  make_columns(source);
  rows_axis(source.whole, source.shrink, output).fill(first_row_, row_weight_);
  ATOLL_CHECK(first_row_.front() >= source.part.top &&
              first_row_.back() + (row_weight_.back() > 0 ? 1 : 0) <
                  source.part.top + source.part.height);
  const auto values = static_cast<size_t>(columns_end_ - columns_begin_) * 3;
  if (output.flip) mirrored_.resize(kMirrorSlack + values);
  row_.resize(values + 3 + kRowSlack);
  for (auto& row : wide_) row.assign(static_cast<size_t>(width) * 3 + kRowSlack, 0.0F);
  wide_is_ = {-1, -1};
}

const float* Resizer::wide_row(const Source& source, int y) {
  const auto place = static_cast<size_t>(y % 2);
  float* wide = wide_[place].data();
  if (wide_is_[place] == y) return wide;
  wide_is_[place] = y;
  const auto pixels = static_cast<size_t>(columns_end_ - columns_begin_);
  const size_t values = pixels * 3;
  const ImageRect& part = source.part;
  const uint8_t* bytes =
      source.rgb + (static_cast<size_t>(y - part.top) * static_cast<size_t>(part.width) +
                    static_cast<size_t>(columns_begin_ - part.left)) *
                       3;
  if (output_.flip) {
    kernels_->mirror(bytes, pixels, mirrored_.data() + kMirrorSlack);
    bytes = mirrored_.data() + kMirrorSlack;
  }
  if (output_.colour.is_identity()) {
    kernels_->normalise(bytes, values, output_.scale, output_.offset, row_.data());
  } else {
    transform_colours(bytes, values, output_, row_.data());
  }
  std::copy_n(row_.data() + values - 3, 3, row_.data() + values);
  kernels_->blend_columns(row_.data(), columns_, wide);
  std::fill_n(wide + columns_.first.size() * 3, kRowSlack, 0.0F);  // what was written beyond
  return wide;
}

template <typename Write>
void Resizer::for_each_row(const Source& source, Write write) {
  for (size_t y = 0; y < first_row_.size(); ++y) {
    const int first = first_row_[y];
    const float* upper = wide_row(source, first);
    const float* lower = row_weight_[y] > 0 ? wide_row(source, first + 1) : upper;
    write(y, upper, lower, row_weight_[y]);
  }
}

void Resizer::resize(const Picture& source, const Output& output, const PixelPlane& plane) {
  const ImageSize size = {source.width, source.height};
  resize(Source{source.rgb.data(), {0, 0, size.width, size.height}, size}, output, plane);
}

void Resizer::resize(const PicturePart& source, const Output& output, const PixelPlane& plane) {
  const Picture& picture = source.picture;
  resize(Source{picture.rgb.data(),
                {source.left, source.top, picture.width, picture.height},
                source.whole,
                source.shrink},
         output,
         plane);
}

void Resizer::resize(const Source& source, const Output& output, const PixelPlane& plane) {
  ATOLL_CHECK(output.window.width <= plane.width && output.window.height <= plane.height)
      << output.window.width << "x" << output.window.height << " in " << plane.width << "x"
      << plane.height;
  begin(source, output, plane.width);
  const size_t values = static_cast<size_t>(plane.width) * 3;
  for_each_row(source, [&](size_t y, const float* upper, const float* lower, float weight) {
    std::byte* row = plane.data + y * plane.row_bytes();
    if (plane.type == PixelType::kFloat32) {
      kernels_->blend_rows(upper, lower, weight, values, reinterpret_cast<float*>(row));
    } else {
      kernels_->blend_rows_to_bfloat16(
          upper, lower, weight, values, reinterpret_cast<uint16_t*>(row));
    }
  });
  internal::finish_rows();
  const size_t done = first_row_.size();
  std::memset(plane.data + done * plane.row_bytes(),
              0,
              (static_cast<size_t>(plane.height) - done) * plane.row_bytes());
}

void resize_bilinear(const Picture& picture, ImageSize target, std::span<uint8_t> rgb) {
  Resizer resizer;
  const ImageSize size = {picture.width, picture.height};
  const Resizer::Source source{picture.rgb.data(), {0, 0, size.width, size.height}, size};
  resizer.begin(source, {.scaled = target, .window = target}, target.width);
  const size_t row_size = static_cast<size_t>(target.width) * 3;
  ATOLL_CHECK(rgb.size() >= row_size * static_cast<size_t>(target.height));
  resizer.for_each_row(source, [&](size_t y, const float* upper, const float* lower, float weight) {
    uint8_t* out = rgb.data() + y * row_size;
    for (size_t i = 0; i < row_size; ++i) {
      const float value = upper[i] + (lower[i] - upper[i]) * weight;
      // Never negative, so this rounds to nearest, and unlike lround it vectorises.
      // NOLINTNEXTLINE(bugprone-incorrect-roundings)
      out[i] = static_cast<uint8_t>(static_cast<int32_t>(value + 0.5F));
    }
  });
}

}  // namespace atl::dataset
