// How many GPUs a process can use, told without their driver's libraries.
#pragma once

#include <optional>
#include <string>

namespace atl::job {

// The nodes /dev/nvidia0, /dev/nvidia1 …; where CUDA_VISIBLE_DEVICES is set, the devices that it lists, which may be
// slices of one (MIG). A list ends at the first thing that is none ("-1", as CUDA has it). 0 where there is no such node.
int count_accelerators(const std::string& device_directory,
                       const std::optional<std::string>& visible_devices);

}  // namespace atl::job
