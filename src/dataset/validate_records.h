// The part of validate() that looks at the records alone, without a file.
#pragma once

#include <string>
#include <vector>

#include "dataset/coco.h"
#include "dataset/validate.h"

namespace atl::dataset {

// Whether a file_name stays below the images' folder: relative, no "..", no empty component.
bool is_safe_name(std::string_view file_name);

// What is wrong with the shape of an image's objects. `file` is put into each finding.
std::vector<Problem> check_objects(const CocoDataset& dataset,
                                   size_t image_index,
                                   const std::string& file);

}  // namespace atl::dataset
