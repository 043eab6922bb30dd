#include "model/model_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

namespace atl::model {
namespace {

using Json = nlohmann::ordered_json;

// A mask of a picture of this size, enlarged by any augmentation, still has runs of 32 bits.
constexpr int kMaxSide_px = 16384;
constexpr const char* kFrozenName = "frozen_batch_norm";
constexpr const char* kTrainableName = "batch_norm";

// The one list of fields: JSON is written and read along it. `visit(name, field)`.
template <typename Config, typename Visit>
void for_each_field(Config& c, const Visit& visit) {
  visit("num_classes", c.num_classes);
  visit("backbone_depth", c.backbone_depth);
  visit("stem_width", c.stem_width);
  visit("norm", c.norm);
  visit("norm_eps", c.norm_eps);
  visit("trainable_layers", c.trainable_layers);
  visit("fpn_channels", c.fpn_channels);
  visit("image_mean", c.image_mean);
  visit("image_std", c.image_std);
  visit("min_size_px", c.min_size_px);
  visit("max_size_px", c.max_size_px);
  visit("anchor_sizes_px", c.anchor_sizes_px);
  visit("anchor_ratios", c.anchor_ratios);
  visit("rpn_convs", c.rpn_convs);
  visit("rpn_pre_nms_top_n_train", c.rpn_pre_nms_top_n_train);
  visit("rpn_pre_nms_top_n_test", c.rpn_pre_nms_top_n_test);
  visit("rpn_post_nms_top_n_train", c.rpn_post_nms_top_n_train);
  visit("rpn_post_nms_top_n_test", c.rpn_post_nms_top_n_test);
  visit("rpn_nms_threshold", c.rpn_nms_threshold);
  visit("rpn_fg_iou", c.rpn_fg_iou);
  visit("rpn_bg_iou", c.rpn_bg_iou);
  visit("rpn_batch_per_image", c.rpn_batch_per_image);
  visit("rpn_positive_fraction", c.rpn_positive_fraction);
  visit("rpn_score_threshold", c.rpn_score_threshold);
  visit("rpn_min_size_px", c.rpn_min_size_px);
  visit("box_pool_size", c.box_pool_size);
  visit("box_pool_sampling", c.box_pool_sampling);
  visit("box_head_channels", c.box_head_channels);
  visit("box_fg_iou", c.box_fg_iou);
  visit("box_bg_iou", c.box_bg_iou);
  visit("box_batch_per_image", c.box_batch_per_image);
  visit("box_positive_fraction", c.box_positive_fraction);
  visit("box_weights", c.box_weights);
  visit("box_score_threshold", c.box_score_threshold);
  visit("box_nms_threshold", c.box_nms_threshold);
  visit("box_min_size_px", c.box_min_size_px);
  visit("detections_per_image", c.detections_per_image);
  visit("mask_pool_size", c.mask_pool_size);
  visit("mask_pool_sampling", c.mask_pool_sampling);
  visit("mask_conv_channels", c.mask_conv_channels);
  visit("mask_deconv_channels", c.mask_deconv_channels);
}

ModelConfig resnet_fpn(int depth) {
  ModelConfig config;
  config.backbone_depth = depth;
  return config;
}

// Narrow everywhere: at 128 px the four 256-channel mask convolutions alone would be most of the
// step.
ModelConfig tiny() {
  ModelConfig config;
  config.backbone_depth = 18;
  config.stem_width = 32;
  config.norm = Norm::kBatchNorm;
  config.trainable_layers = 5;
  config.fpn_channels = 64;
  config.min_size_px = 128;
  config.max_size_px = 128;
  config.anchor_sizes_px = {8, 16, 32, 64, 128};
  config.rpn_pre_nms_top_n_train = 300;
  config.rpn_pre_nms_top_n_test = 300;
  config.rpn_post_nms_top_n_train = 200;
  config.rpn_post_nms_top_n_test = 200;
  config.rpn_batch_per_image = 128;
  config.box_head_channels = 256;
  config.box_batch_per_image = 64;
  config.mask_conv_channels = {64, 64};
  config.mask_deconv_channels = 64;
  return config;
}

template <typename T>
struct Range {
  T low;
  T high;
};

// Collects the first complaint.
class Checker {
 public:
  template <typename T>
  void in(const char* key, T value, std::type_identity_t<Range<T>> range) {
    if (value >= range.low && value <= range.high) return;
    complain(key, fmt::format("{} is not in [{}, {}]", value, range.low, range.high));
  }
  // (0, 1], probabilities and overlaps.
  void share(const char* key, double value) {
    if (value >= 0 && value <= 1) return;
    complain(key, fmt::format("{} is not in [0, 1]", value));
  }
  void complain(const char* key, const std::string& what) {
    if (first_.empty()) first_ = fmt::format("model.{}: {}", key, what);
  }
  Result<void> result() const {
    if (first_.empty()) return {};
    return fail(ErrorCode::kInvalidInput, first_, "correct this value");
  }

