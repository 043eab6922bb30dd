#include "dataset/coco_json_dispatch.h"

#include <vector>

namespace atl::dataset {
namespace {

// What is asked for here is what cmake/Kernels.cmake compiles with.
std::vector<NumberKernel> available_kernels() {
  std::vector<NumberKernel> kernels = {{"baseline", baseline::read_hundredths}};
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0 &&
                        __builtin_cpu_supports("bmi2") != 0 &&
                        __builtin_cpu_supports("popcnt") != 0;
  if (has_avx2) kernels.push_back({"avx2", avx2::read_hundredths});
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") != 0 &&
                          __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512dq") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0;
  if (has_avx512) kernels.push_back({"avx512", avx512::read_hundredths});
#endif
  return kernels;
}

}  // namespace

std::span<const NumberKernel> number_kernels() {
  static const std::vector<NumberKernel> kernels = available_kernels();
  return kernels;
}

}  // namespace atl::dataset
