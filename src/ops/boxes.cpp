// Operations on boxes: their checks and their registration (see checks.h). Suppression and matching
// have kernels; levels and coding are short enough in plain tensor code, and their rounding is then
// torchvision's own: the same operations in the same order.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>

#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;
using Weights = at::ArrayRef<double>;

constexpr auto kBatchedNmsSchema =
    "batched_nms(Tensor boxes, Tensor scores, Tensor groups, float iou_threshold) -> Tensor";
constexpr auto kMatchBoxesSchema =
    "match_boxes(Tensor ground_truth, Tensor candidates, float high_threshold, "
    "float low_threshold, bool allow_low_quality) -> Tensor";
constexpr auto kAssignLevelsSchema =
    "assign_levels(Tensor boxes, int k_min, int k_max, int canonical_scale, int canonical_level) "
    "-> Tensor";
constexpr auto kEncodeBoxesSchema =
    "encode_boxes(Tensor reference, Tensor proposals, float[] weights) -> Tensor";
constexpr auto kDecodeBoxesSchema =
    "decode_boxes(Tensor deltas, Tensor boxes, float[] weights) -> Tensor";

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

Tensor encode_boxes_anywhere(const Tensor& reference, const Tensor& proposals, Weights weights) {
  const Tensor sizes = proposals.slice(1, 2, 4) - proposals.slice(1, 0, 2);
  const Tensor centres = proposals.slice(1, 0, 2) + sizes * 0.5;
  const Tensor reference_sizes = reference.slice(1, 2, 4) - reference.slice(1, 0, 2);
  const Tensor reference_centres = reference.slice(1, 0, 2) + reference_sizes * 0.5;
  const Tensor all = at::tensor(weights, proposals.options());
  const Tensor shifts = all.slice(0, 0, 2) * (reference_centres - centres) / sizes;
  const Tensor stretches = all.slice(0, 2, 4) * at::log(reference_sizes / sizes);
  return at::cat({shifts, stretches}, 1);
}

Tensor decode_boxes_anywhere(const Tensor& deltas, const Tensor& boxes, Weights weights) {
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

TORCH_LIBRARY_FRAGMENT(atoll, library) {
  library.def(kBatchedNmsSchema);
  library.def(kMatchBoxesSchema);
  // Differentiable on every device, being made of differentiable operations.
  library.def(kAssignLevelsSchema, &assign_levels_anywhere);
  library.def(kEncodeBoxesSchema, &encode_boxes_anywhere);
  library.def(kDecodeBoxesSchema, &decode_boxes_anywhere);
}

TORCH_LIBRARY_IMPL(atoll, CompositeExplicitAutograd, library) {
  library.impl("batched_nms", &reference::batched_nms);
  library.impl("match_boxes", &reference::match_boxes);
}

TORCH_LIBRARY_IMPL(atoll, CPU, library) {
  library.impl("batched_nms", &cpu::batched_nms);
  library.impl("match_boxes", &cpu::match_boxes);
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
      operation<Tensor(const Tensor&, const Tensor&, Weights)>("atoll::encode_boxes");
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
      operation<Tensor(const Tensor&, const Tensor&, Weights)>("atoll::decode_boxes");
  return handle.call(deltas, boxes, weights);
}

}  // namespace atl::ops
