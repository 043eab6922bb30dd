// Which device a run uses, and how the CUDA libraries come in: they are not linked but opened at
// run time from the directory of libtorch_cpu.so, so that a machine without them starts fast and
// works.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::train {

// "cpu"; "cuda", an error that says what is missing; "auto": cuda where there is a usable GPU, else
// cpu. Anything else is kInvalidInput. Opening the libraries happens once a process.
Result<at::Device> choose_device(std::string_view name);

// Kernel threads (0: all available), and torch's warnings off: what a person must know comes from
// us.
void configure_torch(int threads);

}  // namespace atl::train
