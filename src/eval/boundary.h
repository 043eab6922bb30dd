// Boundary IoU: how well two masks agree along their contours, where the IoU of large masks says
// little. The boundary of a mask are its pixels less than a width of 2 % of the image's diagonal
// away from the background; what is cut off by the image's edge is boundary, too.
//
// Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
// CVPR 2021; semantics of boundary-iou-api's mask_to_boundary and computeBoundaryIoU: a pair's value
// is the smaller of mask IoU and boundary IoU; for a crowd it is the mask IoU (over the detection's
// area).
#pragma once

#include "dataset/rle.h"

namespace atl::eval::internal {

// round(0.02 * diagonal), halves to even as Python rounds; at least 1.
uint32_t boundary_width_px(uint32_t height, uint32_t width);
// The pixels of the mask that an erosion by that width takes away.
dataset::Rle boundary_of(const dataset::Rle& mask);

}  // namespace atl::eval::internal
