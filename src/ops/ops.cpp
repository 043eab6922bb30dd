// The public functions: check the arguments, then call the dispatcher. The registrations stand in
// this file because a linker takes a file of a static library only for a function that someone
// calls: whoever calls an operation gets its registration with it.
//
// Which code runs: a kernel registered for the tensors' device if there is one (the CPU's here,
// CUDA's in the plug-in), else the plain tensor code of reference.cpp.
#include "ops/ops.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "ops/kernels.h"
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
constexpr auto kBatchedNmsSchema =
    "batched_nms(Tensor boxes, Tensor scores, Tensor groups, float iou_threshold) -> Tensor";
constexpr auto kMatchBoxesSchema =
    "match_boxes(Tensor ground_truth, Tensor candidates, float high_threshold, "
    "float low_threshold, bool allow_low_quality) -> Tensor";
constexpr auto kMaskTargetsSchema =
    "mask_targets(Tensor counts, Tensor offsets, int height, int width, Tensor boxes, "
    "Tensor ground_truth_index, int mask_size) -> Tensor";
constexpr auto kPasteMasksSchema =
    "paste_masks(Tensor masks, Tensor boxes, int height, int width, float threshold) "
    "-> (Tensor counts, Tensor offsets)";
constexpr auto kAssignLevelsSchema =
    "assign_levels(Tensor boxes, int k_min, int k_max, int canonical_scale, int canonical_level) "
    "-> Tensor";
constexpr auto kEncodeBoxesSchema =
    "encode_boxes(Tensor reference, Tensor proposals, float[] weights) -> Tensor";
constexpr auto kDecodeBoxesSchema =
    "decode_boxes(Tensor deltas, Tensor boxes, float[] weights) -> Tensor";

template <typename Signature>
c10::TypedOperatorHandle<Signature> operation(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

std::string described(const Tensor& tensor) {
  if (!tensor.defined()) return "an undefined tensor";
  return c10::str(tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device());
}

void check_boxes(const char* operation,
                 const char* name,
                 const Tensor& boxes,
                 int64_t columns = 4) {
  TORCH_CHECK(boxes.defined() && boxes.dim() == 2 && boxes.size(1) == columns &&
                  boxes.scalar_type() == at::kFloat,
              operation,
              ": ",
              name,
              " must be (R, ",
              columns,
              ") Float, got ",
              described(boxes));
}

void check_indices(const char* operation,
                   const char* name,
                   const Tensor& indices,
                   const Tensor& of) {
  TORCH_CHECK(indices.defined() && indices.dim() == 1 && indices.size(0) == of.size(0) &&
                  indices.scalar_type() == at::kLong && indices.device() == of.device(),
              operation,
              ": ",
              name,
              " must be (",
              of.size(0),
              ") Long on ",
              of.device(),
              ", got ",
              described(indices));
}

// RoIAlign ---------------------------------------------------------------------------------------

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

// Masks ------------------------------------------------------------------------------------------

Tensor mask_targets_anywhere(const Tensor& counts,
                             const Tensor& offsets,
                             int64_t height,
                             int64_t width,
                             const Tensor& boxes,
                             const Tensor& ground_truth_index,
                             int64_t mask_size) {
  return reference::mask_targets(
      {counts, offsets, height, width}, boxes, ground_truth_index, mask_size);
}

std::tuple<Tensor, Tensor> paste_masks_anywhere(
    const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width, double threshold) {
  std::vector<int32_t> counts;
  std::vector<int64_t> offsets = {0};
  for (const PastedMask& mask : reference::paste_masks(masks, boxes, height, width, threshold)) {
    counts.insert(counts.end(), mask.counts.begin(), mask.counts.end());
    offsets.push_back(static_cast<int64_t>(counts.size()));
  }
  return {at::tensor(counts, at::kInt), at::tensor(offsets, at::kLong)};
}

// Boxes ------------------------------------------------------------------------------------------
// Short enough in plain tensor code, and its rounding is then torchvision's own: the same
// operations in the same order.

Tensor assign_levels_anywhere(const Tensor& boxes,
                              int64_t k_min,
                              int64_t k_max,
                              int64_t canonical_scale,
                              int64_t canonical_level) {
  const Tensor sides = boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2);
  const Tensor side = (sides.select(1, 0) * sides.select(1, 1)).sqrt();
  const Tensor level = at::log2(side / canonical_scale).add(canonical_level).add(1e-6).floor();
  return level.clamp(k_min, k_max).to(at::kLong) - k_min;
}

