// Looks a whole dataset over and lists every problem, each with its file and its record: before a
// training run finds them one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "storage/storage.h"

namespace atl::dataset {

struct Problem {
  enum class Severity {
    kProblem,  // training would fail on it, drop it, or learn something wrong
    kInfo,     // allowed, and good to know
  };
  // What people filter by; each has a name (problem_kind_name).
  enum class Kind {
    kRecord,         // a record of the JSON that cannot be used
    kNoImages,       // problem: nothing to train on
    kUnsafeName,     // problem: file_name leaves the folder
    kDuplicateFile,  // problem: two images with one file
    kMissingFile,
    kUnreadable,     // no picture, truncated, or a form that is not read
    kSizeMismatch,   // of the file and the JSON
    kOutside,        // a box or polygon that leaves the picture by more than a pixel
    kZeroArea,       // an object without a pixel
    kBoxMismatch,    // a side of the box is more than a pixel away from the mask's
    kAreaMismatch,   // info: 'area' differs by a fifth from the mask's
    kExif,           // info: the orientation that the file asks for, and whether it is applied
    kEmptyImage,     // info: no objects
    kUnusedCategory  // info: no objects
  };

  Severity severity = Severity::kProblem;
  Kind kind = Kind::kRecord;
  std::string file;    // key of the picture, or of the JSON
  std::string record;  // "annotation 17"
  std::string message;
};

std::string_view problem_kind_name(Problem::Kind kind);  // "missing-file"

struct ValidateOptions {
  bool decode = true;  // whole pictures; otherwise only their headers
  int threads = 1;
  // Called after each image, from one thread at a time.
  std::function<void(int64_t done, int64_t total)> progress;
};

struct ValidationReport {
  std::vector<Problem> findings;  // of the JSON in its order, then by image in the JSON's order
  int64_t images = 0;             // usable records
  int64_t annotations = 0;
  int64_t categories = 0;

  int64_t count(Problem::Severity severity) const;
  bool clean() const { return count(Problem::Severity::kProblem) == 0; }
};

// Errors: annotations that are missing or no COCO JSON at all (kInvalidInput with the byte), or a
// store that fails; whatever is wrong with single records or files is in the report.
Result<ValidationReport> validate(storage::ObjectStore& store,
                                  std::string_view annotations_key,
                                  std::string_view image_prefix,
                                  const ValidateOptions& options);

// The same for a dataset that has been read already; `findings` of the reading come first, and `name`
// stands for the JSON's.
Result<ValidationReport> validate(storage::ObjectStore& store,
                                  CocoDataset dataset,
                                  std::vector<Problem> findings,
                                  std::string_view name,
                                  const ValidateOptions& options);

}  // namespace atl::dataset
