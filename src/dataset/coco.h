// COCO-format annotations in packed arrays, and how they are read from JSON.
//
// Immutable after loading; any number of threads may read. Images stand in the order of the JSON,
// annotations are grouped by image and keep the file's order inside a group. All ids are int64 and
// may be 0; category ids may have holes, so the model sees contiguous labels 1..K in order of id.
//
// A dataset is a view of flat arrays (dataset/coco_arrays.h) that lie in memory, or in a mapped
// index file (dataset/index.h): then every process of a machine shares them. Copies are cheap and
// share the arrays, too.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco_arrays.h"
#include "dataset/index_iterator.h"
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

// The images, made from their rows when asked for. A view; the dataset must outlive it.
class ImageList {
 public:
  using value_type = Image;
  using iterator = IndexIterator<ImageList>;

  ImageList() = default;
  ImageList(std::span<const ImageRow> rows, std::span<const char> names)
      : rows_(rows), names_(names.data()) {}

  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  Image operator[](size_t index) const {
    const ImageRow& row = rows_[index];
    const uint64_t begin = index == 0 ? 0 : rows_[index - 1].name_end;
    return {row.id, row.width, row.height, {names_ + begin, row.name_end - begin}};
  }
  ImageList first(size_t count) const { return {rows_.first(count), {names_, 0}}; }
  iterator begin() const { return {*this, 0}; }
  iterator end() const { return {*this, size()}; }

 private:
  std::span<const ImageRow> rows_;
  const char* names_ = nullptr;
};

// x0, y0, x1, y1, … of one polygon, as the JSON has them to the last bit. A view; the dataset must
// outlive it.
class Polygon {
 public:
  using value_type = double;
  using iterator = IndexIterator<Polygon>;

  Polygon() = default;
  Polygon(std::span<const uint16_t> units, CoordinateType type)
      : units_(units.data()), size_(units.size() / units_of_number(type)), type_(type) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  double operator[](size_t index) const;
  // All of them at once, faster than one by one.
  void append_to(std::vector<double>& numbers) const;
  iterator begin() const { return {*this, 0}; }
  iterator end() const { return {*this, size()}; }

 private:
  const uint16_t* units_ = nullptr;
  size_t size_ = 0;
  CoordinateType type_ = CoordinateType::kHundredths16;
};

class CocoDataset {
 public:
  // How problems of single records are met. kStrict: the first one is the error. kLenient: the
  // record is dropped (of a polygon with fewer than 3 points: only that polygon) and counted in
  // issues(); malformed JSON is an error either way.
  enum class Mode { kStrict, kLenient };

  CocoDataset() = default;
  // Arrays that keep every promise of coco_arrays.h, in memory that `owner` keeps alive; categories
  // sorted by id.
  CocoDataset(CocoArrays arrays,
              std::vector<Category> categories,
              std::shared_ptr<const void> owner)
      : arrays_(arrays), categories_(std::move(categories)), owner_(std::move(owner)) {}

  // `text` is the whole JSON; `name` is for messages. Errors (kInvalidInput) carry the byte offset
  // for malformed JSON, the id and key for a bad record.
  static Result<CocoDataset> parse(std::string_view text,
                                   std::string_view name,
                                   Mode mode = Mode::kStrict);

  ImageList images() const { return {arrays_.images, arrays_.names}; }
  std::span<const Category> categories() const { return categories_; }  // sorted by id
  std::span<const Annotation> annotations() const { return arrays_.annotations; }
  std::span<const Annotation> annotations_of(size_t image_index) const {
    const uint32_t begin = image_index == 0 ? 0 : arrays_.annotation_ends[image_index - 1];
    return arrays_.annotations.subspan(begin, arrays_.annotation_ends[image_index] - begin);
  }
  Polygon polygon(uint32_t index) const {
    const uint64_t begin = index == 0 ? 0 : arrays_.polygons[index - 1].unit_end();
    const PolygonRow& row = arrays_.polygons[index];
    return {arrays_.coordinates.subspan(begin, row.unit_end() - begin), row.type()};
  }
  Rle rle(uint32_t index) const;

  std::optional<size_t> image_index(int64_t image_id) const;
  // 1..K by increasing id; 0 is the background. nullopt for an unknown id.
  std::optional<int64_t> label_of(int64_t category_id) const;

  // The same arrays, not copied, under other categories: sorted by id, and every annotation's among them.
  CocoDataset with_categories(std::vector<Category> categories) const {
    CocoDataset other = *this;
    other.categories_ = std::move(categories);
    return other;
  }

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

  const CocoArrays& arrays() const { return arrays_; }

 private:
  friend class CocoBuilder;  // notes the issues

  CocoArrays arrays_;
  std::vector<Category> categories_;
  std::shared_ptr<const void> owner_;
  std::vector<std::string> issues_;
  size_t issue_count_ = 0;
};

// Builds datasets record by record, checking each; the JSON reader and the generators use it.
// Defined in dataset/coco_builder.h.
class CocoBuilder;

}  // namespace atl::dataset