Tensor encode_boxes_anywhere(const Tensor& reference, const Tensor& proposals, Scales weights) {
  const Tensor sizes = proposals.slice(1, 2, 4) - proposals.slice(1, 0, 2);
  const Tensor centres = proposals.slice(1, 0, 2) + sizes * 0.5;
  const Tensor reference_sizes = reference.slice(1, 2, 4) - reference.slice(1, 0, 2);
  const Tensor reference_centres = reference.slice(1, 0, 2) + reference_sizes * 0.5;
  const Tensor all = at::tensor(weights, proposals.options());
  const Tensor shifts = all.slice(0, 0, 2) * (reference_centres - centres) / sizes;
  const Tensor stretches = all.slice(0, 2, 4) * at::log(reference_sizes / sizes);
  return at::cat({shifts, stretches}, 1);
}

Tensor decode_boxes_anywhere(const Tensor& deltas, const Tensor& boxes, Scales weights) {
  const double largest_stretch = std::log(1000.0 / 16);
  const Tensor sizes = (boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2)).unsqueeze(1);
  const Tensor centres = boxes.slice(1, 0, 2).unsqueeze(1) + sizes * 0.5;
  const Tensor scaled =
      deltas.view({deltas.size(0), deltas.size(1) / 4, 4}) / at::tensor(weights, deltas.options());
  const Tensor centre = scaled.slice(2, 0, 2) * sizes + centres;
  const Tensor stretch = scaled.slice(2, 2, 4).clamp_max(largest_stretch);
  const Tensor half = at::exp(stretch) * sizes * 0.5;
  return at::cat({centre - half, centre + half}, 2);
}

}  // namespace

TORCH_LIBRARY(atoll, library) {
  library.def(kRoiAlignSchema);
  library.def(kRoiAlignBackwardSchema);
  library.def(kBatchedNmsSchema);
  library.def(kMatchBoxesSchema);
  library.def(kMaskTargetsSchema);
  library.def(kPasteMasksSchema);
  // Differentiable on every device, being made of differentiable operations.
  library.def(kAssignLevelsSchema, &assign_levels_anywhere);
  library.def(kEncodeBoxesSchema, &encode_boxes_anywhere);
  library.def(kDecodeBoxesSchema, &decode_boxes_anywhere);
}

TORCH_LIBRARY_IMPL(atoll, CompositeExplicitAutograd, library) {
  library.impl("roi_align", &roi_align_anywhere);
  library.impl("roi_align_backward", &roi_align_backward_anywhere);
  library.impl("batched_nms", &reference::batched_nms);
  library.impl("match_boxes", &reference::match_boxes);
  library.impl("mask_targets", &mask_targets_anywhere);
  library.impl("paste_masks", &paste_masks_anywhere);
}

TORCH_LIBRARY_IMPL(atoll, CPU, library) {
  library.impl("roi_align", &cpu::roi_align);
  library.impl("roi_align_backward", &cpu::roi_align_backward);
  library.impl("batched_nms", &cpu::batched_nms);
  library.impl("match_boxes", &cpu::match_boxes);
  library.impl("mask_targets", &cpu::mask_targets);
  library.impl("paste_masks", &cpu::paste_masks);
}

TORCH_LIBRARY_IMPL(atoll, Autograd, library) { library.impl("roi_align", &roi_align_autograd); }

// Public functions -------------------------------------------------------------------------------

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

Tensor assign_levels(const Tensor& boxes,
                     int64_t k_min,
                     int64_t k_max,
                     int64_t canonical_scale,
                     int64_t canonical_level) {
  check_boxes("assign_levels", "boxes", boxes);
  TORCH_CHECK(k_min <= k_max && canonical_scale > 0,
              "assign_levels: levels ",
              k_min,
              "..",
              k_max,
              " and canonical scale ",
              canonical_scale,
              " make no sense");
  static const auto handle = operation<decltype(assign_levels)>("atoll::assign_levels");
  return handle.call(boxes, k_min, k_max, canonical_scale, canonical_level);
}

Tensor batched_nms(const Tensor& boxes,
                   const Tensor& scores,
                   const Tensor& groups,
                   double iou_threshold) {
  check_boxes("batched_nms", "boxes", boxes);
  TORCH_CHECK(scores.defined() && scores.dim() == 1 && scores.size(0) == boxes.size(0) &&
                  scores.scalar_type() == at::kFloat && scores.device() == boxes.device(),
              "batched_nms: scores must be (",
              boxes.size(0),
              ") Float on ",
              boxes.device(),
              ", got ",
              described(scores));
  check_indices("batched_nms", "groups", groups, boxes);
  static const auto handle = operation<decltype(batched_nms)>("atoll::batched_nms");
  return handle.call(boxes, scores, groups, iou_threshold);
}

Tensor match_boxes(const Tensor& ground_truth,
                   const Tensor& candidates,
                   double high_threshold,
                   double low_threshold,
                   bool allow_low_quality) {
  check_boxes("match_boxes", "ground_truth", ground_truth);
  check_boxes("match_boxes", "candidates", candidates);
  TORCH_CHECK(ground_truth.device() == candidates.device(),
              "match_boxes: ground_truth and candidates must be on one device, got ",
              described(ground_truth),
              " and ",
              described(candidates));
  TORCH_CHECK(low_threshold <= high_threshold,
              "match_boxes: low_threshold ",
              low_threshold,
              " must not exceed high_threshold ",
              high_threshold);
  static const auto handle = operation<decltype(match_boxes)>("atoll::match_boxes");
  return handle.call(ground_truth, candidates, high_threshold, low_threshold, allow_low_quality);
}

