// Everything that decides a Mask R-CNN's shape and behaviour; no torch here. The defaults are
// torchvision 0.26's maskrcnn_resnet50_fpn, name by name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::model {

enum class Norm {
  kFrozenBatchNorm,  // statistics and affine are constants, folded into the convolution
  kBatchNorm,        // trainable, batch statistics while training
};

struct ModelConfig {
  int64_t num_classes = 91;  // background included

  // Backbone
  int backbone_depth = 50;  // 18, 34, 50, 101
  int64_t stem_width = 64;  // channels of the first stage; 64 is ResNet's own
  Norm norm = Norm::kFrozenBatchNorm;
  double norm_eps = 1e-5;    // torchvision sets 0 for its own COCO_V1 weights
  int trainable_layers = 3;  // 0..5, counted from the last stage
  int64_t fpn_channels = 256;

  // Input: normalised RGB; the loader resizes
  std::array<float, 3> image_mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> image_std = {0.229F, 0.224F, 0.225F};
  int min_size_px = 800;
  int max_size_px = 1333;

  // Anchors: one size a level (P2..P6), ratios at every level
  std::vector<double> anchor_sizes_px = {32, 64, 128, 256, 512};
  std::vector<double> anchor_ratios = {0.5, 1.0, 2.0};

  // RPN
  int64_t rpn_convs = 1;
  int64_t rpn_pre_nms_top_n_train = 2000;
  int64_t rpn_pre_nms_top_n_test = 1000;
  int64_t rpn_post_nms_top_n_train = 2000;
  int64_t rpn_post_nms_top_n_test = 1000;
  double rpn_nms_threshold = 0.7;
  double rpn_fg_iou = 0.7;
  double rpn_bg_iou = 0.3;
  int64_t rpn_batch_per_image = 256;
  double rpn_positive_fraction = 0.5;
  double rpn_score_threshold = 0.0;
  double rpn_min_size_px = 1e-3;

  // Box head
  int64_t box_pool_size = 7;
  int64_t box_pool_sampling = 2;
  int64_t box_head_channels = 1024;
  double box_fg_iou = 0.5;
  double box_bg_iou = 0.5;
  int64_t box_batch_per_image = 512;
  double box_positive_fraction = 0.25;
  std::array<double, 4> box_weights = {10, 10, 5, 5};
  double box_score_threshold = 0.05;
  double box_nms_threshold = 0.5;
  double box_min_size_px = 1e-2;
  int64_t detections_per_image = 100;

  // Mask head
  int64_t mask_pool_size = 14;
  int64_t mask_pool_sampling = 2;
  std::vector<int64_t> mask_conv_channels = {256, 256, 256, 256};
  int64_t mask_deconv_channels = 256;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// "r18_fpn", "r34_fpn", "r50_fpn", "r101_fpn": torchvision's shape on that backbone.
// "tiny": for CPUs, demos and tests; trains from scratch at 128 px.
Result<ModelConfig> preset(std::string_view name);
std::vector<std::string> preset_names();

// kInvalidInput that names the key and the allowed range.
Result<void> validate(const ModelConfig& config);

// Flat JSON object, every field under its own name; what a weight file's metadata holds.
std::string to_json(const ModelConfig& config);
Result<ModelConfig> model_config_from_json(std::string_view json);

}  // namespace atl::model
