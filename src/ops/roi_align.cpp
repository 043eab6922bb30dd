// RoIAlign: its checks, its derivative and its registration (see checks.h).
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <string>

#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;
using Scales = at::ArrayRef<double>;

constexpr auto kRoiAlignSchema =
    "roi_align(Tensor[] features, Tensor rois, Tensor levels, float[] scales, int pooled_size, "
    "int sampling_ratio, bool aligned) -> Tensor";
constexpr auto kRoiAlignBackwardSchema =
    "roi_align_backward(Tensor gradient, Tensor rois, Tensor levels, float[] scales, int images, "
    "int[] heights, int[] widths, int sampling_ratio, bool aligned) -> Tensor[]";

Tensor call_roi_align(at::TensorList features,
                      const Tensor& rois,
                      const Tensor& levels,
                      Scales scales,
                      int64_t pooled_size,
                      int64_t sampling_ratio,
                      bool aligned) {
  static const auto handle = operation<decltype(call_roi_align)>("atoll::roi_align");
  return handle.call(features, rois, levels, scales, pooled_size, sampling_ratio, aligned);
}

std::vector<Tensor> call_roi_align_backward(const Tensor& gradient,
                                            const Tensor& rois,
                                            const Tensor& levels,
                                            Scales scales,
                                            int64_t images,
                                            at::IntArrayRef heights,
                                            at::IntArrayRef widths,
                                            int64_t sampling_ratio,
                                            bool aligned) {
  static const auto handle =
      operation<decltype(call_roi_align_backward)>("atoll::roi_align_backward");
  return handle.call(
      gradient, rois, levels, scales, images, heights, widths, sampling_ratio, aligned);
}

struct RoiAlignOptions {
  std::vector<double> scales;
  int64_t pooled_size = 0;
  int64_t sampling_ratio = 0;
  bool aligned = false;
};

class RoiAlign : public torch::autograd::Function<RoiAlign> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context,
                        at::TensorList features,
                        const Tensor& rois,
                        const Tensor& levels,
                        const RoiAlignOptions& options) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({rois, levels});
    std::vector<int64_t> heights, widths;
    for (const Tensor& feature : features) {
      heights.push_back(feature.size(2));
      widths.push_back(feature.size(3));
    }
    context->saved_data["images"] = features[0].size(0);
    context->saved_data["heights"] = heights;
    context->saved_data["widths"] = widths;
    context->saved_data["scales"] = options.scales;
    context->saved_data["sampling_ratio"] = options.sampling_ratio;
    context->saved_data["aligned"] = options.aligned;
    return call_roi_align(features,
                          rois,
                          levels,
                          options.scales,
                          options.pooled_size,
                          options.sampling_ratio,
                          options.aligned);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    auto result = call_roi_align_backward(gradients[0],
                                          saved[0],
                                          saved[1],
                                          data["scales"].toDoubleVector(),
                                          data["images"].toInt(),
                                          data["heights"].toIntVector(),
                                          data["widths"].toIntVector(),
                                          data["sampling_ratio"].toInt(),
                                          data["aligned"].toBool());
    // Nothing for the rois, the levels and the options.
    result.resize(result.size() + 3);
    return result;
  }
};

Tensor roi_align_autograd(at::TensorList features,
                          const Tensor& rois,
                          const Tensor& levels,
                          Scales scales,
                          int64_t pooled_size,
                          int64_t sampling_ratio,
                          bool aligned) {
  return RoiAlign::apply(
      features, rois, levels, RoiAlignOptions{scales.vec(), pooled_size, sampling_ratio, aligned});
}

Tensor roi_align_anywhere(at::TensorList features,
                          const Tensor& rois,
                          const Tensor& levels,
                          Scales scales,
                          int64_t pooled_size,
                          int64_t sampling_ratio,
                          bool aligned) {
  return reference::roi_align(
      features, rois, levels, scales.vec(), pooled_size, sampling_ratio, aligned);
}

std::vector<Tensor> roi_align_backward_anywhere(const Tensor& gradient,
                                                const Tensor& rois,
                                                const Tensor& levels,
                                                Scales scales,
                                                int64_t images,
                                                at::IntArrayRef heights,
                                                at::IntArrayRef widths,
                                                int64_t sampling_ratio,
                                                bool aligned) {
  return reference::roi_align_backward(
      gradient, rois, levels, scales.vec(), images, heights, widths, sampling_ratio, aligned);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(atoll, library) {
  library.def(kRoiAlignSchema);
  library.def(kRoiAlignBackwardSchema);
}

TORCH_LIBRARY_IMPL(atoll, CompositeExplicitAutograd, library) {
  library.impl("roi_align", &roi_align_anywhere);
  library.impl("roi_align_backward", &roi_align_backward_anywhere);
}

TORCH_LIBRARY_IMPL(atoll, CPU, library) {
  library.impl("roi_align", &cpu::roi_align);
  library.impl("roi_align_backward", &cpu::roi_align_backward);
}

TORCH_LIBRARY_IMPL(atoll, Autograd, library) { library.impl("roi_align", &roi_align_autograd); }

Tensor roi_align(at::TensorList features,
                 const Tensor& rois,
                 const Tensor& levels,
                 const std::vector<double>& scales,
                 int64_t pooled_size,
                 int64_t sampling_ratio,
                 bool aligned) {
  TORCH_CHECK(!features.empty() && features.size() == scales.size(),
              "roi_align: needs one scale a level, got ",
              features.size(),
              " levels and ",
              scales.size(),
              " scales");
  check_boxes("roi_align", "rois", rois, 5);
  check_indices("roi_align", "levels", levels, rois);
  TORCH_CHECK(pooled_size > 0, "roi_align: pooled_size must be positive, got ", pooled_size);
  const Tensor& first = features[0];
  for (const Tensor& feature : features) {
    TORCH_CHECK(
        feature.defined() && feature.dim() == 4 && feature.size(2) > 0 && feature.size(3) > 0 &&
            feature.size(0) == first.size(0) && feature.size(1) == first.size(1) &&
            feature.scalar_type() == first.scalar_type() && feature.device() == rois.device(),
        "roi_align: every level must be (N, C, H, W) with the same N, C and dtype on ",
        rois.device(),
        ", got ",
        described(feature),
        " beside ",
        described(first));
  }
  TORCH_CHECK(first.scalar_type() == at::kFloat || first.scalar_type() == at::kBFloat16 ||
                  first.scalar_type() == at::kDouble || !first.is_cpu(),
              "roi_align: features must be Float, BFloat16 or Double, got ",
              described(first));
  return call_roi_align(features, rois, levels, scales, pooled_size, sampling_ratio, aligned);
}

}  // namespace atl::ops
