#include "eval/boundary.h"

#include <algorithm>
#include <cmath>

namespace atl::eval::internal {

uint32_t boundary_width_px(uint32_t height, uint32_t width) {
  constexpr double kShareOfDiagonal = 0.02;
  const double h = height;
  const double w = width;
  const double rounded = std::nearbyint(kShareOfDiagonal * std::sqrt(h * h + w * w));
  return static_cast<uint32_t>(std::max(rounded, 1.0));
}

dataset::Rle boundary_of(const dataset::Rle& mask) {
  return dataset::rle_subtract(
      mask, dataset::rle_erode(mask, boundary_width_px(mask.height, mask.width)));
}

}  // namespace atl::eval::internal
