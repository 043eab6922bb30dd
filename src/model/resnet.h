// ResNet-18/34 (basic blocks) and -50/101 (bottlenecks, stride in the 3x3 convolution), He et al.
// 2015, without its classifier.
//
// Legend: N images of H x W pixels, w the stem's width, e the expansion (1 basic, 4 bottleneck).
//   stem (N, w, H/4, W/4)
//   C2 (N, e w, H/4, W/4)   C3 (N, 2 e w, H/8, W/8)   C4 (…, H/16, …)   C5 (N, 8 e w, H/32, W/32)
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "model/layers.h"

namespace atl::model {

class ResNet {
 public:
  ResNet(ParameterSet& parameters, const ModelConfig& config);

  // C2..C5. pixels (N, 3, H, W).
  std::array<at::Tensor, 4> forward(const at::Tensor& pixels,
                                    bool training,
                                    const Ranks& ranks) const;
  // Channels of C2..C5.
  const std::array<int64_t, 4>& channels() const { return channels_; }

 private:
  struct Block {
    std::vector<NormConv> convs;         // two or three; ReLU between them and after the sum
    std::optional<NormConv> downsample;  // on the short cut, where shapes change
    at::Tensor forward(const at::Tensor& x, bool training, const Ranks& ranks) const;
  };

  Block make_block(ParameterSet& parameters,
                   const std::string& name,
                   int64_t in,
                   int64_t width,
                   int64_t stride,
                   const ModelConfig& config,
                   bool trainable) const;

  bool bottleneck_ = false;
  NormConv stem_;
  std::array<std::vector<Block>, 4> stages_;
  std::array<int64_t, 4> channels_ = {};
};

}  // namespace atl::model
