// Private to the room: the CPU kernels that ops.cpp registers. Arguments were checked there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>
#include <vector>

// An inner loop compiled for AVX-512, for AVX2 and for any x86-64; the loader picks. The results
// are the same: the build forbids contraction to fused multiply-adds. Template bodies that such a
// function calls must be ATOLL_INLINE, so that they are compiled for its target, too.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ATOLL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ATOLL_CLONES
#endif
#define ATOLL_INLINE inline __attribute__((always_inline))

namespace atl::ops::cpu {

at::Tensor roi_align(at::TensorList features,
                     const at::Tensor& rois,
                     const at::Tensor& levels,
                     at::ArrayRef<double> scales,
                     int64_t pooled_size,
                     int64_t sampling_ratio,
                     bool aligned);
std::vector<at::Tensor> roi_align_backward(const at::Tensor& gradient,
                                           const at::Tensor& rois,
                                           const at::Tensor& levels,
                                           at::ArrayRef<double> scales,
                                           int64_t images,
                                           at::IntArrayRef heights,
                                           at::IntArrayRef widths,
                                           int64_t sampling_ratio,
                                           bool aligned);
at::Tensor batched_nms(const at::Tensor& boxes,
                       const at::Tensor& scores,
                       const at::Tensor& groups,
                       double iou_threshold);
at::Tensor match_boxes(const at::Tensor& ground_truth,
                       const at::Tensor& candidates,
                       double high_threshold,
                       double low_threshold,
                       bool allow_low_quality);
at::Tensor mask_targets(const at::Tensor& counts,
                        const at::Tensor& offsets,
                        int64_t height,
                        int64_t width,
                        const at::Tensor& boxes,
                        const at::Tensor& ground_truth_index,
                        int64_t mask_size);
// Runs of all detections one after the other (total,) int32, and where each begins (D + 1,) int64.
std::tuple<at::Tensor, at::Tensor> paste_masks(const at::Tensor& masks,
                                               const at::Tensor& boxes,
                                               int64_t height,
                                               int64_t width,
                                               double threshold);

}  // namespace atl::ops::cpu
