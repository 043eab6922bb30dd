// Region proposal network (Ren et al. 2015): for every anchor a logit (object or not) and four box
// deltas.
//
// Legend: N images, L levels, r anchors a cell, A anchors of all levels, S sampled anchors of the
// batch, G ground truths of an image, R proposals of an image.
//
// Only the S sampled anchors (at most 256 an image, of up to 250,000) have a loss. So, with one
// hidden convolution, the training pass over whole maps runs without gradients, for the proposals
// alone, and the head is computed once more with gradients on the 3 x 3 patches under the sampled
// anchors: the same sums, without a backward convolution over maps that are zero nearly everywhere
// and without keeping the hidden maps.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "model/anchors.h"
#include "model/layers.h"
#include "model/mask_rcnn.h"

namespace atl::model {

class Rpn {
 public:
  Rpn(ParameterSet& parameters, const ModelConfig& config);

  // L times (N, r, H_l, W_l) and (N, 4 r, H_l, W_l).
  struct Maps {
    std::vector<at::Tensor> objectness;
    std::vector<at::Tensor> box_deltas;
  };
  Maps maps(at::TensorList features) const;

  // N times (R, 4), by decreasing score. No gradients.
  std::vector<at::Tensor> proposals(const Maps& maps,
                                    const Anchors& anchors,
                                    std::span<const ImageBatch::Size> sizes,
                                    bool training) const;

  // Sums over the sampled anchors, by whose number both are to be divided.
  struct Loss {
    at::Tensor objectness;
    at::Tensor box;
    int64_t anchors = 0;  // S
  };
  // truths: N times (G, 4) on the device.
  Loss loss(at::TensorList features,
            const Maps& maps,
            const Anchors& anchors,
            std::span<const at::Tensor> truths,
            std::span<const int64_t> image_ids,
            SamplingKey key) const;

  // True when loss() does not need gradients through the maps.
  bool sparse_loss() const { return convs_.size() == 1; }

 private:
  struct Samples;
  struct Predictions;
  Samples sample(const Anchors& anchors,
                 std::span<const at::Tensor> truths,
                 std::span<const int64_t> image_ids,
                 SamplingKey key) const;
  Predictions predict_patches(at::TensorList features, const Samples& samples) const;
  Predictions predict_maps(const Maps& maps, const Samples& samples, int64_t anchors) const;

  ModelConfig config_;
  int64_t ratios_;
  std::vector<Conv> convs_;
  Conv logits_;
  Conv deltas_;
};

}  // namespace atl::model
