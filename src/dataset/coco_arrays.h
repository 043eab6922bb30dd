// How a dataset lies in memory, and byte for byte in an index file (dataset/index.h): flat arrays,
// no pointer in them, so that a mapped file is the dataset.
//
// "end" members: what belongs to row i begins where row i - 1 ends, the first at 0.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/rle.h"

namespace atl::dataset {

enum class SegmentationKind : uint8_t { kNone, kPolygons, kRle };

struct Annotation {
  int64_t id = 0;
  int64_t category_id = 0;
  int32_t image_index = 0;
  SegmentationKind kind = SegmentationKind::kNone;
  bool crowd = false;
  std::array<uint8_t, 2> reserved = {};  // named, so that it is 0 in files
  std::array<double, 4> box = {};        // x, y, w, h, as the JSON has it; without it the mask's
  double area = 0;                       // as the JSON has it; without it the mask's, or the box's
  // kPolygons: polygons [first, first + count) of the dataset; kRle: the RLE of that index.
  uint32_t first_part = 0;
  uint32_t part_count = 0;
};

struct ImageRow {
  int64_t id = 0;
  int32_t width = 0;
  int32_t height = 0;
  uint64_t name_end = 0;  // in names
};

// Sorted by id.
struct ImageIdRow {
  int64_t id = 0;
  int64_t index = 0;
};

struct MaskRow {
  uint64_t run_end = 0;  // in runs
  uint32_t height = 0;
  uint32_t width = 0;
};

// How a polygon's numbers are stored: as narrow as all of them allow without losing a bit. COCO
// writes two decimals and its images have up to 640 pixels, so most polygons take 2 bytes a number.
enum class CoordinateType : uint8_t {
  kHundredths16,  // uint16: v = n / 100.0, the double that is nearest to the decimal
  kHundredths32,  // int32: likewise
  kFloat64,
};

// Far inside int32, and below what the builder calls garbage: hundredths need no further check.
inline constexpr int32_t kMaxHundredths32 = 100 * (int32_t{1} << 20);

// Type and end of one polygon in `coordinates`, in units of 2 bytes.
class PolygonRow {
 public:
  PolygonRow() = default;
  PolygonRow(uint64_t unit_end, CoordinateType type)
      : bits_(unit_end << 2 | static_cast<uint64_t>(type)) {}

  uint64_t unit_end() const { return bits_ >> 2; }
  // The type in a hostile file may be a fourth one; opening it checks that.
  CoordinateType type() const { return static_cast<CoordinateType>(bits_ & 3); }

 private:
  uint64_t bits_ = 0;
};

constexpr size_t units_of_number(CoordinateType type) {
  return size_t{1} << static_cast<int>(type);
}

// All of a dataset but its categories.
struct CocoArrays {
  std::span<const ImageRow> images;
  std::span<const char> names;
  std::span<const ImageIdRow> image_ids;
  std::span<const Annotation> annotations;    // grouped by image
  std::span<const uint32_t> annotation_ends;  // of each image's group
  std::span<const PolygonRow> polygons;
  std::span<const uint16_t> coordinates;
  std::span<const MaskRow> masks;
  std::span<const uint32_t> runs;
};

// Polygons and masks on their way into a dataset.
struct PackedShapes {
  std::vector<PolygonRow> polygons;
  std::vector<uint16_t> coordinates;
  std::vector<MaskRow> masks;
  std::vector<uint32_t> runs;

  void add_polygon(std::span<const double> xy);
  // The same given as hundredths, none below 0 nor above kMaxHundredths32.
  void add_hundredths(std::span<const uint16_t> xy);
  void add_hundredths(std::span<const int32_t> xy);
  void add_mask(const Rle& rle);
  void clear();

  uint64_t unit_begin(size_t polygon) const {
    return polygon == 0 ? 0 : polygons[polygon - 1].unit_end();
  }
  uint64_t run_begin(size_t mask) const { return mask == 0 ? 0 : masks[mask - 1].run_end; }
};

}  // namespace atl::dataset
