// Feature pyramid (Lin et al. 2017): C2..C5 to P2..P6, all with F channels.
//   lateral 1x1, plus the level above stretched to twice the size (nearest), then 3x3; P6 is every
//   second cell of P5.
#pragma once

#include <array>
#include <vector>

#include "model/layers.h"

namespace atl::model {

class Fpn {
 public:
  Fpn(ParameterSet& parameters, const std::array<int64_t, 4>& in_channels, int64_t channels);
  // P2..P6, (N, F, H_l, W_l), channels-last.
  std::vector<at::Tensor> forward(const std::array<at::Tensor, 4>& levels) const;

 private:
  std::array<Conv, 4> lateral_;
  std::array<Conv, 4> output_;
};

}  // namespace atl::model