Tensor encode_boxes(const Tensor& reference, const Tensor& proposals, const BoxWeights& weights) {
  check_boxes("encode_boxes", "reference", reference);
  check_boxes("encode_boxes", "proposals", proposals);
  TORCH_CHECK(reference.sizes() == proposals.sizes() && reference.device() == proposals.device(),
              "encode_boxes: reference and proposals must go together, got ",
              described(reference),
              " and ",
              described(proposals));
  static const auto handle =
      operation<Tensor(const Tensor&, const Tensor&, Scales)>("atoll::encode_boxes");
  return handle.call(reference, proposals, weights);
}

Tensor decode_boxes(const Tensor& deltas, const Tensor& boxes, const BoxWeights& weights) {
  check_boxes("decode_boxes", "boxes", boxes);
  TORCH_CHECK(deltas.defined() && deltas.dim() == 2 && deltas.size(0) == boxes.size(0) &&
                  deltas.size(1) % 4 == 0 && deltas.scalar_type() == at::kFloat &&
                  deltas.device() == boxes.device(),
              "decode_boxes: deltas must be (",
              boxes.size(0),
              ", 4 * K) Float on ",
              boxes.device(),
              ", got ",
              described(deltas));
  static const auto handle =
      operation<Tensor(const Tensor&, const Tensor&, Scales)>("atoll::decode_boxes");
  return handle.call(deltas, boxes, weights);
}

Tensor mask_targets(const MaskRuns& masks,
                    const Tensor& boxes,
                    const Tensor& ground_truth_index,
                    int64_t mask_size) {
  check_boxes("mask_targets", "boxes", boxes);
  check_indices("mask_targets", "ground_truth_index", ground_truth_index, boxes);
  const auto on_cpu = [](const Tensor& tensor, at::ScalarType type) {
    return tensor.defined() && tensor.dim() == 1 && tensor.scalar_type() == type && tensor.is_cpu();
  };
  TORCH_CHECK(on_cpu(masks.counts, at::kInt) && on_cpu(masks.offsets, at::kLong) &&
                  masks.offsets.size(0) >= 1 && masks.height >= 0 && masks.width >= 0,
              "mask_targets: runs must be counts (total) Int and offsets (G + 1) Long on cpu, got ",
              described(masks.counts),
              " and ",
              described(masks.offsets),
              " of ",
              masks.height,
              " x ",
              masks.width,
              " px");
  TORCH_CHECK(boxes.size(0) == 0 || (masks.height > 0 && masks.width > 0),
              "mask_targets: ",
              boxes.size(0),
              " boxes on masks of ",
              masks.height,
              " x ",
              masks.width,
              " px");
  TORCH_CHECK(mask_size > 0, "mask_targets: mask_size must be positive, got ", mask_size);
  static const auto handle = operation<Tensor(
      const Tensor&, const Tensor&, int64_t, int64_t, const Tensor&, const Tensor&, int64_t)>(
      "atoll::mask_targets");
  return handle.call(
      masks.counts, masks.offsets, masks.height, masks.width, boxes, ground_truth_index, mask_size);
}

std::vector<PastedMask> paste_masks(
    const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width, double threshold) {
  check_boxes("paste_masks", "boxes", boxes);
  TORCH_CHECK(masks.defined() && masks.dim() == 3 && masks.size(0) == boxes.size(0) &&
                  masks.size(1) == masks.size(2) && masks.size(1) > 0 &&
                  masks.scalar_type() == at::kFloat && masks.device() == boxes.device(),
              "paste_masks: masks must be (",
              boxes.size(0),
              ", M, M) Float on ",
              boxes.device(),
              ", got ",
              described(masks));
  TORCH_CHECK(height >= 0 && width >= 0 && height * width <= std::numeric_limits<int32_t>::max(),
              "paste_masks: an image of ",
              height,
              " x ",
              width,
              " px has too many pixels for runs");
  static const auto handle =
      operation<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, int64_t, int64_t, double)>(
          "atoll::paste_masks");
  const auto [counts, offsets] = handle.call(masks, boxes, height, width, threshold);
  const auto* count = counts.const_data_ptr<int32_t>();
  const auto* offset = offsets.const_data_ptr<int64_t>();
  std::vector<PastedMask> result(masks.size(0));
  for (size_t d = 0; d < result.size(); ++d) {
    result[d].counts.assign(count + offset[d], count + offset[d + 1]);
  }
  return result;
}

}  // namespace atl::ops
