// Second stage: RoIs out of the proposals, box head, mask head, and their losses or detections.
//
// Legend: N images, R RoIs of the batch, Q those that are objects (positive), G ground truths of an
// image, K classes with the background, P pooled size, M mask size, D detections of an image.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "model/box_head.h"
#include "model/mask_head.h"
#include "model/mask_rcnn.h"

namespace atl::model {

class RoiHeads {
 public:
  RoiHeads(ParameterSet& parameters, const ModelConfig& config);

  // Sums: the first two over the RoIs, by whose number they are to be divided, the third over the cells
  // of the positive ones' masks.
  struct Loss {
    at::Tensor classifier;
    at::Tensor box;
    at::Tensor mask;
    int64_t rois = 0;        // R
    int64_t mask_cells = 0;  // Q M M
  };
  // features: P2..P5 (more are ignored); proposals: N times (R, 4); targets with boxes on the
  // device.
  Loss loss(at::TensorList features,
            std::span<const at::Tensor> proposals,
            std::span<const Target> targets,
            std::span<const int64_t> image_ids,
            SamplingKey key) const;
  std::vector<Detections> detect(at::TensorList features,
                                 std::span<const at::Tensor> proposals,
                                 std::span<const ImageBatch::Size> sizes) const;

 private:
  struct Rois;
  Rois select(std::span<const at::Tensor> proposals,
              std::span<const Target> targets,
              std::span<const int64_t> image_ids,
              SamplingKey key) const;
  void add_mask_loss(Loss& loss,
                     at::TensorList features,
                     const Rois& rois,
                     std::span<const Target> targets) const;
  Detections find_boxes(const at::Tensor& scores,
                        const at::Tensor& boxes,
                        ImageBatch::Size size) const;
  at::Tensor pool(at::TensorList features,
                  std::span<const at::Tensor> boxes,
                  int64_t size,
                  int64_t sampling) const;

  ModelConfig config_;
  BoxHead box_head_;
  MaskHead mask_head_;
};

}  // namespace atl::model
