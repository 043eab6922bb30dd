// Small operations on boxes (…, 4) x1, y1, x2, y2 that both stages use.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/mask_rcnn.h"

namespace atl::model {

// Into the image. (…, 4) -> (…, 4).
at::Tensor clip_boxes(const at::Tensor& boxes, ImageBatch::Size size);
// (R,) bool: both sides are at least this long. boxes (R, 4).
at::Tensor large_boxes(const at::Tensor& boxes, double min_size_px);

}  // namespace atl::model
