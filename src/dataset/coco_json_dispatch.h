// The kernels that this processor can run, and the best of them.
#pragma once

#include <span>
#include <string_view>

#include "dataset/coco_json_kernel.h"

namespace atl::dataset {

struct NumberKernel {
  std::string_view name;
  ReadHundredths read_hundredths;
};

// From the plainest to the best; never empty.
std::span<const NumberKernel> number_kernels();
inline const NumberKernel& best_number_kernel() { return number_kernels().back(); }

}  // namespace atl::dataset
