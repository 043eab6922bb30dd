#include "model/resnet.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/check.h"

namespace atl::model {
namespace {

std::array<int, 4> blocks_of(int depth) {
  switch (depth) {
    case 18:
      return {2, 2, 2, 2};
    case 34:
    case 50:
      return {3, 4, 6, 3};
    default:
      ATOLL_CHECK(depth == 101) << depth;
      return {3, 4, 23, 3};
  }
}

}  // namespace

ResNet::ResNet(ParameterSet& parameters, const ModelConfig& config)
    : bottleneck_(config.backbone_depth >= 50) {
  const std::string body = "backbone.body.";
  const int64_t expansion = bottleneck_ ? 4 : 1;
  // As torchvision counts: layer4 first, the stem's convolution fifth, its norm only with all five.
  const bool stem_trainable = config.trainable_layers >= 5;
  stem_ = make_norm_conv(parameters,
                         body + "conv1",
                         body + "bn1",
                         {3, config.stem_width, 7, 2},
                         config,
                         stem_trainable,
                         stem_trainable);
  int64_t in = config.stem_width;
  const auto blocks = blocks_of(config.backbone_depth);
  for (size_t stage = 0; stage < 4; ++stage) {
    const int64_t width = config.stem_width << stage;
    const bool trainable = config.trainable_layers >= 4 - static_cast<int>(stage);
    for (int i = 0; i < blocks[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      const auto name = fmt::format("{}layer{}.{}.", body, stage + 1, i);
      stages_[stage].push_back(make_block(parameters, name, in, width, stride, config, trainable));
      in = width * expansion;
    }
    channels_[stage] = in;
  }
}

ResNet::Block ResNet::make_block(ParameterSet& parameters,
                                 const std::string& name,
                                 int64_t in,
                                 int64_t width,
                                 int64_t stride,
                                 const ModelConfig& config,
                                 bool trainable) const {
  const int64_t out = bottleneck_ ? 4 * width : width;
  std::vector<NormConvShape> shapes;
  if (bottleneck_) {
    shapes = {{in, width, 1, 1}, {width, width, 3, stride}, {width, out, 1, 1}};
  } else {
    shapes = {{in, width, 3, stride}, {width, out, 3, 1}};
  }
  Block block;
  for (size_t i = 0; i < shapes.size(); ++i) {
    block.convs.push_back(make_norm_conv(parameters,
                                         fmt::format("{}conv{}", name, i + 1),
                                         fmt::format("{}bn{}", name, i + 1),
                                         shapes[i],
                                         config,
                                         trainable,
                                         trainable));
  }
  if (stride != 1 || in != out) {
    block.downsample = make_norm_conv(parameters,
                                      name + "downsample.0",
                                      name + "downsample.1",
                                      {in, out, 1, stride},
                                      config,
                                      trainable,
                                      trainable);
  }
  return block;
}

at::Tensor ResNet::Block::forward(const at::Tensor& x, bool training, const Ranks& ranks) const {
  at::Tensor y = x;
  for (size_t i = 0; i + 1 < convs.size(); ++i) y = convs[i](y, training, ranks).relu_();
  y = convs.back()(y, training, ranks);
  // In place: neither the convolution nor the norm needs its output for its gradient.
  return y.add_(downsample ? (*downsample)(x, training, ranks) : x).relu_();
}

std::array<at::Tensor, 4> ResNet::forward(const at::Tensor& pixels,
                                          bool training,
                                          const Ranks& ranks) const {
  at::Tensor x = stem_(pixels.contiguous(at::MemoryFormat::ChannelsLast), training, ranks).relu_();
  x = at::max_pool2d(x, {3, 3}, {2, 2}, {1, 1});
  std::array<at::Tensor, 4> levels;
  for (size_t stage = 0; stage < 4; ++stage) {
    for (const Block& block : stages_[stage]) x = block.forward(x, training, ranks);
    levels[stage] = x;
  }
  return levels;
}

}  // namespace atl::model
