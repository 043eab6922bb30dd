#include "dataset/synth_shape.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace atl::dataset {
namespace {

struct Point {
  double x = 0;
  double y = 0;
};

// 28 corners: at the largest diameter the chord leaves the circle by less than a quarter pixel.
constexpr int kDiscCorners = 28;
constexpr double kStarInnerRadius = 0.42;

// Corners around the origin on the unit circle (or inside it), in order.
std::vector<Point> unit_outline(ShapeKind kind, KeyedRandom& random) {
  const double stretch = random.uniform();
  std::vector<Point> points;
  const auto on_circle = [&](double turn, double radius, double squash) {
    const double angle = 2 * std::numbers::pi * turn;
    points.push_back({radius * std::cos(angle), radius * squash * std::sin(angle)});
  };
  switch (kind) {
    case ShapeKind::kDisc:
      for (int i = 0; i < kDiscCorners; ++i) {
        on_circle(static_cast<double>(i) / kDiscCorners, 1, 0.8 + 0.2 * stretch);
      }
      break;
    case ShapeKind::kRectangle: {
      const double half_height = 0.45 + 0.4 * stretch;
      points = {
          {-0.85, -half_height}, {0.85, -half_height}, {0.85, half_height}, {-0.85, half_height}};
      break;
    }
    case ShapeKind::kTriangle:
      for (int i = 0; i < 3; ++i) on_circle(i / 3.0, 1, 0.8 + 0.3 * stretch);
      break;
    case ShapeKind::kStar:
      for (int i = 0; i < 10; ++i) on_circle(i / 10.0, i % 2 == 0 ? 1 : kStarInnerRadius, 1);
      break;
  }
  return points;
}

}  // namespace

Shape make_shape(
    ShapeKind kind, double center_x, double center_y, double diameter_px, KeyedRandom& random) {
  Shape shape{kind, center_x, center_y, diameter_px / 2, {}};
  const auto points = unit_outline(kind, random);
  const double angle = random.uniform(0, 2 * std::numbers::pi);
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const auto hundredth = [](double value) { return std::round(value * 100) / 100; };
  for (const Point& p : points) {
    shape.outline.push_back(hundredth(center_x + shape.radius_px * (p.x * cosine - p.y * sine)));
    shape.outline.push_back(hundredth(center_y + shape.radius_px * (p.x * sine + p.y * cosine)));
  }
  return shape;
}

double signed_distance(const Shape& shape, double x, double y) {
  const auto& xy = shape.outline;
  double nearest = std::numeric_limits<double>::max();
  bool inside = false;
  size_t previous = xy.size() - 2;
  for (size_t i = 0; i < xy.size(); previous = i, i += 2) {
    const double ax = xy[previous];
    const double ay = xy[previous + 1];
    const double dx = xy[i] - ax;
    const double dy = xy[i + 1] - ay;
    const double length = dx * dx + dy * dy;
    double t = ((x - ax) * dx + (y - ay) * dy) / length;
    t = std::clamp(t, 0.0, 1.0);
    const double ex = x - ax - t * dx;
    const double ey = y - ay - t * dy;
    nearest = std::min(nearest, ex * ex + ey * ey);
    // Even-odd: does a ray to the right cross this edge?
    if ((ay > y) != (xy[i + 1] > y) && x < ax + (y - ay) / dy * dx) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

}  // namespace atl::dataset
