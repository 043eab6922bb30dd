#include "model/roi_heads.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "model/boxes.h"
#include "model/losses.h"
#include "model/sampling.h"

namespace atl::model {
namespace {

constexpr int64_t kFirstLevel = 2;  // P2 to P5 are pooled
constexpr int64_t kLastLevel = 5;
const std::vector<double> kScales = {1.0 / 4, 1.0 / 8, 1.0 / 16, 1.0 / 32};

at::Tensor indices(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

// The sampled RoIs of a batch, images one after the other.
struct RoiHeads::Rois {
  std::vector<at::Tensor> boxes;           // N times (R_n, 4)
  std::vector<int64_t> labels;             // R, 0 background
  std::vector<int64_t> positive;           // Q rows of the R
  std::vector<int64_t> positive_label;     // Q
  at::Tensor deltas;                       // (Q, 4) wanted
  std::vector<at::Tensor> positive_boxes;  // N times (Q_n, 4)
  std::vector<at::Tensor> positive_truth;  // N times (Q_n,) index into the image's ground truths
};

RoiHeads::RoiHeads(ParameterSet& parameters, const ModelConfig& config)
    : config_(config), box_head_(parameters, config), mask_head_(parameters, config) {}

at::Tensor RoiHeads::pool(at::TensorList features,
                          std::span<const at::Tensor> boxes,
                          int64_t size,
                          int64_t sampling) const {
  std::vector<at::Tensor> images;
  for (size_t n = 0; n < boxes.size(); ++n) {
    images.push_back(at::full(
        {boxes[n].size(0), 1}, static_cast<double>(n), boxes[n].options().dtype(at::kFloat)));
  }
  const at::Tensor all = at::cat(at::TensorList(boxes.data(), boxes.size()));
  return ops::roi_align(features.slice(0, kScales.size()),
                        at::cat({at::cat(images), all}, 1),
                        ops::assign_levels(all, kFirstLevel, kLastLevel),
                        kScales,
                        size,
                        sampling);
}

RoiHeads::Rois RoiHeads::select(std::span<const at::Tensor> proposals,
                                std::span<const Target> targets,
                                std::span<const int64_t> image_ids,
                                SamplingKey key) const {
  const at::NoGradGuard no_grad;
  const at::Device device = proposals.front().device();
  Rois rois;
  std::vector<at::Tensor> wanted;
  for (size_t n = 0; n < proposals.size(); ++n) {
    const at::Tensor& truth = targets[n].boxes;
    const at::Tensor candidates = at::cat({proposals[n], truth});
    const at::Tensor matched =
        ops::match_boxes(truth, candidates, config_.box_fg_iou, config_.box_bg_iou, false).cpu();
    const at::Tensor truth_labels = targets[n].labels.cpu().contiguous();
    const int64_t* const match = matched.const_data_ptr<int64_t>();
    const int64_t* const truth_label = truth_labels.const_data_ptr<int64_t>();
    std::vector<int64_t> labels(static_cast<size_t>(matched.size(0)));
    for (size_t i = 0; i < labels.size(); ++i) {
      labels[i] =
          match[i] >= 0 ? truth_label[match[i]] : (match[i] == ops::kBelowLowThreshold ? 0 : -1);
    }
    const Sample drawn = sample_balanced(labels,
                                         config_.box_batch_per_image,
                                         config_.box_positive_fraction,
                                         key,
                                         image_ids[n],
                                         SamplingPurpose::kBoxes);
    std::vector<int64_t> rows;
    std::merge(drawn.positives.begin(),
               drawn.positives.end(),
               drawn.negatives.begin(),
               drawn.negatives.end(),
               std::back_inserter(rows));
    std::vector<int64_t> truth_rows;
    for (const int64_t row : rows) {
      const int64_t label = labels[static_cast<size_t>(row)];
      if (label > 0) {
        rois.positive.push_back(static_cast<int64_t>(rois.labels.size()));
        rois.positive_label.push_back(label);
        truth_rows.push_back(match[row]);
      }
      rois.labels.push_back(label);
    }
    rois.boxes.push_back(candidates.index_select(0, indices(rows, device)));
    rois.positive_boxes.push_back(candidates.index_select(0, indices(drawn.positives, device)));
    rois.positive_truth.push_back(indices(truth_rows, device));
    wanted.push_back(ops::encode_boxes(truth.index_select(0, rois.positive_truth.back()),
                                       rois.positive_boxes.back(),
                                       config_.box_weights));
  }
  rois.deltas = at::cat(wanted);
  return rois;
}

RoiHeads::Loss RoiHeads::loss(at::TensorList features,
                              std::span<const at::Tensor> proposals,
                              std::span<const Target> targets,
                              std::span<const int64_t> image_ids,
                              SamplingKey key) const {
  const at::Device device = features[0].device();
  const Rois rois = select(proposals, targets, image_ids, key);
  const auto outputs = box_head_.forward(
      pool(features, rois.boxes, config_.box_pool_size, config_.box_pool_sampling));
  std::vector<int64_t> delta_rows;  // of (R K, 4): the deltas of the RoI's own class
  for (size_t i = 0; i < rois.positive.size(); ++i) {
    delta_rows.push_back(rois.positive[i] * config_.num_classes + rois.positive_label[i]);
  }
  const at::Tensor deltas =
      outputs.box_deltas.view({-1, 4}).index_select(0, indices(delta_rows, device));
  Loss loss;
  loss.classifier = cross_entropy_sum(outputs.class_logits, indices(rois.labels, device));
  loss.box = smooth_l1_sum(deltas, rois.deltas);
  loss.rois = static_cast<int64_t>(rois.labels.size());
  add_mask_loss(loss, features, rois, targets);
  return loss;
}

void RoiHeads::add_mask_loss(Loss& loss,
                             at::TensorList features,
                             const Rois& rois,
                             std::span<const Target> targets) const {
  const at::Tensor logits = mask_head_.forward(
      pool(features, rois.positive_boxes, config_.mask_pool_size, config_.mask_pool_sampling),
      indices(rois.positive_label, features[0].device()));
  std::vector<at::Tensor> wanted;
  for (size_t n = 0; n < targets.size(); ++n) {
    wanted.push_back(ops::mask_targets(
        targets[n].masks, rois.positive_boxes[n], rois.positive_truth[n], logits.size(2)));
  }
  loss.mask = binary_cross_entropy_sum(logits, at::cat(wanted));
  loss.mask_cells = logits.numel();
}

// scores (R, K), boxes (R, K, 4) of one image, without masks yet.
Detections RoiHeads::find_boxes(const at::Tensor& scores,
                                const at::Tensor& boxes,
                                ImageBatch::Size size) const {
  const int64_t classes = config_.num_classes - 1;  // without the background
  const at::Tensor class_scores = scores.narrow(1, 1, classes).reshape({-1});
  const at::Tensor promising = (class_scores > config_.box_score_threshold).nonzero().squeeze(1);
  const at::Tensor clipped =
      clip_boxes(boxes.narrow(1, 1, classes).reshape({-1, 4}).index_select(0, promising), size);
  const at::Tensor usable = large_boxes(clipped, config_.box_min_size_px).nonzero().squeeze(1);
  const at::Tensor rows = promising.index_select(0, usable);
  Detections found;
  found.boxes = clipped.index_select(0, usable);
  found.scores = class_scores.index_select(0, rows);
  found.labels = rows.remainder(classes) + 1;
  at::Tensor kept =
      ops::batched_nms(found.boxes, found.scores, found.labels, config_.box_nms_threshold);
  kept = kept.narrow(0, 0, std::min(config_.detections_per_image, kept.size(0)));
  found.boxes = found.boxes.index_select(0, kept);
  found.scores = found.scores.index_select(0, kept);
  found.labels = found.labels.index_select(0, kept);
  return found;
}

std::vector<Detections> RoiHeads::detect(at::TensorList features,
                                         std::span<const at::Tensor> proposals,
                                         std::span<const ImageBatch::Size> sizes) const {
  const auto outputs = box_head_.forward(
      pool(features, proposals, config_.box_pool_size, config_.box_pool_sampling));
  const at::Tensor scores = outputs.class_logits.to(at::kFloat).softmax(1);  // (R, K)
  const at::Tensor boxes =                                                   // (R, K, 4)
      ops::decode_boxes(outputs.box_deltas.to(at::kFloat),
                        at::cat(at::TensorList(proposals.data(), proposals.size())),
                        config_.box_weights);
  std::vector<Detections> detections;
  std::vector<at::Tensor> found_boxes;
  std::vector<at::Tensor> found_labels;
  int64_t first = 0;
  for (size_t n = 0; n < proposals.size(); ++n) {
    const int64_t count = proposals[n].size(0);
    detections.push_back(
        find_boxes(scores.narrow(0, first, count), boxes.narrow(0, first, count), sizes[n]));
    found_boxes.push_back(detections.back().boxes);
    found_labels.push_back(detections.back().labels);
    first += count;
  }
  const at::Tensor masks =
      mask_head_
          .forward(pool(features, found_boxes, config_.mask_pool_size, config_.mask_pool_sampling),
                   at::cat(found_labels))
          .to(at::kFloat)
          .sigmoid();
  first = 0;
  for (Detections& found : detections) {
    found.masks = masks.narrow(0, first, found.boxes.size(0));
    first += found.boxes.size(0);
  }
  return detections;
}

}  // namespace atl::model
