// An object's mask as TensorFlow's object detection records have it: a PNG of the picture's size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "dataset/rle.h"

namespace atl::dataset {

// 8-bit grey, 0 background and 1 foreground, as create_coco_tf_record.py writes it.
Result<std::string> mask_to_png(const Rle& mask);

// Every pixel that is not black is foreground (readers of these records test for > 0), whatever the
// PNG's colour type and depth; transparency does not count. kInvalidInput: no whole PNG, another
// size than height x width, or more runs than any outline has (2^24).
Result<Rle> mask_from_png(std::string_view png, uint32_t height, uint32_t width);

}  // namespace atl::dataset
