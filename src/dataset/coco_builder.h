// Builds a CocoDataset record by record. Every check of a record's content lives here, so that the
// JSON reader, the generators and the tests go through the same gate.
//
// Categories and images come first, in any order; annotations name them by id. Not thread safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/coco.h"
#include "dataset/id_table.h"

namespace atl::dataset {

// One more pixel than this on a side, or 2^32 in all, and a run of a mask would not fit its type.
inline constexpr int64_t kMaxImageSide_px = int64_t{1} << 20;

struct ImageRecord {
  int64_t id = 0;
  int64_t width = 0;
  int64_t height = 0;
  std::string file_name;
};

struct AnnotationRecord {
  int64_t id = 0;
  int64_t image_id = 0;
  int64_t category_id = 0;
  bool crowd = false;
  std::optional<std::array<double, 4>> box;  // x, y, w, h; absent: that of the mask
  std::optional<double> area;                // absent: that of the mask, or of the box without one
  SegmentationKind kind = SegmentationKind::kNone;
  std::vector<double> coordinates;      // kPolygons: all polygons, one after the other
  std::vector<size_t> polygon_lengths;  // kPolygons: how many numbers each has
  Rle rle;                              // kRle
};

// The same with its polygons or mask packed already: those from first_part on of a PackedShapes.
struct PackedAnnotation {
  int64_t id = 0;
  int64_t image_id = 0;
  int64_t category_id = 0;
  std::array<double, 4> box = {};
  double area = 0;
  bool has_box = false;
  bool has_area = false;
  bool crowd = false;
  SegmentationKind kind = SegmentationKind::kNone;
  uint32_t first_part = 0;
  uint32_t part_count = 0;
};

// The arrays of a dataset that lies in memory.
struct CocoStorage {
  std::vector<ImageRow> images;
  std::vector<char> names;
  std::vector<ImageIdRow> image_ids;
  std::vector<Annotation> annotations;
  std::vector<uint32_t> annotation_ends;
  PackedShapes shapes;

  CocoArrays arrays() const;
};

class CocoBuilder {
 public:
  // Called with each problem: "annotation 17" and what is wrong with it. If it returns an error,
  // the call that found the problem returns it; otherwise the record (of a polygon with too few
  // points: only that polygon) is left out.
  using ProblemSink = std::function<Result<void>(std::string_view record, const Error& problem)>;

  explicit CocoBuilder(ProblemSink sink) : sink_(std::move(sink)) {}
  // kStrict: a problem is the error. kLenient: it is noted in the dataset's issues().
  explicit CocoBuilder(CocoDataset::Mode mode = CocoDataset::Mode::kStrict);

  Result<void> add_category(Category category);
  Result<void> add_image(int64_t id, int64_t width, int64_t height, std::string_view file_name);
  Result<void> add_image(const ImageRecord& image) {
    return add_image(image.id, image.width, image.height, image.file_name);
  }
  Result<void> add_annotation(const AnnotationRecord& annotation);
  Result<void> add_annotation(const PackedAnnotation& annotation, const PackedShapes& shapes);
  // Room for so much in all, so that growing does not copy.
  void reserve(size_t annotations, size_t polygons, size_t coordinate_units, size_t runs);
  // Hands a problem that the caller found to the sink.
  Result<void> report(std::string_view record, const Error& problem);

  // The builder is empty afterwards. An image named by no annotation stays; categories are sorted.
  CocoDataset finish();

 private:
  // The index of its image.
  Result<uint32_t> check_annotation(const PackedAnnotation& record,
                                    const PackedShapes& shapes) const;
  // Checks the polygons one by one and copies the good ones.
  Result<void> copy_polygons(const PackedAnnotation& record,
                             const PackedShapes& shapes,
                             Annotation& annotation);
  Result<void> copy_segmentation(const PackedAnnotation& record,
                                 const PackedShapes& shapes,
                                 Annotation& annotation);
  // Fills in the box and the area that the record lacks.
  void complete(const PackedAnnotation& record, Annotation& annotation) const;
  void group_by_image();
  void sort_image_ids();

  std::shared_ptr<CocoStorage> storage_ = std::make_shared<CocoStorage>();
  std::vector<Category> categories_;
  std::vector<std::string> issues_;
  size_t issue_count_ = 0;
  ProblemSink sink_;
  bool note_issues_ = false;
  IdTable image_index_;
  IdSet category_ids_;
  IdSet annotation_ids_;
  PackedShapes scratch_;  // the shapes of one record
};

struct NumberKernel;

struct JsonOptions {
  int threads = 0;  // 0: one for each processor
  // A thread takes so much of the text at a time; 0: what suits the text's size.
  size_t piece_bytes = 0;
  // Called now and then, from any thread.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
  // For tests: how numbers are read; nullptr: the best way for this processor.
  const NumberKernel* kernel = nullptr;
  // For tests: every record by way of simdjson, one after the other.
  bool plain = false;
};

// Reads a whole COCO JSON into the builder. Errors (kInvalidInput): malformed JSON, with the byte
// offset; a missing section; what the builder's sink returns. Context (the file's name) is the
// caller's.
Result<void> read_coco_json(std::string_view text,
                            CocoBuilder& builder,
                            const JsonOptions& options = {});

// The first file names of the JSON, without reading the rest of it.
Result<std::vector<std::string>> first_file_names(std::string_view text, size_t count);

// COCO JSON of a dataset: crowds get their runs as a list of counts, other masks as the compressed
// string, as COCO's own files have them. Reading it back gives the same dataset.
std::string to_json(const CocoDataset& dataset);

}  // namespace atl::dataset