 private:
  std::string first_;
};

void check_backbone(const ModelConfig& c, Checker& check) {
  check.in("num_classes", c.num_classes, {2, 100000});
  const auto depths = std::set<int>{18, 34, 50, 101};
  if (!depths.contains(c.backbone_depth)) {
    check.complain("backbone_depth",
                   fmt::format("{} is not one of 18, 34, 50, 101", c.backbone_depth));
  }
  check.in("stem_width", c.stem_width, {1, 1024});
  check.in("norm_eps", c.norm_eps, {0, 1});
  check.in("trainable_layers", c.trainable_layers, {0, 5});
  check.in("fpn_channels", c.fpn_channels, {1, 4096});
  for (size_t i = 0; i < 3; ++i) {
    check.in("image_mean", c.image_mean[i], {-1e6F, 1e6F});
    check.in("image_std", c.image_std[i], {1e-6F, 1e6F});
  }
  check.in("min_size_px", c.min_size_px, {1, kMaxSide_px});
  check.in("max_size_px", c.max_size_px, {c.min_size_px, kMaxSide_px});
}

void check_rpn(const ModelConfig& c, Checker& check) {
  if (c.anchor_sizes_px.size() != 5) {
    check.complain("anchor_sizes_px",
                   fmt::format("{} sizes given, 5 needed, one for each of P2 to P6",
                               c.anchor_sizes_px.size()));
  }
  for (const double size : c.anchor_sizes_px) check.in("anchor_sizes_px", size, {1.0, 65536.0});
  if (c.anchor_ratios.empty()) check.complain("anchor_ratios", "at least one is needed");
  for (const double ratio : c.anchor_ratios) check.in("anchor_ratios", ratio, {1e-3, 1e3});
  check.in("rpn_convs", c.rpn_convs, {1, 16});
  constexpr int64_t kMost = 1000000;
  check.in("rpn_pre_nms_top_n_train", c.rpn_pre_nms_top_n_train, {1, kMost});
  check.in("rpn_pre_nms_top_n_test", c.rpn_pre_nms_top_n_test, {1, kMost});
  check.in("rpn_post_nms_top_n_train", c.rpn_post_nms_top_n_train, {1, kMost});
  check.in("rpn_post_nms_top_n_test", c.rpn_post_nms_top_n_test, {1, kMost});
  check.share("rpn_nms_threshold", c.rpn_nms_threshold);
  check.share("rpn_fg_iou", c.rpn_fg_iou);
  check.in("rpn_bg_iou", c.rpn_bg_iou, {0, c.rpn_fg_iou});
  check.in("rpn_batch_per_image", c.rpn_batch_per_image, {1, kMost});
  check.share("rpn_positive_fraction", c.rpn_positive_fraction);
  check.share("rpn_score_threshold", c.rpn_score_threshold);
  check.in("rpn_min_size_px", c.rpn_min_size_px, {0, 1e6});
}

void check_heads(const ModelConfig& c, Checker& check) {
  check.in("box_pool_size", c.box_pool_size, {1, 64});
  check.in("box_pool_sampling", c.box_pool_sampling, {0, 64});
  check.in("box_head_channels", c.box_head_channels, {1, 65536});
  check.share("box_fg_iou", c.box_fg_iou);
  check.in("box_bg_iou", c.box_bg_iou, {0, c.box_fg_iou});
  check.in("box_batch_per_image", c.box_batch_per_image, {1, 1000000});
  check.share("box_positive_fraction", c.box_positive_fraction);
  for (const double weight : c.box_weights) check.in("box_weights", weight, {1e-6, 1e6});
  check.share("box_score_threshold", c.box_score_threshold);
  check.share("box_nms_threshold", c.box_nms_threshold);
  check.in("box_min_size_px", c.box_min_size_px, {0, 1e6});
  check.in("detections_per_image", c.detections_per_image, {1, 1000000});
  check.in("mask_pool_size", c.mask_pool_size, {1, 128});
  check.in("mask_pool_sampling", c.mask_pool_sampling, {0, 64});
  if (c.mask_conv_channels.empty()) check.complain("mask_conv_channels", "at least one is needed");
  for (const int64_t width : c.mask_conv_channels) check.in("mask_conv_channels", width, {1, 4096});
  check.in("mask_deconv_channels", c.mask_deconv_channels, {1, 4096});
}

template <typename T>
Json to_value(const T& value) {
  return value;
}
Json to_value(const Norm& norm) {
  return norm == Norm::kFrozenBatchNorm ? kFrozenName : kTrainableName;
}

// False when the JSON is of another type, or out of the type's range.
bool from_value(const Json& json, int64_t& value) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return false;
  }
  value = json.get<int64_t>();
  return true;
}
bool from_value(const Json& json, int& value) {
  int64_t wide = 0;
  if (!from_value(json, wide) || wide < INT32_MIN || wide > INT32_MAX) return false;
  value = static_cast<int>(wide);
  return true;
}
bool from_value(const Json& json, double& value) {
  if (!json.is_number()) return false;
  value = json.get<double>();
  return std::isfinite(value);
}
bool from_value(const Json& json, float& value) {
  double wide = 0;
  if (!from_value(json, wide)) return false;
  value = static_cast<float>(wide);
  return std::isfinite(value);
}
bool from_value(const Json& json, Norm& value) {
  if (json == kFrozenName) {
    value = Norm::kFrozenBatchNorm;
  } else if (json == kTrainableName) {
    value = Norm::kBatchNorm;
  } else {
    return false;
  }
  return true;
}
template <typename T>
bool from_value(const Json& json, std::vector<T>& values) {
  if (!json.is_array()) return false;
  values.resize(json.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!from_value(json[i], values[i])) return false;
  }
  return true;
}
template <typename T, size_t kCount>
bool from_value(const Json& json, std::array<T, kCount>& values) {
  if (!json.is_array() || json.size() != kCount) return false;
  for (size_t i = 0; i < kCount; ++i) {
    if (!from_value(json[i], values[i])) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> preset_names() {
  return {"tiny", "r18_fpn", "r34_fpn", "r50_fpn", "r101_fpn"};
}

Result<ModelConfig> preset(std::string_view name) {
  if (name == "tiny") return tiny();
  for (const int depth : {18, 34, 50, 101}) {
    if (name == fmt::format("r{}_fpn", depth)) return resnet_fpn(depth);
  }
  return fail(ErrorCode::kInvalidInput,
              fmt::format("no preset named \"{}\"", name),
              fmt::format("the presets are {}", fmt::join(preset_names(), ", ")));
}

Result<void> validate(const ModelConfig& config) {
  Checker check;
  check_backbone(config, check);
  check_rpn(config, check);
  check_heads(config, check);
  return check.result();
}

std::string to_json(const ModelConfig& config) {
  Json json = Json::object();
  for_each_field(config,
                 [&](const char* name, const auto& field) { json[name] = to_value(field); });
  return json.dump();
}

Result<ModelConfig> model_config_from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return fail(ErrorCode::kCorrupt, "model configuration: not a JSON object");
  }
  ModelConfig config;
  std::set<std::string> known;
  std::string wrong;
  for_each_field(config, [&](const char* name, auto& field) {
    known.insert(name);
    const auto found = json.find(name);
    if (found == json.end() || from_value(*found, field) || !wrong.empty()) return;
    wrong = fmt::format("model configuration: {}: {} does not fit", name, found->dump());
  });
  if (!wrong.empty()) return fail(ErrorCode::kInvalidInput, wrong);
  for (const auto& [key, value] : json.items()) {
    if (known.contains(key)) continue;
    return fail(ErrorCode::kInvalidInput,
                fmt::format("model configuration: unknown key \"{}\"", key),
                "the file may come from a newer version");
  }
  ATOLL_TRY(validate(config));
  return config;
}

}  // namespace atl::model
