// The same operations in plain tensor code that runs on any device: the fall-back where there is no
// kernel, and what the kernels are tested against. Shapes and meanings as in ops.h.
#pragma once

#include "ops/ops.h"

namespace atl::ops::reference {

// Differentiable by autograd itself.
at::Tensor roi_align(at::TensorList features,
                     const at::Tensor& rois,
                     const at::Tensor& levels,
                     const std::vector<double>& scales,
                     int64_t pooled_size,
                     int64_t sampling_ratio,
                     bool aligned);
// The same map's adjoint: gradient (R, C, P, P) -> L gradients (images, C, heights[l], widths[l]).
std::vector<at::Tensor> roi_align_backward(const at::Tensor& gradient,
                                           const at::Tensor& rois,
                                           const at::Tensor& levels,
                                           const std::vector<double>& scales,
                                           int64_t images,
                                           at::IntArrayRef heights,
                                           at::IntArrayRef widths,
                                           int64_t sampling_ratio,
                                           bool aligned);
at::Tensor batched_nms(const at::Tensor& boxes,
                       const at::Tensor& scores,
                       const at::Tensor& groups,
                       double iou_threshold);
// Tiles over the candidates, so that memory stays bounded here, too.
at::Tensor match_boxes(const at::Tensor& ground_truth,
                       const at::Tensor& candidates,
                       double high_threshold,
                       double low_threshold,
                       bool allow_low_quality);
at::Tensor mask_targets(const MaskRuns& masks,
                        const at::Tensor& boxes,
                        const at::Tensor& ground_truth_index,
                        int64_t mask_size);
std::vector<PastedMask> paste_masks(const at::Tensor& masks,
                                    const at::Tensor& boxes,
                                    int64_t height,
                                    int64_t width,
                                    double threshold);

}  // namespace atl::ops::reference
