#include "job/cpu_slices.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <tuple>

namespace atl::job {
namespace {

int read_number(const std::string& path, int otherwise) {
  std::ifstream file(path);
  int number = otherwise;
  return file >> number ? number : otherwise;
}

}  // namespace

std::vector<Cpu> allowed_cpus(const std::string& topology_root) {
  cpu_set_t set;
  std::vector<Cpu> cpus;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int id = 0; id < CPU_SETSIZE; ++id) {
    if (!CPU_ISSET(static_cast<size_t>(id), &set)) continue;
    const std::string folder = fmt::format("{}/cpu{}/topology/", topology_root, id);
    cpus.push_back(
        {id, read_number(folder + "physical_package_id", 0), read_number(folder + "core_id", id)});
  }
  return cpus;
}

std::vector<std::vector<int>> cpu_slices(std::vector<Cpu> cpus, int count) {
  const auto slices = static_cast<size_t>(count);
  if (count < 1 || cpus.size() < slices) return {};
  std::ranges::sort(
      cpus, {}, [](const Cpu& cpu) { return std::tuple(cpu.package, cpu.core, cpu.id); });
  // The parts that are dealt out: cores, or single hardware threads where there are too few cores.
  std::vector<std::vector<int>> parts;
  const Cpu* before = nullptr;
  for (const Cpu& cpu : cpus) {
    const bool same =
        before != nullptr && before->package == cpu.package && before->core == cpu.core;
    if (!same) parts.emplace_back();
    parts.back().push_back(cpu.id);
    before = &cpu;
  }
  if (parts.size() < slices) {
    parts.clear();
    for (const Cpu& cpu : cpus) parts.push_back({cpu.id});
  }
  std::vector<std::vector<int>> result(slices);
  for (size_t part = 0; part < parts.size(); ++part) {
    auto& slice = result[part * slices / parts.size()];
    slice.insert(slice.end(), parts[part].begin(), parts[part].end());
  }
  return result;
}

}  // namespace atl::job
