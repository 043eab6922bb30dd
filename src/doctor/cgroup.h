// What the control groups of this process let it have: containers and batch systems set these limits, and nothing
// else shows them. Versions 1 and 2.
//
// Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the Linux kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"

namespace atl::doctor {

struct CgroupLimits {
  std::optional<double> cpus;            // the quota, in processors
  std::optional<uint64_t> memory_bytes;  // the bound
  std::optional<uint64_t>
      memory_used_bytes;  // without what the kernel would give back at once: inactive file pages
  std::optional<uint64_t> processes;
};

// The narrowest of the process's group and of those above it, as far as they show (a container sees its own group as the
// root). `read`: the text of a file of this machine.
CgroupLimits read_cgroup_limits(
    const std::function<Result<std::string>(const std::string& path)>& read);

}  // namespace atl::doctor
