// Polygon to runs, the same pixels as cocoapi's rleFrPoly.
//
// The rule: scale coordinates by 5 and truncate v + 0.5 to integers; walk each edge in integer
// steps along its longer axis, rounding the other one; where the walk steps in x between 5c + 2 and
// 5c + 3, it crosses the centre of column c, at the smaller y of the two steps, scaled back and
// rounded up. Sorted, the crossings switch the foreground on and off.
//
// cocoapi walks every step of every edge and keeps the few that cross. Only those steps are
// computed here: directly where x is the longer axis; where y is, by solving for the step and then
// correcting it with the very expression that the walk evaluates, so that rounding falls the same
// way.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "dataset/rle.h"
#include "dataset/rle_runs.h"

namespace atl::dataset {
namespace {

constexpr int kScale = 5;
// 5 * 2^27 and differences of two such values fit an int32, as they must in cocoapi.
constexpr double kMaxCoordinate = 0x1p27;

struct Point {
  int64_t x;
  int64_t y;
};

// NOLINTBEGIN(bugprone-incorrect-roundings): cocoapi's rounding, which is the point.
int64_t upsampled(double coordinate) {
  if (std::isnan(coordinate)) return 0;
  return static_cast<int64_t>(kScale * std::clamp(coordinate, -kMaxCoordinate, kMaxCoordinate) +
                              .5);
}

// A position of the walk off its longer axis: truncated, not floored, as a C cast does.
int64_t walked(int64_t start, double slope, int64_t step) {
  return static_cast<int64_t>(static_cast<double>(start) + slope * static_cast<double>(step) + .5);
}
// NOLINTEND(bugprone-incorrect-roundings)

struct Crossing {
  uint32_t column;    // of the window
  uint32_t position;  // of the pixel, column-major
};

class Rasteriser {
 public:
  // Of a mask of height x width, the window.
  Rasteriser(uint32_t height, uint32_t width, const RleWindow& window)
      : height_(height),
        first_column_(std::max(int64_t{0}, window.left)),
        last_column_(std::min(int64_t{width}, window.left + int64_t{window.width}) - 1),
        window_(window) {}

  void edge(Point from, Point to);
  Rle finish();

 private:
  void cross(int64_t column, int64_t upsampled_y) {
    // cocoapi's ceil((y + .5) / 5 - .5), which is ceil((y - 2) / 5): no rounding of its doubles comes
    // near a whole number that is not met exactly.
    const int64_t row = upsampled_y <= 0 ? 0 : std::min((upsampled_y + 2) / kScale, height_);
    const int64_t height = window_.height;
    const int64_t inside = std::clamp(row - window_.top, int64_t{0}, height);
    const int64_t left = column - window_.left;
    crossings_.push_back(
        {static_cast<uint32_t>(left), static_cast<uint32_t>(left * height + inside)});
  }
  std::vector<uint32_t> sorted_positions() const;

  int64_t height_;
  int64_t first_column_;
  int64_t last_column_;
  RleWindow window_;
  std::vector<Crossing> crossings_;
};

void Rasteriser::edge(Point from, Point to) {
  const int64_t dx = std::abs(to.x - from.x);
  const int64_t dy = std::abs(to.y - from.y);
  const bool along_x = dx >= dy;
  if (along_x ? from.x > to.x : from.y > to.y) std::swap(from, to);
  if (from.x == to.x) return;
  const double slope = along_x ? static_cast<double>(to.y - from.y) / static_cast<double>(dx)
                               : static_cast<double>(to.x - from.x) / static_cast<double>(dy);

  // Columns c with low <= 5c + 2 and 5c + 3 <= high, inside the window.
  const auto [low, high] = std::minmax(from.x, to.x);
  const int64_t first = std::max(low <= 2 ? 0 : (low - 2 + kScale - 1) / kScale, first_column_);
  const int64_t last = std::min(high < 3 ? -1 : (high - 3) / kScale, last_column_);
  for (int64_t column = first; column <= last; ++column) {
    const int64_t before = kScale * column + 2;
    if (along_x) {
      const int64_t step = before - from.x;
      cross(column, std::min(walked(from.y, slope, step), walked(from.y, slope, step + 1)));
      continue;
    }
    // The first step at which the walk has passed from one side of the centre to the other.
    const auto passed = [&](int64_t step) {
      const int64_t x = walked(from.x, slope, step);
      return slope > 0 ? x > before : x <= before;
    };
    const double guess = (static_cast<double>(before - from.x) + .5) / slope;
    auto step = std::clamp(static_cast<int64_t>(guess), int64_t{1}, dy);
    while (step > 1 && passed(step - 1)) --step;
    while (step < dy && !passed(step)) ++step;
    cross(column, from.y + step - 1);
  }
}

// By column first: mostly two lie in one.
std::vector<uint32_t> Rasteriser::sorted_positions() const {
  if (crossings_.empty()) return {};
  const auto [least, greatest] = std::ranges::minmax(crossings_, {}, &Crossing::column);
  const uint32_t first = least.column;
  std::vector<uint32_t> next(size_t{greatest.column - first} + 2);
  for (const Crossing& each : crossings_) ++next[each.column - first + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<uint32_t> positions(crossings_.size());
  for (const Crossing& each : crossings_) positions[next[each.column - first]++] = each.position;
  uint32_t begin = 0;
  for (const uint32_t end : std::span(next).first(next.size() - 1)) {
    if (end - begin == 2) {
      if (positions[begin] > positions[begin + 1])
        std::swap(positions[begin], positions[begin + 1]);
    } else {
      std::sort(positions.begin() + begin, positions.begin() + end);
    }
    begin = end;
  }
  return positions;
}

Rle Rasteriser::finish() {
  Rle result{window_.height, window_.width, {}};
  const uint32_t pixels = window_.height * window_.width;
  std::vector<uint32_t> positions = sorted_positions();
  if (positions.size() % 2 != 0) positions.push_back(pixels);
  result.counts.reserve(positions.size() + 1);
  internal::RunWriter writer(result.counts);
  for (size_t i = 0; i < positions.size(); i += 2) {
    writer.foreground(positions[i], positions[i + 1]);
  }
  writer.finish(pixels);
  return result;
}

}  // namespace

Rle rle_from_polygon(std::span<const double> xy, uint32_t height, uint32_t width) {
  return rle_from_polygon(xy, height, width, {0, 0, width, height});
}

Rle rle_from_polygon(std::span<const double> xy,
                     uint32_t height,
                     uint32_t width,
                     const RleWindow& window) {
  ATOLL_CHECK(rle_size_fits(height, width) && rle_size_fits(window.height, window.width))
      << height << " x " << width << ", its part of " << window.height << " x " << window.width;
  Rasteriser rasteriser(height, width, window);
  const size_t points = xy.size() / 2;
  if (points >= 3) {
    const auto point = [&](size_t i) {
      return Point{upsampled(xy[2 * i]), upsampled(xy[2 * i + 1])};
    };
    const Point start = point(0);
    Point previous = start;
    for (size_t i = 1; i < points; ++i) {
      const Point current = point(i);
      rasteriser.edge(previous, current);
      previous = current;
    }
    rasteriser.edge(previous, start);
  }
  return rasteriser.finish();
}

}  // namespace atl::dataset
