// Mask targets and pasted masks: their checks and their registration (see checks.h).
#include <ATen/ATen.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;

constexpr auto kMaskTargetsSchema =
    "mask_targets(Tensor counts, Tensor offsets, int height, int width, Tensor boxes, "
    "Tensor ground_truth_index, int mask_size) -> Tensor";
constexpr auto kPasteMasksSchema =
    "paste_masks(Tensor masks, Tensor boxes, int height, int width, float threshold) "
    "-> (Tensor counts, Tensor offsets)";

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

}  // namespace

TORCH_LIBRARY_FRAGMENT(atoll, library) {
  library.def(kMaskTargetsSchema);
  library.def(kPasteMasksSchema);
}

TORCH_LIBRARY_IMPL(atoll, CompositeExplicitAutograd, library) {
  library.impl("mask_targets", &mask_targets_anywhere);
  library.impl("paste_masks", &paste_masks_anywhere);
}

TORCH_LIBRARY_IMPL(atoll, CPU, library) {
  library.impl("mask_targets", &cpu::mask_targets);
  library.impl("paste_masks", &cpu::paste_masks);
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
