// COCO-format annotations in packed arrays, and how they are read from JSON.
//
// Immutable after loading; any number of threads may read. Images stand in the order of the JSON,
// annotations are grouped by image and keep the file's order inside a group. All ids are int64 and
// may be 0; category ids may have holes, so the model sees contiguous labels 1..K in order of id.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "dataset/rle.h"

namespace atl::dataset {

struct Category {
  int64_t id = 0;
  std::string name;
  std::string supercategory;
  friend bool operator==(const Category&, const Category&) = default;
};

struct Image {
  int64_t id = 0;
  int32_t width = 0;
  int32_t height = 0;
  std::string_view file_name;  // lives in the dataset
};

enum class SegmentationKind : uint8_t { kNone, kPolygons, kRle };

struct Annotation {
  int64_t id = 0;
  int64_t category_id = 0;
  int32_t image_index = 0;
  SegmentationKind kind = SegmentationKind::kNone;
  bool crowd = false;
  std::array<double, 4> box = {};  // x, y, w, h, as the JSON has it; without it the mask's
  double area = 0;                 // as the JSON has it; without it the mask's, or the box's
  // kPolygons: polygons [first, first + count) of the dataset; kRle: the RLE of that index.
  uint32_t first_part = 0;
  uint32_t part_count = 0;
};

class CocoDataset {
 public:
  // How problems of single records are met. kStrict: the first one is the error. kLenient: the
  // record is dropped (of a polygon with fewer than 3 points: only that polygon) and counted in
  // issues(); malformed JSON is an error either way.
  enum class Mode { kStrict, kLenient };

  CocoDataset() = default;
  // Movable, not copyable: the images' names point into the dataset.
  CocoDataset(CocoDataset&&) = default;
  CocoDataset& operator=(CocoDataset&&) = default;

  // `text` is the whole JSON; `name` is for messages. Errors (kInvalidInput) carry the byte offset
  // for malformed JSON, the id and key for a bad record.
  static Result<CocoDataset> parse(std::string_view text,
                                   std::string_view name,
                                   Mode mode = Mode::kStrict);

  std::span<const Image> images() const { return images_; }
  std::span<const Category> categories() const { return categories_; }  // sorted by id
  std::span<const Annotation> annotations() const { return annotations_; }
  std::span<const Annotation> annotations_of(size_t image_index) const {
    return std::span(annotations_)
        .subspan(annotation_begin_[image_index],
                 annotation_begin_[image_index + 1] - annotation_begin_[image_index]);
  }
  // x0, y0, x1, y1, … of one polygon.
  std::span<const double> polygon(uint32_t index) const {
    return std::span(coordinates_)
        .subspan(polygon_begin_[index], polygon_begin_[index + 1] - polygon_begin_[index]);
  }
  const Rle& rle(uint32_t index) const { return rles_[index]; }

  std::optional<size_t> image_index(int64_t image_id) const;
  // 1..K by increasing id; 0 is the background. nullopt for an unknown id.
  std::optional<int64_t> label_of(int64_t category_id) const;

  // The annotation's mask at the image's own size: the union of its polygons, or its RLE.
  // kNone gives the box as a mask.
  Rle mask_of(const Annotation& annotation) const;
  // The same for a copy of the image resized to width x height and then, if asked, mirrored.
  // Polygons are scaled and rasterised at the new size; RLEs are resized nearest.
  Rle mask_of(const Annotation& annotation, uint32_t height, uint32_t width, bool flip) const;

  // What a lenient load dropped, one line each with the id ("annotation 17: …"); at most 100 lines
  // kept.
  std::span<const std::string> issues() const { return issues_; }
  size_t issue_count() const { return issue_count_; }

 private:
  friend class CocoBuilder;  // the JSON reader, coco_json.cpp

  std::vector<Image> images_;
  std::vector<Category> categories_;
  std::vector<Annotation> annotations_;
  std::vector<uint32_t> annotation_begin_;
  std::vector<double> coordinates_;
  std::vector<uint64_t> polygon_begin_ = {0};
  std::vector<Rle> rles_;
  std::vector<char> names_;  // a vector, because a moved string may take its bytes along
  std::unordered_map<int64_t, size_t> image_index_;
  std::vector<std::string> issues_;
  size_t issue_count_ = 0;
};

// Builds datasets record by record, checking each; the JSON reader and the generators use it.
// Defined in dataset/coco_builder.h.
class CocoBuilder;

}  // namespace atl::dataset
