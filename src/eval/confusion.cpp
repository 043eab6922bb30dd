#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/check.h"
#include "base/parallel.h"
#include "eval/analysis.h"
#include "eval/boundary.h"
#include "eval/pairs.h"

namespace atl::eval {
namespace {

using dataset::Annotation;
using dataset::CocoDataset;
using dataset::Rle;

constexpr double kIou = 0.5;
constexpr size_t kImagesAtOnce = 8;

Rle mask_of(const Detection& detection, const dataset::Image& image) {
  return detection.mask.counts.empty() ? internal::box_as_mask(detection.box, image)
                                       : detection.mask;
}

std::vector<Rle> boundaries_of(const std::vector<Rle>& masks) {
  std::vector<Rle> result;
  result.reserve(masks.size());
  for (const Rle& mask : masks) result.push_back(internal::boundary_of(mask));
  return result;
}

// One image.
class ImageConfusion {
 public:
  ImageConfusion(const CocoDataset& dataset, size_t image, IouKind kind)
      : dataset_(dataset), image_(dataset.images()[image]), kind_(kind) {
    for (const Annotation& annotation : dataset.annotations_of(image)) {
      truths_.push_back(&annotation);
      crowd_.push_back(annotation.crowd ? 1 : 0);
    }
  }

  // add(truth, predicted), positions of categories, for each cell of the matrix that is met.
  // `detections` by falling score.
  template <typename Add>
  void count(std::span<const Detection* const> detections, Add&& add) const {
    const size_t none = dataset_.categories().size();
    const std::vector<double> ious =
        detections.empty() ? std::vector<double>() : overlap(detections);
    std::vector<bool> taken(truths_.size());
    for (size_t d = 0; d < detections.size(); ++d) {
      const auto own = std::span(ious).subspan(d * truths_.size(), truths_.size());
      const size_t category = position(detections[d]->category_id);
      const size_t best = best_of(own, taken, detections[d]->category_id);
      if (best < truths_.size()) {
        taken[best] = true;
        add(position(truths_[best]->category_id), category);
      } else if (!on_crowd(own)) {
        add(none, category);
      }
    }
    for (size_t g = 0; g < truths_.size(); ++g) {
      if (!taken[g] && crowd_[g] == 0) add(position(truths_[g]->category_id), none);
    }
  }

 private:
  size_t position(int64_t category_id) const {
    return static_cast<size_t>(*dataset_.label_of(category_id) - 1);
  }

  // The place of the ground truth that is taken; their number where it is none.
  size_t best_of(std::span<const double> ious, const std::vector<bool>& taken, int64_t own) const {
    size_t best = truths_.size();
    for (size_t g = 0; g < truths_.size(); ++g) {
      if (taken[g] || crowd_[g] != 0 || ious[g] < kIou) continue;
      const bool better = best == truths_.size() || ious[g] > ious[best] ||
                          (ious[g] == ious[best] && truths_[g]->category_id == own &&
                           truths_[best]->category_id != own);
      if (better) best = g;
    }
    return best;
  }

  bool on_crowd(std::span<const double> ious) const {
    for (size_t g = 0; g < truths_.size(); ++g) {
      if (crowd_[g] != 0 && ious[g] >= kIou) return true;
    }
    return false;
  }

  // (detections, truths)
  std::vector<double> overlap(std::span<const Detection* const> detections) const {
    if (kind_ == IouKind::kBox) {
      std::vector<std::array<double, 4>> boxes;
      std::vector<std::array<double, 4>> truth_boxes;
      for (const Detection* detection : detections) boxes.push_back(detection->box);
      for (const Annotation* truth : truths_) truth_boxes.push_back(truth->box);
      return dataset::box_iou(boxes, truth_boxes, crowd_);
    }
    std::vector<Rle> masks;
    std::vector<Rle> truth_masks;
    for (const Detection* detection : detections) masks.push_back(mask_of(*detection, image_));
    for (const Annotation* truth : truths_) truth_masks.push_back(dataset_.mask_of(*truth));
    std::vector<double> ious = dataset::rle_iou(masks, truth_masks, crowd_);
    if (kind_ == IouKind::kBoundary) {
      const auto boundary_ious =
          dataset::rle_iou(boundaries_of(masks), boundaries_of(truth_masks), crowd_);
      for (size_t i = 0; i < ious.size(); ++i) {
        if (crowd_[i % truths_.size()] == 0) ious[i] = std::min(ious[i], boundary_ious[i]);
      }
    }
    return ious;
  }

  const CocoDataset& dataset_;
  const dataset::Image image_;
  IouKind kind_;
  std::vector<const Annotation*> truths_;
  std::vector<uint8_t> crowd_;
};

// Those that count, by falling score: the best of each category, at or above its threshold.
std::vector<const Detection*> chosen(const CocoDataset& dataset,
                                     std::vector<const Detection*> detections,
                                     std::span<const double> thresholds,
                                     size_t max_detections) {
  std::ranges::stable_sort(detections, std::greater<>(), &Detection::score);
  std::vector<size_t> seen(thresholds.size());
  std::erase_if(detections, [&](const Detection* each) {
    const auto category = static_cast<size_t>(*dataset.label_of(each->category_id) - 1);
    return ++seen[category] > max_detections || !(each->score >= thresholds[category]);
  });
  return detections;
}

}  // namespace

std::vector<double> score_thresholds(const Curves& curves, double otherwise) {
  std::vector<double> scores;
  for (const auto& best : curves.best_f1) scores.push_back(best ? best->score : otherwise);
  return scores;
}

Confusion confuse(const CocoDataset& ground_truth,
                  std::span<const Detection> detections,
                  std::vector<double> thresholds,
                  const ConfusionOptions& options) {
  const size_t side = ground_truth.categories().size() + 1;
  ATOLL_CHECK(thresholds.size() + 1 == side) << thresholds.size();
  std::vector<std::vector<const Detection*>> of_images(ground_truth.images().size());
  for (const Detection& detection : detections) {
    const auto image = ground_truth.image_index(detection.image_id);
    if (!image || !ground_truth.label_of(detection.category_id)) continue;
    // A score that is no number is above no threshold, and cannot be sorted.
    if (!std::isnan(detection.score)) of_images[*image].push_back(&detection);
  }
  std::vector<std::vector<size_t>> cells(of_images.size());
  parallel_for(of_images.size(),
               options.threads > 0 ? options.threads : available_cpus(),
               kImagesAtOnce,
               [&](size_t begin, size_t end) {
                 for (size_t image = begin; image < end; ++image) {
                   const auto own = chosen(ground_truth,
                                           std::move(of_images[image]),
                                           thresholds,
                                           static_cast<size_t>(options.max_detections));
                   ImageConfusion(ground_truth, image, options.kind)
                       .count(own, [&](size_t truth, size_t predicted) {
                         cells[image].push_back(truth * side + predicted);
                       });
                 }
               });
  Confusion confusion{std::move(thresholds), std::vector<uint64_t>(side * side)};
  for (const auto& of_image : cells) {
    for (const size_t cell : of_image) ++confusion.counts[cell];
  }
  return confusion;
}

}  // namespace atl::eval
