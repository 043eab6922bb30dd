// A fair share of the processors of this machine for each of its ranks.
#pragma once

#include <string>
#include <vector>

namespace atl::job {

struct Cpu {
  int id = 0;
  int package = 0;
  int core = 0;  // within its package; hardware threads of a core have the same
};

// Those that this process may run on, with what `topology_root` (/sys/devices/system/cpu) says about them; a processor
// of which it says nothing is a core of its own. Empty where the kernel does not say which.
std::vector<Cpu> allowed_cpus(const std::string& topology_root = "/sys/devices/system/cpu");

// `count` disjoint sets of processor numbers, whole cores and neighbours in one package, none larger than another by
// more than a core. Empty where there are fewer processors than slices: then all share all.
std::vector<std::vector<int>> cpu_slices(std::vector<Cpu> cpus, int count);

}  // namespace atl::job
