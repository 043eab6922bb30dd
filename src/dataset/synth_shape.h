// The outlines of the generated shapes, and distances to them.
#pragma once

#include <array>
#include <vector>

#include "base/keyed_random.h"

namespace atl::dataset {

enum class ShapeKind { kDisc, kRectangle, kTriangle, kStar };
inline constexpr std::array kShapeKinds = {
    ShapeKind::kDisc, ShapeKind::kRectangle, ShapeKind::kTriangle, ShapeKind::kStar};

struct Shape {
  ShapeKind kind = ShapeKind::kDisc;
  double center_x = 0;
  double center_y = 0;
  double radius_px = 0;
  std::vector<double> outline;  // x0, y0, x1, y1, …, to a hundredth of a pixel, as COCO has them
};

// A shape of about this diameter with a random rotation and proportions.
Shape make_shape(
    ShapeKind kind, double center_x, double center_y, double diameter_px, KeyedRandom& random);

// Distance to the outline in pixels, negative inside.
double signed_distance(const Shape& shape, double x, double y);

}  // namespace atl::dataset
