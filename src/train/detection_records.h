// From the model's tensors to plain COCO records, and from a picture to either: what evaluation,
// prediction and the pictures share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataset/image.h"
#include "eval/eval.h"
#include "model/mask_rcnn.h"

namespace atl::train {

// `detections` at the resized scale; records in the original image's pixels, in decreasing score.
// Boxes are differences of f32, as torchvision's reference evaluation writes them.
std::vector<eval::Detection> to_records(model::Detections detections,
                                        int64_t image_id,
                                        model::ImageBatch::Size resized,
                                        model::ImageBatch::Size original,
                                        const model::CategoryMap& categories);

// Resizes and normalises one picture as the loader does, and detects.
std::vector<eval::Detection> detect_picture(model::MaskRcnn& model,
                                            const model::CategoryMap& categories,
                                            const dataset::Picture& picture,
                                            int64_t image_id);

// A copy of the picture with those whose score is at least `threshold`, the best on top. A picture
// so small that labels would hide its objects is enlarged, by a whole factor.
dataset::Picture draw_records(const dataset::Picture& picture,
                              std::span<const eval::Detection> records,
                              const model::CategoryMap& categories,
                              double threshold);

}  // namespace atl::train
