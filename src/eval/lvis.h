// LVIS: what its annotations say beyond COCO's, and its evaluation.
//
// An LVIS image is not searched for every category. A category is judged on an image where it has
// ground truth or stands in neg_category_ids (it was looked for, and is not there); detections of
// any other category are left out. In not_exhaustive_category_ids not every object was marked, so a
// detection that matches nothing is ignored. Of each image the best 300 detections count, over all
// categories. `iscrowd` means nothing, an annotation's `ignore` does. Categories are rare (r, in
// fewer than 10 training images), common (c, fewer than 100) or frequent (f).
//
// Source: the lvis package 0.5.3, eval.py and results.py; same numbers, same arrays, to the last
// bit.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "eval/eval.h"

namespace atl::eval {

enum class Frequency : uint8_t { kRare, kCommon, kFrequent };

struct LvisImage {
  std::vector<int64_t> negative_categories;        // ids, sorted
  std::vector<int64_t> not_exhaustive_categories;  // ids, sorted
  std::vector<bool> ignored;                       // as annotations_of(image); empty: none is

  bool ignores(size_t annotation) const { return !ignored.empty() && ignored[annotation]; }
};

struct LvisAnnotations {
  std::vector<LvisImage> images;       // as the dataset's images
  std::vector<Frequency> frequencies;  // as the dataset's categories
};

// Reads the LVIS fields of the JSON that the dataset came from. Errors (kInvalidInput) name the
// image, category or annotation: a list or a frequency that is missing or of another type, a
// category in a list that the dataset does not have.
Result<LvisAnnotations> parse_lvis(std::string_view text,
                                   std::string_view name,
                                   const dataset::CocoDataset& dataset);

struct LvisOptions {
  std::vector<IouKind> kinds = {IouKind::kBox, IouKind::kMask};
  int max_detections = 300;         // of an image, over all categories
  bool strict_pycocotools = false;  // its bug about ids of 0, which the lvis package shares
  int threads = 0;                  // 0: all available
  // Called from any thread: how many images are matched, counted once for each kind.
  std::function<void(size_t done, size_t total)> progress;
};

// The numbers' names: "AP", …, "APr", …, and "AR@300", … for this many detections.
std::array<std::string, 13> lvis_names(int max_detections);

struct LvisResult : Curves {  // M is 1
  // AP AP50 AP75 APs APm APl APr APc APf AR ARs ARm ARl; -1: no ground truth of that sort.
  std::array<double, 13> stats = {};
};

struct LvisEvaluation {
  std::vector<dataset::Category> categories;  // K
  std::vector<Frequency> frequencies;         // K
  int max_detections = 0;
  std::map<IouKind, LvisResult> kinds;

  // The lvis package's lines; where there are several kinds, the kind's name before each 13.
  std::string table() const;
  // AP for each category, with its frequency; one row a category.
  std::string category_table() const;
  // {"bbox": {"stats": {"AP": …, "AR@300": …}, "per_category": {"dog": 0.5, …}}, …}, 17 digits.
  // `further`: more members.
  std::string to_json(std::string_view further = {}) const;
};

// Detections of all images, in any order. kInvalidInput: an unknown image.
Result<LvisEvaluation> evaluate_lvis(const dataset::CocoDataset& ground_truth,
                                     const LvisAnnotations& lvis,
                                     std::vector<Detection> detections,
                                     const LvisOptions& options);

}  // namespace atl::eval
