#include "dataset/coco_arrays.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

namespace atl::dataset {
namespace {

constexpr int32_t kMaxHundredths16 = std::numeric_limits<uint16_t>::max();

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

// The narrowest type that gives every number back to the last bit, -0 included.
CoordinateType type_for(std::span<const double> xy) {
  auto type = CoordinateType::kHundredths16;
  for (const double value : xy) {
    const double hundredths = std::round(value * 100.0);
    if (!(std::abs(hundredths) <= kMaxHundredths32)) return CoordinateType::kFloat64;
    // By way of an integer, which knows no -0.
    const double again = static_cast<int32_t>(hundredths) / 100.0;
    if (!same_bits(again, value)) return CoordinateType::kFloat64;
    if (hundredths < 0 || hundredths > kMaxHundredths16) type = CoordinateType::kHundredths32;
  }
  return type;
}

// Appends the number in as many units as it has.
template <typename T>
void append(std::vector<uint16_t>& units, T number) {
  for (const uint16_t unit : std::bit_cast<std::array<uint16_t, sizeof(T) / 2>>(number)) {
    units.push_back(unit);
  }
}

}  // namespace

void PackedShapes::add_polygon(std::span<const double> xy) {
  const CoordinateType type = type_for(xy);
  for (const double value : xy) {
    switch (type) {
      case CoordinateType::kHundredths16:
        coordinates.push_back(static_cast<uint16_t>(std::lround(value * 100.0)));
        break;
      case CoordinateType::kHundredths32:
        append(coordinates, static_cast<int32_t>(std::lround(value * 100.0)));
        break;
      case CoordinateType::kFloat64:
        append(coordinates, value);
        break;
    }
  }
  polygons.emplace_back(coordinates.size(), type);
}

void PackedShapes::add_hundredths(std::span<const uint16_t> xy) {
  coordinates.insert(coordinates.end(), xy.begin(), xy.end());
  polygons.emplace_back(coordinates.size(), CoordinateType::kHundredths16);
}

void PackedShapes::add_hundredths(std::span<const int32_t> xy) {
  const auto* units = reinterpret_cast<const uint16_t*>(xy.data());
  coordinates.insert(coordinates.end(), units, units + 2 * xy.size());
  polygons.emplace_back(coordinates.size(), CoordinateType::kHundredths32);
}

void PackedShapes::add_mask(const Rle& rle) {
  runs.insert(runs.end(), rle.counts.begin(), rle.counts.end());
  masks.push_back({runs.size(), rle.height, rle.width});
}

void PackedShapes::clear() {
  polygons.clear();
  coordinates.clear();
  masks.clear();
  runs.clear();
}

}  // namespace atl::dataset
