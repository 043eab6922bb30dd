// One list of a COCO JSON (the images or the annotations), read in pieces on several threads.
//
// A piece begins where the text looks like the border between two records. That is a guess (it may
// stand in a string or in a nested list), so it is checked afterwards: reading from the list's
// beginning is exact, and where one piece ends at the very byte at which the next began, the next is
// exact, too. A piece whose guess was wrong is read again from the right byte.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/coco_builder.h"
#include "dataset/coco_json_scan.h"

namespace atl::dataset {

// A record that is JSON, but not what COCO asks for.
struct RecordProblem {
  size_t before;       // it stands before the good record of this number
  std::string record;  // "annotation 17", "the image at byte 1000"
  Error error;
};

template <typename Record>
struct RecordBatch {
  std::vector<Record> records;
  PackedShapes shapes;            // of annotations
  std::deque<std::string> names;  // file names that do not stand in the text as they are
  std::vector<RecordProblem> problems;
};

template <typename Record>
struct RecordList {
  std::vector<RecordBatch<Record>> batches;
  size_t end = 0;  // the byte behind the list
};

// The list whose first record begins at or after byte `at` (behind the '['). nullopt: it is
// malformed or empty; JsonCursor and RecordParser will say more.
std::optional<RecordList<ScannedImage>> read_images(std::string_view text,
                                                    size_t at,
                                                    const JsonOptions& options);
std::optional<RecordList<PackedAnnotation>> read_annotations(std::string_view text,
                                                             size_t at,
                                                             const JsonOptions& options);

// What the user reads about a record that failed: its kind and id, or where it begins.
std::string record_name(std::string_view kind, std::optional<int64_t> id, size_t offset);

// The record with its shapes packed behind those of `shapes`.
PackedAnnotation pack(const AnnotationRecord& record, PackedShapes& shapes);

}  // namespace atl::dataset
