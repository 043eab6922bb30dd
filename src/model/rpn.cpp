#include "model/rpn.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "model/boxes.h"
#include "model/losses.h"
#include "model/sampling.h"

namespace atl::model {
namespace {

constexpr ops::BoxWeights kPlainDeltas = {1, 1, 1, 1};
constexpr double kInitDeviation = 0.01;

// (N, r c, H, W) -> (N, H W r, c); a view of a channels-last map.
at::Tensor by_anchor(const at::Tensor& map, int64_t values) {
  return map.permute({0, 2, 3, 1}).reshape({map.size(0), -1, values});
}

at::Tensor concatenate(const std::vector<at::Tensor>& maps, int64_t values) {
  std::vector<at::Tensor> flat;
  flat.reserve(maps.size());
  for (const at::Tensor& map : maps) flat.push_back(by_anchor(map, values));
  return at::cat(flat, 1);
}

at::Tensor indices(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

// The sampled anchors of a batch, ordered by level.
struct Rpn::Samples {
  struct Anchor {
    int64_t level = 0;
    int64_t image = 0;
    int64_t index = 0;  // of all levels
    int64_t index_in_level = 0;
    int64_t truth = -1;  // index into all ground truths of the batch, -1: background
  };
  std::vector<Anchor> anchors;
};

struct Rpn::Predictions {
  at::Tensor logits;  // (S,)
  at::Tensor deltas;  // (S, 4)
};

Rpn::Rpn(ParameterSet& parameters, const ModelConfig& config)
    : config_(config), ratios_(static_cast<int64_t>(config.anchor_ratios.size())) {
  const int64_t channels = config.fpn_channels;
  const Init init = normal(kInitDeviation);
  for (int64_t i = 0; i < config.rpn_convs; ++i) {
    convs_.push_back(
        make_conv(parameters, fmt::format("rpn.head.conv.{}.0", i), {channels, channels, 3}, init));
  }
  logits_ = make_conv(parameters, "rpn.head.cls_logits", {channels, ratios_, 1}, init);
  deltas_ = make_conv(parameters, "rpn.head.bbox_pred", {channels, 4 * ratios_, 1}, init);
}

Rpn::Maps Rpn::maps(at::TensorList features) const {
  Maps maps;
  for (const at::Tensor& feature : features) {
    at::Tensor hidden = feature;
    for (const Conv& conv : convs_) hidden = conv(hidden).relu_();
    maps.objectness.push_back(logits_(hidden));
    maps.box_deltas.push_back(deltas_(hidden));
  }
  return maps;
}

std::vector<at::Tensor> Rpn::proposals(const Maps& maps,
                                       const Anchors& anchors,
                                       std::span<const ImageBatch::Size> sizes,
                                       bool training) const {
  const at::NoGradGuard no_grad;
  const int64_t pre = training ? config_.rpn_pre_nms_top_n_train : config_.rpn_pre_nms_top_n_test;
  const int64_t post =
      training ? config_.rpn_post_nms_top_n_train : config_.rpn_post_nms_top_n_test;
  const at::Device device = anchors.boxes.device();
  const int64_t images = maps.objectness.front().size(0);
  std::vector<at::Tensor> scores;
  std::vector<at::Tensor> boxes;
  std::vector<at::Tensor> levels;
  int64_t first = 0;
  for (size_t l = 0; l < anchors.counts.size(); ++l) {
    const int64_t count = std::min(pre, anchors.counts[l]);
    const at::Tensor logits = by_anchor(maps.objectness[l], 1).squeeze(2).to(at::kFloat);
    const auto [top, index] = logits.topk(count, 1);  // (N, count)
    const at::Tensor deltas = by_anchor(maps.box_deltas[l], 4)
                                  .to(at::kFloat)
                                  .gather(1, index.unsqueeze(2).expand({images, count, 4}));
    const at::Tensor base =
        anchors.boxes.narrow(0, first, anchors.counts[l]).index_select(0, index.view({-1}));
    boxes.push_back(
        ops::decode_boxes(deltas.view({-1, 4}), base, kPlainDeltas).view({images, count, 4}));
    scores.push_back(top.sigmoid());
    levels.push_back(
        at::full({count}, static_cast<int64_t>(l), at::TensorOptions(device).dtype(at::kLong)));
    first += anchors.counts[l];
  }
  const at::Tensor all_scores = at::cat(scores, 1);
  const at::Tensor all_boxes = at::cat(boxes, 1);
  const at::Tensor all_levels = at::cat(levels);
  std::vector<at::Tensor> proposals;
  for (int64_t n = 0; n < images; ++n) {
    const auto& size = sizes[static_cast<size_t>(n)];
    const at::Tensor clipped = clip_boxes(all_boxes[n], size);
    const at::Tensor usable = large_boxes(clipped, config_.rpn_min_size_px)
                                  .logical_and_(all_scores[n] >= config_.rpn_score_threshold)
                                  .nonzero()
                                  .squeeze(1);
    const at::Tensor candidates = clipped.index_select(0, usable);
    const at::Tensor kept = ops::batched_nms(candidates,
                                             all_scores[n].index_select(0, usable),
                                             all_levels.index_select(0, usable),
                                             config_.rpn_nms_threshold);
    proposals.push_back(
        candidates.index_select(0, kept.narrow(0, 0, std::min(post, kept.size(0)))));
  }
  return proposals;
}

Rpn::Samples Rpn::sample(const Anchors& anchors,
                         std::span<const at::Tensor> truths,
                         std::span<const int64_t> image_ids,
                         SamplingKey key) const {
  const int64_t total = anchors.boxes.size(0);
  std::vector<at::Tensor> matched;  // N times (A,)
  for (const at::Tensor& truth : truths) {
    matched.push_back(
        ops::match_boxes(truth, anchors.boxes, config_.rpn_fg_iou, config_.rpn_bg_iou, true));
  }
  const at::Tensor on_host = at::stack(matched).cpu();  // one copy for the batch
  Samples samples;
  std::vector<int64_t> labels(static_cast<size_t>(total));
  int64_t first_truth = 0;
  for (size_t n = 0; n < truths.size(); ++n) {
    const int64_t* const match =
        on_host.const_data_ptr<int64_t>() + static_cast<int64_t>(n) * total;
    for (int64_t a = 0; a < total; ++a) {
      labels[static_cast<size_t>(a)] =
          match[a] >= 0 ? 1 : (match[a] == ops::kBelowLowThreshold ? 0 : -1);
    }
    const Sample drawn = sample_balanced(labels,
                                         config_.rpn_batch_per_image,
                                         config_.rpn_positive_fraction,
                                         key,
                                         image_ids[n],
                                         SamplingPurpose::kAnchors);
    const auto image = static_cast<int64_t>(n);
    for (const int64_t a : drawn.positives) {
      samples.anchors.push_back({0, image, a, 0, first_truth + match[a]});
    }
    for (const int64_t a : drawn.negatives) samples.anchors.push_back({0, image, a, 0, -1});
    first_truth += truths[n].size(0);
  }
  for (auto& anchor : samples.anchors) {
    anchor.index_in_level = anchor.index;
    while (anchor.index_in_level >= anchors.counts[static_cast<size_t>(anchor.level)]) {
      anchor.index_in_level -= anchors.counts[static_cast<size_t>(anchor.level++)];
    }
  }
  std::stable_sort(samples.anchors.begin(),
                   samples.anchors.end(),
                   [](const auto& a, const auto& b) { return a.level < b.level; });
  return samples;
}

Rpn::Predictions Rpn::predict_patches(at::TensorList features, const Samples& samples) const {
  const int64_t channels = config_.fpn_channels;
  const at::Device device = features[0].device();
  std::vector<at::Tensor> patches;
  std::vector<int64_t> ratio;
  auto anchor = samples.anchors.begin();
  for (size_t l = 0; l < features.size(); ++l) {
    const int64_t height = features[l].size(2);
    const int64_t width = features[l].size(3);
    std::vector<int64_t> cells;  // nine a sample
    std::vector<float> inside;   // 0 where the patch leaves the map
    for (; anchor != samples.anchors.end() && anchor->level == static_cast<int64_t>(l); ++anchor) {
      ratio.push_back(anchor->index_in_level % ratios_);
      const int64_t cell = anchor->index_in_level / ratios_;
      for (int64_t dy = -1; dy <= 1; ++dy) {
        for (int64_t dx = -1; dx <= 1; ++dx) {
          const int64_t y = cell / width + dy;
          const int64_t x = cell % width + dx;
          const bool in_map = y >= 0 && y < height && x >= 0 && x < width;
          cells.push_back(in_map ? (anchor->image * height + y) * width + x : 0);
          inside.push_back(in_map ? 1.0F : 0.0F);
        }
      }
    }
    const at::Tensor rows = features[l].permute({0, 2, 3, 1}).reshape({-1, channels});
    const at::Tensor mask = at::tensor(inside, at::kFloat).to(device).unsqueeze(1);
    patches.push_back(
        (rows.index_select(0, indices(cells, device)) * mask).view({-1, 9 * channels}));
  }
  const Conv& conv = convs_.front();
  const at::Tensor weight = conv.weight.permute({0, 2, 3, 1}).reshape({channels, 9 * channels});
  const at::Tensor hidden = at::linear(at::cat(patches), weight, conv.bias).relu_();  // (S, C)
  const auto head = [&](const Conv& layer) {
    return at::linear(hidden, layer.weight.view({-1, channels}), layer.bias);
  };
  const at::Tensor column = indices(ratio, device).unsqueeze(1);  // (S, 1)
  return {head(logits_).gather(1, column).squeeze(1),
          head(deltas_)
              .view({-1, ratios_, 4})
              .gather(1, column.unsqueeze(2).expand({-1, 1, 4}))
              .squeeze(1)};
}

Rpn::Predictions Rpn::predict_maps(const Maps& maps,
                                   const Samples& samples,
                                   int64_t anchors) const {
  std::vector<int64_t> rows;
  for (const auto& anchor : samples.anchors) rows.push_back(anchor.image * anchors + anchor.index);
  const at::Tensor index = indices(rows, maps.objectness.front().device());
  return {concatenate(maps.objectness, 1).view({-1}).index_select(0, index),
          concatenate(maps.box_deltas, 4).view({-1, 4}).index_select(0, index)};
}

Rpn::Loss Rpn::loss(at::TensorList features,
                    const Maps& maps,
                    const Anchors& anchors,
                    std::span<const at::Tensor> truths,
                    std::span<const int64_t> image_ids,
                    SamplingKey key) const {
  const at::Device device = anchors.boxes.device();
  const Samples samples = sample(anchors, truths, image_ids, key);
  std::vector<float> labels;
  std::vector<int64_t> positive;  // rows of the samples
  std::vector<int64_t> anchor_rows;
  std::vector<int64_t> truth_rows;
  for (const auto& anchor : samples.anchors) {
    if (anchor.truth >= 0) {
      positive.push_back(static_cast<int64_t>(labels.size()));
      anchor_rows.push_back(anchor.index);
      truth_rows.push_back(anchor.truth);
    }
    labels.push_back(anchor.truth >= 0 ? 1.0F : 0.0F);
  }
  const Predictions predicted = sparse_loss() ? predict_patches(features, samples)
                                              : predict_maps(maps, samples, anchors.boxes.size(0));
  const at::Tensor all_truths = at::cat(at::TensorList(truths.data(), truths.size()));
  const at::Tensor wanted =
      ops::encode_boxes(all_truths.index_select(0, indices(truth_rows, device)),
                        anchors.boxes.index_select(0, indices(anchor_rows, device)),
                        kPlainDeltas);
  return {binary_cross_entropy_sum(predicted.logits, at::tensor(labels, at::kFloat).to(device)),
          smooth_l1_sum(predicted.deltas.index_select(0, indices(positive, device)), wanted),
          static_cast<int64_t>(labels.size())};
}

}  // namespace atl::model
