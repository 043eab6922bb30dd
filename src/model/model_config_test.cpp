#include "model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::model {
namespace {

using testing::HasSubstr;

TEST(ModelConfig, every_preset_is_valid_and_survives_json) {
  for (const std::string& name : preset_names()) {
    const auto config = preset(name);
    ASSERT_TRUE(config) << name;
    EXPECT_TRUE(validate(*config)) << name;
    const auto read = model_config_from_json(to_json(*config));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(*read, *config) << name;
  }
}

TEST(ModelConfig, an_unknown_preset_is_answered_with_the_known_ones) {
  const auto config = preset("r51_fpn");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().to_string(), HasSubstr("tiny, r18_fpn, r34_fpn, r50_fpn, r101_fpn"));
}

TEST(ModelConfig, a_value_out_of_range_is_named) {
  ModelConfig config;
  config.rpn_bg_iou = 0.9;
  EXPECT_THAT(validate(config).error().to_string(), HasSubstr("model.rpn_bg_iou: 0.9"));
  config = {};
  config.backbone_depth = 19;
  EXPECT_THAT(validate(config).error().to_string(), HasSubstr("model.backbone_depth: 19"));
  config = {};
  config.anchor_sizes_px = {8, 16};
  EXPECT_THAT(validate(config).error().to_string(), HasSubstr("model.anchor_sizes_px: 2 sizes"));
}

TEST(ModelConfig, json_of_another_kind_is_refused) {
  EXPECT_FALSE(model_config_from_json("[1]"));
  EXPECT_FALSE(model_config_from_json("{"));
  EXPECT_THAT(model_config_from_json(R"({"stem_widht":8})").error().to_string(),
              HasSubstr("unknown key \"stem_widht\""));
  EXPECT_THAT(model_config_from_json(R"({"norm":"group"})").error().to_string(),
              HasSubstr("norm: \"group\" does not fit"));
  EXPECT_FALSE(model_config_from_json(R"({"backbone_depth":1e300})"));
  EXPECT_FALSE(model_config_from_json(R"({"stem_width":18446744073709551615})"));
  EXPECT_FALSE(model_config_from_json(R"({"box_weights":[1,2,3]})"));
}

}  // namespace
}  // namespace atl::model
