#include "model/boxes.h"

#include <ATen/ATen.h>

namespace atl::model {

at::Tensor clip_boxes(const at::Tensor& boxes, ImageBatch::Size size) {
  const auto parts = boxes.unbind(-1);
  return at::stack({parts[0].clamp(0, size.width),
                    parts[1].clamp(0, size.height),
                    parts[2].clamp(0, size.width),
                    parts[3].clamp(0, size.height)},
                   -1);
}

at::Tensor large_boxes(const at::Tensor& boxes, double min_size_px) {
  const at::Tensor sides = boxes.narrow(1, 2, 2) - boxes.narrow(1, 0, 2);  // (R, 2)
  return (sides >= min_size_px).all(1);
}

}  // namespace atl::model
