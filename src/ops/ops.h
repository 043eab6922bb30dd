// Tensor kernels of Mask R-CNN. Each is an operator of the dispatcher ("atoll::roi_align", …): the
// CPU kernels here are vectorised and threaded; any other device falls back to plain tensor code
// (reference.h), which is also what the tests hold the kernels against. A CUDA plug-in registers
// its own kernels under the same names.
//
// Boxes are (…, 4) f32 x1, y1, x2, y2 in pixels of the padded network input. N images, R boxes
// (rois), G ground truths, A anchors, C channels, P pooled size, M mask size. All results are
// deterministic: no atomics, sums in a fixed order whatever the number of threads. Errors:
// c10::Error with the operation and the shapes received.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace atl::ops {

// RoIAlign over all pyramid levels in one call; differentiable in the features.
// features: L tensors (N, C, H_l, W_l), f32 or bf16, fastest when channels-last;
// rois: (R, 5) f32 image index, x1, y1, x2, y2; levels: (R,) int64 in [0, L);
// scales: L factors from pixels to cells. Returns (R, C, P, P), channels-last, of the features'
// dtype. sampling_ratio <= 0: ceil(roi size / P) samples a bin, as torchvision. Source: He et al.
// 2017; torchvision.ops.roi_align (aligned = false there in Mask R-CNN).
at::Tensor roi_align(at::TensorList features,
                     const at::Tensor& rois,
                     const at::Tensor& levels,
                     const std::vector<double>& scales,
                     int64_t pooled_size,
                     int64_t sampling_ratio,
                     bool aligned = false);

// The level of each box by FPN's rule, as torchvision's LevelMapper:
//   floor(k0 + log2(sqrt(area) / s0) + 1e-6), clamped to [k_min, k_max], minus k_min.
// boxes (R, 4) -> (R,) int64.
at::Tensor assign_levels(const at::Tensor& boxes,
                         int64_t k_min,
                         int64_t k_max,
                         int64_t canonical_scale = 224,
                         int64_t canonical_level = 4);

// Indices of the boxes that survive, by decreasing score (equal scores: lower index first); boxes
// of different groups never suppress each other. boxes (R, 4), scores (R,), groups (R,) int64 ->
// (K,) int64. Suppression: IoU > threshold, areas as torchvision.ops.nms computes them.
at::Tensor batched_nms(const at::Tensor& boxes,
                       const at::Tensor& scores,
                       const at::Tensor& groups,
                       double iou_threshold);

inline constexpr int64_t kBelowLowThreshold = -1;
inline constexpr int64_t kBetweenThresholds = -2;

// torchvision's Matcher fused with box_iou: for each candidate the index of its best ground truth
// (the first of equals), or kBelowLowThreshold / kBetweenThresholds. allow_low_quality: every
// candidate that is, for some ground truth, a best one (ties included) keeps its own best ground
// truth. Two empty boxes (IoU 0 / 0) count as no overlap. The (G, A) IoU matrix is never held.
// ground_truth (G, 4), G may be 0; candidates (A, 4) ->
// (A,) int64.
at::Tensor match_boxes(const at::Tensor& ground_truth,
                       const at::Tensor& candidates,
                       double high_threshold,
                       double low_threshold,
                       bool allow_low_quality);

// torchvision's BoxCoder. encode: reference (R, 4) against proposals (R, 4) -> (R, 4);
// decode: deltas (R, 4 * K) on boxes (R, 4) -> (R, K, 4), dw and dh clamped to log(1000 / 16).
using BoxWeights = std::array<double, 4>;
at::Tensor encode_boxes(const at::Tensor& reference,
                        const at::Tensor& proposals,
                        const BoxWeights& weights);
at::Tensor decode_boxes(const at::Tensor& deltas,
                        const at::Tensor& boxes,
                        const BoxWeights& weights);

// Ground-truth masks as runs: counts (total,) int32 of all masks one after the other, column-major,
// zeros first; offsets (G + 1,) int64 into counts; all masks height x width. On the CPU.
struct MaskRuns {
  at::Tensor counts;
  at::Tensor offsets;
  int64_t height = 0;
  int64_t width = 0;
};

// Training targets of the mask head at mask resolution, straight from the runs: what
// roi_align(bitmap, boxes, (M, M), 1.0, sampling_ratio -1, aligned false) of the full-size bitmaps
// gives, without making them. boxes (R, 4), ground_truth_index (R,) int64 -> (R, M, M) f32 in [0,
// 1], on the boxes' device.
at::Tensor mask_targets(const MaskRuns& masks,
                        const at::Tensor& boxes,
                        const at::Tensor& ground_truth_index,
                        int64_t mask_size);

// One detection's mask at the image's size, as column-major runs, zeros first.
struct PastedMask {
  std::vector<uint32_t> counts;
};

// torchvision's paste_masks_in_image, thresholded, as runs: probability masks (D, M, M) f32 grown
// by one pixel, bilinearly stretched over boxes (D, 4), > threshold. No full-size bitmap. Runs on
// the CPU; moves its inputs there.
std::vector<PastedMask> paste_masks(const at::Tensor& masks,
                                    const at::Tensor& boxes,
                                    int64_t height,
                                    int64_t width,
                                    double threshold = 0.5);

}  // namespace atl::ops
