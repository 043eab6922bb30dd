// Which device a run uses, and how the CUDA libraries come in: they are not linked but opened at
// run time from the directory of libtorch_cpu.so, so that a machine without them starts fast and
// works.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::train {

// "cpu"; "cuda", an error that says what is missing; "auto": cuda where there is a usable GPU, else
// cpu. Anything else is kInvalidInput. Opening the libraries happens once a process.
// `local_rank` of those on this machine: the number of its GPU, which becomes the thread's current one; where a
// launcher shows each rank one GPU only (CUDA_VISIBLE_DEVICES), that one. kInvalidInput: fewer GPUs than ranks.
Result<at::Device> choose_device(std::string_view name, int local_rank = 0);

// The GPU of a rank, of those that are visible; nullopt: there is none for it.
std::optional<int> gpu_of_rank(int local_rank, int gpus);

// Kernel threads (0: all available), and torch's warnings off: what a person must know comes from
// us.
void configure_torch(int threads);

}  // namespace atl::train
