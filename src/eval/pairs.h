// Which detections and ground truths of one image and category overlap enough to match; internal to
// this room.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/coco.h"
#include "eval/candidate.h"
#include "eval/eval.h"
#include "eval/mask_text.h"

namespace atl::eval::internal {

struct Truth {
  const dataset::Annotation* annotation;
  bool crowd;    // may be taken by any number of detections
  bool ignored;  // in every area range
};

// The group being matched.
struct Task {
  std::span<const Candidate* const> detections;  // by falling score
  std::span<const Truth> truths;                 // in the file's order
  bool forgiving;  // a detection that takes nothing is ignored: not all objects are marked
};

struct Pair {
  uint32_t truth;
  uint16_t reach;  // bit t: the IoU reaches threshold t
  double iou;
};

// The pairs whose IoU reaches the lowest threshold.
struct Pairs {
  std::vector<Pair> pairs;      // for each detection in order of the ground truths
  std::vector<uint32_t> begin;  // detections + 1

  std::span<const Pair> of(size_t detection) const {
    return std::span(pairs).subspan(begin[detection], begin[detection + 1] - begin[detection]);
  }
};

// What stands for the mask of a detection without one; box: x, y, w, h.
dataset::Rle box_as_mask(const std::array<double, 4>& box, const dataset::Image& image);

// Keeps its buffers; one for each thread.
class PairFinder {
 public:
  explicit PairFinder(const dataset::CocoDataset& ground_truth) : ground_truth_(ground_truth) {}

  // Valid until the next call.
  const Pairs& find(IouKind kind, const dataset::Image& image, const Task& task);

 private:
  // A mask with what is asked of it often. Its runs are made when they are needed: most pairs of
  // masks are told apart by their boxes and areas.
  struct Shape {
    uint32_t height = 0;
    uint32_t width = 0;
    MaskExtent extent;
    bool has_runs = false;
    std::vector<MaskRun> runs;
    bool has_boundary = false;
    std::vector<MaskRun> boundary;
    uint64_t boundary_area = 0;
  };

  void find_boxes(const Task& task);
  void find_masks(const dataset::Image& image, const Task& task, bool with_boundary);
  void shape_of(const Candidate& candidate, const dataset::Image& image, Shape& shape);
  void set_shape(const dataset::Rle& mask, Shape& shape);
  void make_runs(const Candidate& candidate, Shape& shape);
  double mask_iou(const Candidate& candidate, Shape& detection, const Shape& truth, bool crowd);
  static void make_boundary(Shape& shape);
  static double boundary_iou(Shape& a, Shape& b);

  const dataset::CocoDataset& ground_truth_;
  Pairs result_;
  std::vector<Shape> truths_;
  Shape detection_;
  MaskTextReader masks_;
};

}  // namespace atl::eval::internal
