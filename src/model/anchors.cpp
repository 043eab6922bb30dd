#include "model/anchors.h"

#include <ATen/ATen.h>

namespace atl::model {
namespace {

// Shapes kept: multi-scale training has some tens of them, and COCO's largest takes 4 MB.
constexpr size_t kShapesKept = 32;

// (ratios, 4) f32, rounded to whole pixels as torchvision does.
at::Tensor cell_anchors(double size_px, const std::vector<double>& ratios) {
  const at::Tensor heights = at::tensor(ratios, at::kFloat).sqrt();
  const at::Tensor h = heights * size_px;
  const at::Tensor w = (1 / heights) * size_px;
  return (at::stack({-w, -h, w, h}, 1) / 2).round();
}

// cells (ratios, 4) at every cell of rows x columns -> (rows * columns * ratios, 4).
at::Tensor spread(
    const at::Tensor& cells, int64_t rows, int64_t columns, int64_t stride_y, int64_t stride_x) {
  const auto options = cells.options();
  const at::Tensor y = (at::arange(rows, options) * stride_y).view({rows, 1});
  const at::Tensor x = (at::arange(columns, options) * stride_x).view({1, columns});
  const at::Tensor ys = y.expand({rows, columns});
  const at::Tensor xs = x.expand({rows, columns});
  const at::Tensor shifts = at::stack({xs, ys, xs, ys}, -1).view({rows * columns, 1, 4});
  return (shifts + cells).view({-1, 4});
}

}  // namespace

AnchorMaker::AnchorMaker(const ModelConfig& config, at::Device device) {
  for (const double size : config.anchor_sizes_px) {
    cells_.push_back(cell_anchors(size, config.anchor_ratios).to(device));
  }
}

const Anchors& AnchorMaker::get(at::TensorList features, int64_t height, int64_t width) {
  std::vector<int64_t> key = {height, width};
  for (const at::Tensor& feature : features) {
    key.push_back(feature.size(2));
    key.push_back(feature.size(3));
  }
  if (const auto found = made_.find(key); found != made_.end()) return found->second;
  if (made_.size() >= kShapesKept) made_.clear();
  Anchors anchors;
  std::vector<at::Tensor> levels;
  for (size_t l = 0; l < cells_.size(); ++l) {
    const int64_t rows = features[l].size(2);
    const int64_t columns = features[l].size(3);
    levels.push_back(spread(cells_[l], rows, columns, height / rows, width / columns));
    anchors.counts.push_back(levels.back().size(0));
  }
  anchors.boxes = at::cat(levels);
  return made_.emplace(std::move(key), std::move(anchors)).first->second;
}

}  // namespace atl::model
