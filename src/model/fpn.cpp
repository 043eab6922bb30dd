#include "model/fpn.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

namespace atl::model {
namespace {

// torchvision draws these with kaiming_uniform_(a = 1): uniform within sqrt(3 / fan in).
Init fpn_init(int64_t fan_in) { return uniform(std::sqrt(3.0 / static_cast<double>(fan_in))); }

}  // namespace

Fpn::Fpn(ParameterSet& parameters, const std::array<int64_t, 4>& in_channels, int64_t channels) {
  for (size_t i = 0; i < 4; ++i) {
    lateral_[i] = make_conv(parameters,
                            fmt::format("backbone.fpn.inner_blocks.{}.0", i),
                            {in_channels[i], channels, 1},
                            fpn_init(in_channels[i]));
  }
  for (size_t i = 0; i < 4; ++i) {
    output_[i] = make_conv(parameters,
                           fmt::format("backbone.fpn.layer_blocks.{}.0", i),
                           {channels, channels, 3},
                           fpn_init(channels * 9));
  }
}

std::vector<at::Tensor> Fpn::forward(const std::array<at::Tensor, 4>& levels) const {
  std::vector<at::Tensor> pyramid(5);
  at::Tensor inner;
  for (size_t i = 4; i-- > 0;) {
    at::Tensor lateral = lateral_[i](levels[i]);
    if (inner.defined()) {
      lateral.add_(at::upsample_nearest2d(inner, lateral.sizes().slice(2)));
    }
    inner = lateral;
    pyramid[i] = output_[i](inner);
  }
  using at::indexing::None;
  using at::indexing::Slice;
  pyramid[4] = pyramid[3]
                   .index({Slice(), Slice(), Slice(None, None, 2), Slice(None, None, 2)})
                   .contiguous(at::MemoryFormat::ChannelsLast);
  return pyramid;
}

}  // namespace atl::model
