// What to do about the numbers: the score from which detections of a category are worth keeping, and
// what is taken for what.
//
// Thresholds (Curves::best_f1): for each category the score whose detections have the highest F1 at
// IoU 0.5, over all areas, of at most max_detections in an image; chosen among the detections' own
// scores, of equal F1 the highest. Precision, recall and F1 are those of the detections themselves,
// not of the 101-point curve.
//
// Confusion: of the detections at or above their category's threshold each takes, by falling score,
// the free ground truth of whatever category that it overlaps most, from an IoU of 0.5 on (of equals
// one of its own category, then the one that comes first in the file). What takes nothing, and
// overlaps a crowd by that much, is not counted, nor are crowds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset/coco.h"
#include "eval/eval.h"

namespace atl::eval {

struct Confusion {
  std::vector<double> thresholds;  // (K) at or above which a category's detections count
  // (K + 1, K + 1): the ground truth's category, then the detection's. The last row holds detections
  // where nothing is ("background"), the last column ground truths that nothing took ("missed").
  std::vector<uint64_t> counts;

  size_t category_count() const { return thresholds.size(); }
  uint64_t at(size_t truth, size_t predicted) const {
    return counts[truth * (category_count() + 1) + predicted];
  }
};

// The scores of the highest F1; `otherwise` for a category without one.
std::vector<double> score_thresholds(const Curves& curves, double otherwise = 0.5);

struct ConfusionOptions {
  IouKind kind = IouKind::kMask;
  int max_detections = 100;  // the best of an image and category; the thresholds come after
  int threads = 0;           // 0: all available
};

// `thresholds` as the dataset's categories. Detections of other images and categories are left out.
Confusion confuse(const dataset::CocoDataset& ground_truth,
                  std::span<const Detection> detections,
                  std::vector<double> thresholds,
                  const ConfusionOptions& options);

struct KindAnalysis {
  IouKind kind = IouKind::kMask;
  const Curves* curves = nullptr;
  std::optional<Confusion> confusion;
};

// For each kind a row for each category, and the ten commonest confusions.
std::string analysis_table(const std::vector<dataset::Category>& categories,
                           std::span<const KindAnalysis> kinds);
// Two members of a JSON object:
//   "thresholds": {"segm": {"dog": {"score", "precision", "recall", "f1"}, "cat": null}},
//   "confusion": {"segm": {"scores": [K], "truth": [K names, "background"],
//                          "predicted": [K names, "missed"], "counts": [[…], …]}}
// The second is left out where no kind has a confusion.
std::string analysis_json(const std::vector<dataset::Category>& categories,
                          std::span<const KindAnalysis> kinds);

}  // namespace atl::eval
