// Builds a CocoDataset record by record. Every check of a record's content lives here, so that the
// JSON reader, the generators and the tests go through the same gate.
//
// Categories and images come first, in any order; annotations name them by id. Not thread safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dataset/coco.h"

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
  Result<void> add_image(const ImageRecord& image);
  Result<void> add_annotation(const AnnotationRecord& annotation);
  // Hands a problem that the caller found to the sink.
  Result<void> report(std::string_view record, const Error& problem);

  // The builder is empty afterwards. An image named by no annotation stays; categories are sorted.
  CocoDataset finish();

 private:
  Result<void> check_annotation(const AnnotationRecord& record) const;
  // Checks the polygons one by one and packs the good ones.
  Result<void> pack_polygons(const AnnotationRecord& record, Annotation& annotation);
  Result<void> pack_segmentation(const AnnotationRecord& record, Annotation& annotation);
  // Forgets the polygons and masks packed for an annotation that is then left out.
  void unpack(const Annotation& annotation);

  CocoDataset dataset_;
  ProblemSink sink_;
  bool note_issues_ = false;
  std::unordered_set<int64_t> category_ids_;
  std::unordered_set<int64_t> annotation_ids_;
  std::vector<size_t> name_ends_;  // of the images' names in names_
};

// Reads a whole COCO JSON into the builder. Errors (kInvalidInput): malformed JSON, with the byte
// offset; a missing section; what the builder's sink returns. Context (the file's name) is the
// caller's.
Result<void> read_coco_json(std::string_view text, CocoBuilder& builder);

// The first file names of the JSON, without reading the rest of it.
Result<std::vector<std::string>> first_file_names(std::string_view text, size_t count);

// COCO JSON of a dataset: crowds get their runs as a list of counts, other masks as the compressed
// string, as COCO's own files have them. Reading it back gives the same dataset.
std::string to_json(const CocoDataset& dataset);

}  // namespace atl::dataset
