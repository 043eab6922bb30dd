#include "dataset/augment.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace atl::dataset {
namespace {

using Matrix = std::array<double, 9>;  // row by row

constexpr std::array<double, 3> kLuma = {0.299, 0.587, 0.114};
// NTSC's YIQ. The chroma rows sum to zero, so greys stay grey.
constexpr Matrix kToYiq = {
    0.299, 0.587, 0.114, 0.595716, -0.274453, -0.321263, 0.211456, -0.522591, 0.311135};

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix result = {};
  for (size_t row = 0; row < 3; ++row) {
    for (size_t column = 0; column < 3; ++column) {
      for (size_t k = 0; k < 3; ++k) {
        result[3 * row + column] += a[3 * row + k] * b[3 * k + column];
      }
    }
  }
  return result;
}

// Cofactors over the determinant.
Matrix inverse(const Matrix& m) {
  const auto minor_of = [&](size_t a, size_t b, size_t c, size_t d) {
    return m[a] * m[d] - m[b] * m[c];
  };
  const Matrix adjugate = {minor_of(4, 5, 7, 8),
                           minor_of(2, 1, 8, 7),
                           minor_of(1, 2, 4, 5),
                           minor_of(5, 3, 8, 6),
                           minor_of(0, 2, 6, 8),
                           minor_of(2, 0, 5, 3),
                           minor_of(3, 4, 6, 7),
                           minor_of(1, 0, 7, 6),
                           minor_of(0, 1, 3, 4)};
  const double determinant = m[0] * adjugate[0] + m[1] * adjugate[3] + m[2] * adjugate[6];
  Matrix result = {};
  for (size_t i = 0; i < 9; ++i) result[i] = adjugate[i] / determinant;
  return result;
}

ColourTransform from_matrix(const Matrix& matrix) {
  ColourTransform transform;
  for (size_t i = 0; i < 9; ++i) transform.matrix[i] = static_cast<float>(matrix[i]);
  return transform;
}

// So large a scaled picture still has masks that can be run-length coded.
constexpr int64_t kMaxSide_px = 8192;
constexpr double kMinScale = 0.01;
constexpr double kMaxScale = 4;

}  // namespace

Result<void> validate(const AugmentOptions& options) {
  const auto within = [](std::string_view key, double value, double low, double high) {
    if (value >= low && value <= high) return Result<void>();
    return Result<void>(
        fail(ErrorCode::kInvalidInput,
             fmt::format("data.{} = {} must be from {} to {}", key, value, low, high)));
  };
  for (const int64_t size : options.min_sizes_px) {
    ATOLL_TRY(within("min_sizes_px", static_cast<double>(size), 1, kMaxSide_px));
  }
  ATOLL_TRY(within("lsj_size_px", options.lsj_size_px, 0, kMaxSide_px));
  ATOLL_TRY(within("lsj_min_scale", options.lsj_min_scale, kMinScale, kMaxScale));
  ATOLL_TRY(within("lsj_max_scale", options.lsj_max_scale, kMinScale, kMaxScale));
  ATOLL_TRY(within("copy_paste_probability", options.copy_paste_probability, 0, 1));
  ATOLL_TRY(within("photometric_probability", options.photometric_probability, 0, 1));
  ATOLL_TRY(within("brightness", options.brightness, 0, 1));
  ATOLL_TRY(within("contrast", options.contrast, 0, 1));
  ATOLL_TRY(within("saturation", options.saturation, 0, 1));
  ATOLL_TRY(within("hue", options.hue, 0, 0.5));
  if (options.lsj_min_scale > options.lsj_max_scale) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("data.lsj_min_scale = {} is greater than data.lsj_max_scale = {}",
                            options.lsj_min_scale,
                            options.lsj_max_scale));
  }
  if (options.lsj_size_px > 0 && !options.min_sizes_px.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "data.lsj_size_px and data.min_sizes_px both say how pictures are scaled",
                "leave one of them out");
  }
  return {};
}

ColourTransform brightness_transform(double factor) {
  return from_matrix({factor, 0, 0, 0, factor, 0, 0, 0, factor});
}

ColourTransform contrast_transform(double factor, double pivot) {
  ColourTransform transform = brightness_transform(factor);
  transform.offset.fill(static_cast<float>((1 - factor) * pivot));
  return transform;
}

ColourTransform saturation_transform(double factor) {
  Matrix matrix = {};
  for (size_t row = 0; row < 3; ++row) {
    for (size_t column = 0; column < 3; ++column) {
      matrix[3 * row + column] = (row == column ? factor : 0) + (1 - factor) * kLuma[column];
    }
  }
  return from_matrix(matrix);
}

ColourTransform hue_transform(double turns) {
  const double cosine = std::cos(2 * std::numbers::pi * turns);
  const double sine = std::sin(2 * std::numbers::pi * turns);
  // Clockwise: red, blue and green follow each other anticlockwise there.
  const Matrix turn = {1, 0, 0, 0, cosine, sine, 0, -sine, cosine};
  static const Matrix from_yiq = inverse(kToYiq);
  return from_matrix(product(from_yiq, product(turn, kToYiq)));
}

ColourTransform combine(const ColourTransform& first, const ColourTransform& second) {
  ColourTransform both;
  for (size_t row = 0; row < 3; ++row) {
    const float* const from = &second.matrix[3 * row];
    for (size_t column = 0; column < 3; ++column) {
      both.matrix[3 * row + column] = from[0] * first.matrix[column] +
                                      from[1] * first.matrix[3 + column] +
                                      from[2] * first.matrix[6 + column];
    }
    both.offset[row] = from[0] * first.offset[0] + from[1] * first.offset[1] +
                       from[2] * first.offset[2] + second.offset[row];
  }
  return both;
}

}  // namespace atl::dataset
