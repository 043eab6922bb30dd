#include "model/box_head.h"

#include <ATen/ATen.h>

namespace atl::model {

BoxHead::BoxHead(ParameterSet& parameters, const ModelConfig& config)
    : pool_size_(config.box_pool_size) {
  const int64_t channels = config.box_head_channels;
  const int64_t pooled = config.fpn_channels * pool_size_ * pool_size_;
  fc6_ = make_linear(parameters, "roi_heads.box_head.fc6", pooled, channels);
  fc7_ = make_linear(parameters, "roi_heads.box_head.fc7", channels, channels);
  scores_ =
      make_linear(parameters, "roi_heads.box_predictor.cls_score", channels, config.num_classes);
  deltas_ = make_linear(
      parameters, "roi_heads.box_predictor.bbox_pred", channels, 4 * config.num_classes);
}

BoxHead::Outputs BoxHead::forward(const at::Tensor& pooled) const {
  // fc6's columns are in torch's order (channel, y, x), so the pooled features are, too.
  at::Tensor x = fc6_(pooled.contiguous().flatten(1)).relu_();
  x = fc7_(x).relu_();
  return {scores_(x), deltas_(x)};
}

}  // namespace atl::model
