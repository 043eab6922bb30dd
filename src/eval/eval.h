// COCO evaluation with exactly pycocotools' semantics: the same 12 numbers and the same precision
// and recall arrays, to the last bit. Plain records, no tensors.
//
//   Evaluator evaluator(dataset, {});
//   evaluator.add(image_id, detections);   // once for each image, any order
//   Evaluation result = evaluator.finish();
//
// Source: pycocotools 2.0.11 cocoeval.py, whose habits are kept on purpose (equal IoU takes the
// later ground truth; 2^-52 in the precision; recall thresholds that are k * 0.01 in float64;
// numpy's pairwise sum in the means). One is a bug and is kept only on request: see EvalOptions.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/rle.h"

namespace atl::eval {

// kBoundary: the smaller of the masks' IoU and that of their boundaries (eval/boundary.h).
enum class IouKind { kBox, kMask, kBoundary };
// As the command line and the files have it: "bbox", "segm", "boundary".
const char* name_of(IouKind kind);

struct Detection {
  int64_t image_id = 0;
  int64_t category_id = 0;
  double score = 0;
  std::array<double, 4> box = {};  // x, y, w, h
  // The image's size; one of another size matches nothing, as in pycocotools. Empty counts: there
  // is none, and where masks are asked for the box stands in.
  dataset::Rle mask;
  // What size it counts as when it is unmatched. pycocotools' loadRes takes w * h for every record
  // when the file's first one has a box, for masks too; else the mask's area.
  double area = 0;
};

struct EvalOptions {
  std::vector<IouKind> kinds = {IouKind::kBox, IouKind::kMask};
  // Sorted, as pycocotools does. Its AP is that at 100 whatever stands here (and -1 without a 100);
  // the other stats take these three.
  std::array<int, 3> max_detections = {1, 10, 100};
  bool use_categories = true;  // off: one category, "all"
  // pycocotools takes a ground truth whose id is 0 for "unmatched" and counts its detection as
  // false. Off: such a ground truth is one like any other.
  bool strict_pycocotools = false;
  int threads = 0;  // 0: all available
  // evaluate() says from any of its threads how many images are matched.
  std::function<void(size_t done, size_t total)> progress;
};

// What comes of keeping only the detections of a score and above.
struct OperatingPoint {
  double score = 0;
  double precision = 0;
  double recall = 0;
  double f1 = 0;
};

// Arrays as pycocotools lays them out; T 10 IoU thresholds, R 101 recalls, K categories,
// A 4 areas (all, small, medium, large), M maxima (3; LVIS has 1).
struct Curves {
  std::vector<double> precision;    // (T, R, K, A, M)
  std::vector<double> recall;       // (T, K, A, M)
  std::vector<double> scores;       // (T, R, K, A, M)
  std::vector<double> category_ap;  // (K) mean over T, R at area all, maxDets last; -1 none
  // (K) The highest F1 at IoU 0.5, area all, maxDets last, from the detections themselves; of equal
  // F1 the highest score. nullopt: no detection matched.
  std::vector<std::optional<OperatingPoint>> best_f1;
};

struct KindResult : Curves {
  // AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl; -1: no ground truth of that sort.
  std::array<double, 12> stats = {};
};

struct Evaluation {
  std::vector<dataset::Category> categories;  // K
  std::array<int, 3> max_detections = {};
  std::map<IouKind, KindResult> kinds;

  // pycocotools' summary of one kind, 12 lines.
  std::string table(IouKind kind) const;
  // All kinds; where there are several, a line "bbox" or "segm" before each.
  std::string table() const;
  // AP for each category, aligned columns, one row a category.
  std::string category_table() const;
  // {"bbox": {"stats": [12], "per_category": {"dog": 0.5, …}}, "segm": {…}}, 17 digits. A name that
  // several categories have gets its id behind it. `further`: more members, "\"key\": value, …".
  std::string to_json(std::string_view further = {}) const;
};

class Evaluator {
 public:
  // The dataset must outlive the evaluator.
  Evaluator(const dataset::CocoDataset& ground_truth, EvalOptions options);
  ~Evaluator();
  // All detections of one image, matched at once and not kept; detections of equal score keep this
  // order. Images never added count as images without detections. Detections of a category that the dataset does not have are
  // left out, as pycocotools does. kInvalidInput: unknown image, or the same image twice. Not
  // thread safe.
  Result<void> add(int64_t image_id, std::vector<Detection> detections);
  // Sums up; once, at the end.
  Evaluation finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Detections of all images at once, in any order. kInvalidInput: an unknown image.
Result<Evaluation> evaluate(const dataset::CocoDataset& ground_truth,
                            std::vector<Detection> detections,
                            EvalOptions options);

// A COCO results file: [{"image_id", "category_id", "score", "bbox" and/or "segmentation"}]. As
// pycocotools' loadRes: where the first record has a box all must have one, and a missing mask is
// the box; else all must have a mask, and a missing box is the mask's. Masks may be RLE with
// compressed or listed counts, or polygons. Errors (kInvalidInput): malformed JSON with its byte
// offset; a record with its index; an image that the ground truth does not have. An unknown
// category is no error (see Evaluator::add). An empty list is valid: AP is 0.
Result<std::vector<Detection>> parse_results(std::string_view text,
                                             std::string_view name,
                                             const dataset::CocoDataset& ground_truth);
// The same form, compressed RLE, numbers that read back to the same double; a number that JSON does
// not have (NaN) becomes null, which parse_results refuses.
std::string results_to_json(std::span<const Detection> detections);

}  // namespace atl::eval
