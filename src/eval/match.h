// Matching of one image's detections to its ground truths; internal to this room.
//
// T 10 IoU thresholds, A 4 area ranges. What an image gives is small: for each detection its score
// and two bits for each of the 40 combinations of T and A; for each category the number of ground
// truths that count in each area range.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/coco.h"
#include "eval/candidate.h"
#include "eval/eval.h"
#include "eval/lvis.h"
#include "eval/pairs.h"

namespace atl::eval::internal {

// numpy's linspace(.5, .95, 10): every value is the literal's but the ninth.
constexpr std::array<double, 10> kIouThresholds = {
    0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95};
constexpr size_t kThresholdCount = kIouThresholds.size();
// A threshold of 1 would otherwise miss on rounding; pycocotools' own bound.
constexpr double kMaxThreshold = 1 - 1e-10;

struct AreaRange {
  const char* name;
  double low;
  double high;
  bool holds(double area) const { return !(area < low || area > high); }
};
constexpr std::array<AreaRange, 4> kAreas = {{{"all", 0, 1e10},
                                              {"small", 0, 32.0 * 32},
                                              {"medium", 32.0 * 32, 96.0 * 96},
                                              {"large", 96.0 * 96, 1e10}}};
constexpr size_t kAreaCount = kAreas.size();

struct Outcome {
  double score;
  // For each area, bit t: at threshold t it took a ground truth; it is ignored.
  std::array<uint16_t, kAreaCount> matched;
  std::array<uint16_t, kAreaCount> ignored;
};

// The detections of one image and category, by falling score, at most max_detections of them.
struct Group {
  uint32_t category;  // position among the evaluation's categories
  uint32_t begin;     // of outcomes
  uint32_t count;
  std::array<uint32_t, kAreaCount> truths;  // that are not ignored
};

struct ImageOutcome {
  std::vector<Group> groups;  // by category
  std::vector<Outcome> outcomes;
};

struct MatchOptions {
  IouKind kind;  // for match_image
  size_t max_detections;
  bool use_categories;
  bool strict_pycocotools;
};

// Matches image after image, any of them; keeps its buffers, so one for each thread. With what LVIS
// says about the image, the rules are those of the lvis package: no ground truth is a crowd, one
// may be ignored, those without area and detections without area are left out, and so are
// detections of categories that nobody looked for.
class ImageMatcher {
 public:
  ImageMatcher(const dataset::CocoDataset& ground_truth, const MatchOptions& options);

  // An image and its detections, which match() then compares by one kind of IoU and another. They,
  // and what LVIS says, must outlive the calls.
  void set_image(size_t image_index,
                 std::span<const Candidate> candidates,
                 const LvisImage* lvis = nullptr);
  ImageOutcome match(IouKind kind);

 private:
  struct RankedTruth {
    uint32_t category;
    Truth truth;
  };

  void order_detections(std::span<const Candidate> candidates);
  void order_truths();
  void match_task(IouKind kind, uint32_t category, const Task& task, ImageOutcome& result);

  const dataset::CocoDataset& ground_truth_;
  MatchOptions options_;
  PairFinder finder_;
  size_t image_index_ = 0;
  const LvisImage* lvis_ = nullptr;
  std::vector<const Candidate*> detections_;
  std::vector<RankedTruth> truths_;
  std::vector<Truth> group_truths_;
};

// Nothing where the dataset does not have the category. Candidates point to the masks of what they
// are made from.
void add_candidate(const dataset::CocoDataset& ground_truth,
                   const Detection& detection,
                   std::vector<Candidate>& candidates);
void add_candidate(const ResultRecord& record, std::vector<Candidate>& candidates);
std::vector<Candidate> to_candidates(const dataset::CocoDataset& ground_truth,
                                     std::span<const Detection> detections);

// An ImageMatcher for one image. Pure; any number of threads may call it.
ImageOutcome match_image(const dataset::CocoDataset& ground_truth,
                         size_t image_index,
                         std::span<const Detection> detections,
                         const MatchOptions& options,
                         const LvisImage* lvis = nullptr);

}  // namespace atl::eval::internal
