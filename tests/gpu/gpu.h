// The device that this suite is about. ATOLL_TEST_DEVICE=cpu rehearses it where there is no GPU: the
// CPU against itself, which shows that the comparisons hold where there is no difference.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>
#include <string>

#include "train/device.h"

namespace atl {

inline std::string tested_device() {
  const char* named = ::getenv("ATOLL_TEST_DEVICE");
  return named == nullptr ? "cuda" : named;
}

// In SetUp(): the test is skipped when this gives none.
inline std::optional<at::Device> find_tested_device() {
  auto device = train::choose_device(tested_device());
  if (!device) return std::nullopt;
  // TF32 has ten bits: not what is compared here.
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  return *device;
}

inline std::string why_no_device() {
  const auto device = train::choose_device(tested_device());
  return device ? "" : device.error().to_string();
}

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto found = find_tested_device();
    if (!found) GTEST_SKIP() << why_no_device();
    device_ = *found;
  }
  at::Device device_ = at::kCPU;
};

// |a - b| / |b| over all elements, as if both were one vector.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = (a.to(at::kCPU, at::kDouble) - b.to(at::kCPU, at::kDouble));
  const double norm = b.to(at::kDouble).norm().item<double>();
  return difference.norm().item<double>() / (norm > 0 ? norm : 1);
}

}  // namespace atl
