// The whole network on a page: backbone, pyramid, proposals, heads.
#include "model/mask_rcnn.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/check.h"
#include "model/anchors.h"
#include "model/fpn.h"
#include "model/losses.h"
#include "model/resnet.h"
#include "model/roi_heads.h"
#include "model/rpn.h"

namespace atl::model {
namespace {

constexpr int64_t kSizeDivisor_px = 32;  // P5's stride

}  // namespace

struct MaskRcnn::Impl {
  Impl(const ModelConfig& given, at::Device device, std::optional<uint64_t> seed)
      : config(given),
        parameters(device, seed),
        resnet(parameters, config),
        fpn(parameters, resnet.channels(), config.fpn_channels),
        rpn(parameters, config),
        roi_heads(parameters, config),
        anchor_maker(config, device) {}

  std::vector<at::Tensor> features(const ImageBatch& images,
                                   bool training,
                                   const Ranks& ranks) const {
    ATOLL_CHECK(images.pixels.size(2) % kSizeDivisor_px == 0 &&
                images.pixels.size(3) % kSizeDivisor_px == 0)
        << images.pixels.size(2) << ' ' << images.pixels.size(3);
    return fpn.forward(resnet.forward(images.pixels, training, ranks));
  }
  const Anchors& anchors(at::TensorList features, const ImageBatch& images) {
    return anchor_maker.get(features, images.pixels.size(2), images.pixels.size(3));
  }

  ModelConfig config;
  ParameterSet parameters;
  ResNet resnet;
  Fpn fpn;
  Rpn rpn;
  RoiHeads roi_heads;
  AnchorMaker anchor_maker;
};

MaskRcnn::MaskRcnn(const ModelConfig& config, at::Device device, std::optional<uint64_t> seed)
    : impl_(std::make_unique<Impl>(config, device, seed)) {}
MaskRcnn::~MaskRcnn() = default;
MaskRcnn::MaskRcnn(MaskRcnn&&) noexcept = default;

const ModelConfig& MaskRcnn::config() const { return impl_->config; }
at::Device MaskRcnn::device() const { return impl_->parameters.device(); }
const std::vector<Parameter>& MaskRcnn::parameters() const {
  return impl_->parameters.parameters();
}
const std::map<std::string, at::Tensor>& MaskRcnn::state() const {
  return impl_->parameters.state();
}

Losses MaskRcnn::loss(const ImageBatch& images,
                      std::span<const Target> targets,
                      SamplingKey key,
                      const Ranks& ranks) {
  ATOLL_CHECK(targets.size() == images.sizes.size() && targets.size() == images.image_ids.size())
      << targets.size() << ' ' << images.sizes.size() << ' ' << images.image_ids.size();
  std::vector<Target> on_device(targets.begin(), targets.end());
  std::vector<at::Tensor> truths;
  for (Target& target : on_device) {
    target.boxes = target.boxes.to(device(), at::kFloat).view({-1, 4});
    truths.push_back(target.boxes);
  }
  const auto features = impl_->features(images, true, ranks);
  const Anchors& anchors = impl_->anchors(features, images);
  Rpn::Maps maps;
  {
    const at::AutoGradMode gradients(!impl_->rpn.sparse_loss());
    maps = impl_->rpn.maps(features);
  }
  const auto proposals = impl_->rpn.proposals(maps, anchors, images.sizes, true);
  auto first = impl_->rpn.loss(features, maps, anchors, truths, images.image_ids, key);
  auto second = impl_->roi_heads.loss(features, proposals, on_device, images.image_ids, key);
  if (ranks.placeholder) {
    for (at::Tensor* sum :
         {&first.objectness, &first.box, &second.classifier, &second.box, &second.mask}) {
      *sum = *sum * 0;
    }
    first.anchors = second.rois = second.mask_cells = 0;
  }
  if (ranks.sum) {
    const at::Tensor counts =
        at::tensor({first.anchors, second.rois, second.mask_cells}, at::kLong);
    ranks.sum(counts);
    const int64_t* const all = counts.const_data_ptr<int64_t>();
    first.anchors = all[0];
    second.rois = all[1];
    second.mask_cells = all[2];
  }
  return {mean_of(first.objectness, first.anchors),
          mean_of(first.box, first.anchors),
          mean_of(second.classifier, second.rois),
          mean_of(second.box, second.rois),
          mean_of(second.mask, second.mask_cells)};
}

std::vector<Detections> MaskRcnn::detect(const ImageBatch& images) {
  const at::NoGradGuard no_grad;
  const auto features = impl_->features(images, false, {});
  const auto proposals = impl_->rpn.proposals(
      impl_->rpn.maps(features), impl_->anchors(features, images), images.sizes, false);
  return impl_->roi_heads.detect(features, proposals, images.sizes);
}

MaskRcnn::Trace MaskRcnn::forward_stages(const ImageBatch& images) {
  const at::NoGradGuard no_grad;
  Trace trace;
  trace.features = impl_->features(images, false, {});
  auto maps = impl_->rpn.maps(trace.features);
  trace.proposals =
      impl_->rpn.proposals(maps, impl_->anchors(trace.features, images), images.sizes, false);
  trace.objectness = std::move(maps.objectness);
  trace.box_deltas = std::move(maps.box_deltas);
  return trace;
}

at::Tensor Losses::total() const { return classifier + box + mask + rpn_objectness + rpn_box; }

std::vector<std::pair<std::string, at::Tensor>> Losses::named() const {
  return {{"loss_classifier", classifier},
          {"loss_box_reg", box},
          {"loss_mask", mask},
          {"loss_objectness", rpn_objectness},
          {"loss_rpn_box_reg", rpn_box}};
}

void rescale(Detections& detections, ImageBatch::Size resized, ImageBatch::Size original) {
  const auto ratio = [](int64_t to, int64_t from) {
    return static_cast<float>(to) / static_cast<float>(from);
  };
  const float x = ratio(original.width, resized.width);
  const float y = ratio(original.height, resized.height);
  detections.boxes = detections.boxes * at::tensor({x, y, x, y}).to(detections.boxes.device());
}

}  // namespace atl::model
