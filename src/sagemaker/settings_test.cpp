#include "sagemaker/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

using Parameters = std::vector<Hyperparameter>;

Result<Settings> understand(const Parameters& parameters, int ranks = 1) {
  return settings_of(parameters, ranks);
}

std::string error_of(const Parameters& parameters) {
  const auto settings = understand(parameters);
  if (settings) return "no error";
  EXPECT_EQ(settings.error().code, ErrorCode::kInvalidInput);
  return settings.error().to_string();
}

TEST(Settings, keys_of_the_configuration_are_taken_as_they_are) {
  const auto settings = understand({{"train.steps", "5"},
                                    {"model.mask_conv_channels", "[8]"},
                                    {"preset", "tiny"},
                                    {"device", "cpu"},
                                    {"threads", "2"},
                                    {"data.flip_probability", "0"}});
  ASSERT_TRUE(settings);
  EXPECT_THAT(settings->sets,
              UnorderedElementsAre("train.steps=5",
                                   "model.mask_conv_channels=[8]",
                                   "preset=tiny",
                                   "device=cpu",
                                   "threads=2",
                                   "data.flip_probability=0"));
  EXPECT_EQ(settings->mode, Mode::kTrainAndEvaluate);
  EXPECT_THAT(settings->notes, IsEmpty());
}

TEST(Settings, shortcuts_are_those_of_the_command) {
  const auto settings = understand({{"data", "s3://bucket/coco"},
                                    {"steps", "5"},
                                    {"batch", "8"},
                                    {"seed", "3"},
                                    {"checkpoint-every", "10"},
                                    {"out", "s3://bucket/run"},
                                    {"weights", "w.safetensors"},
                                    {"config", "/opt/ml/input/data/config/run.toml"},
                                    {"override", "true"}});
  ASSERT_TRUE(settings);
  EXPECT_THAT(
      settings->sets,
      UnorderedElementsAre(
          "train.steps=5", "train.global_batch=8", "train.seed=3", "train.checkpoint_every=10"));
  EXPECT_EQ(settings->data, "s3://bucket/coco");
  EXPECT_EQ(settings->out, "s3://bucket/run");
  EXPECT_EQ(settings->weights, "w.safetensors");
  EXPECT_EQ(settings->config_file, "/opt/ml/input/data/config/run.toml");
  EXPECT_TRUE(settings->override_options);
}

// The lab's command, on one machine of eight GPUs.
TEST(Settings, the_labs_names_become_keys) {
  const auto settings = understand({{"mode", "train_and_eval"},
                                    {"init_learning_rate", "0.04"},
                                    {"learning_rate_steps", "3750,5000"},
                                    {"total_steps", "6000"},
                                    {"train_batch_size", "4"},
                                    {"eval_batch_size", "8"},
                                    {"num_steps_per_eval", "462"},
                                    {"eval_samples", "5000"},
                                    {"amp", "true"},
                                    {"xla", "true"},
                                    {"use_batched_nms", "true"},
                                    {"seed", "987"},
                                    {"checkpoint", "/opt/ml/input/data/train/w.safetensors"},
                                    {"model_dir", "/opt/ml/model"},
                                    {"training_file_pattern", "/opt/ml/input/data/train/train*"},
                                    {"validation_file_pattern", "/opt/ml/input/data/train/val*"},
                                    {"val_json_file", "/opt/ml/input/data/train/val.json"}},
                                   8);
  ASSERT_TRUE(settings) << settings.error().to_string();
  EXPECT_THAT(settings->sets,
              UnorderedElementsAre("train.learning_rate=0.04",
                                   "train.base_batch=32",
                                   "train.global_batch=32",
                                   "train.milestones=[0.625, 0.8333333333333334]",
                                   "train.schedule=multistep",
                                   "train.steps=6000",
                                   "train.eval_every=462",
                                   "data.limit_val_images=5000",
                                   "train.bf16=true",
                                   "train.seed=987"));
  EXPECT_EQ(settings->mode, Mode::kTrainAndEvaluate);
  EXPECT_EQ(settings->evaluation_batch, 8);
  EXPECT_EQ(settings->evaluation_images, 5000);
  EXPECT_EQ(settings->checkpoint, "/opt/ml/input/data/train/w.safetensors");
  EXPECT_EQ(settings->training_files, "/opt/ml/input/data/train/train*");
  EXPECT_EQ(settings->validation_files, "/opt/ml/input/data/train/val*");
  EXPECT_EQ(settings->model_dir, "/opt/ml/model");
  EXPECT_THAT(settings->notes,
              AllOf(Contains(HasSubstr("train_batch_size is of each of 8 ranks: 32 images a step")),
                    Contains(HasSubstr("xla has no counterpart")),
                    Contains(HasSubstr("use_batched_nms has no counterpart")),
                    Contains(HasSubstr("val_json_file is not read"))));
}

TEST(Settings, the_modes) {
  const auto train = understand({{"mode", "train"}});
  ASSERT_TRUE(train);
  EXPECT_EQ(train->mode, Mode::kTrain);
  EXPECT_THAT(train->sets, ElementsAre("train.evaluate=false"));
  const auto eval = understand({{"mode", "eval"}, {"eval_batch_size", "8"}});
  ASSERT_TRUE(eval);
  EXPECT_EQ(eval->mode, Mode::kEvaluate);
  EXPECT_EQ(eval->evaluation_batch, 8);
  EXPECT_THAT(eval->notes, IsEmpty());
  EXPECT_THAT(error_of({{"mode", "predict"}}),
              HasSubstr("mode = \"predict\" is not train, eval or"));
}

// The lab's own values: its 500 steps end before the rate would fall.
TEST(Settings, a_rate_that_never_falls_is_said) {
  const auto settings = understand({{"learning_rate_steps", "3750,5000"}, {"total_steps", "500"}});
  ASSERT_TRUE(settings);
  EXPECT_THAT(settings->sets, Contains("train.milestones=[]"));
  EXPECT_THAT(settings->notes,
              Contains("learning_rate_steps 3750, 5000 lie behind the last step, 500"));
  EXPECT_THAT(error_of({{"learning_rate_steps", "3750"}}), HasSubstr("needs total_steps"));
  for (const char* steps : {"5,4", "a", "0", "1.5", "1,,2"}) {
    EXPECT_THAT(error_of({{"learning_rate_steps", steps}, {"total_steps", "9"}}),
                HasSubstr("a list of increasing steps"))
        << steps;
  }
}

TEST(Settings, what_the_sdk_adds_is_passed_over) {
  const auto settings = understand({{"sagemaker_program", "train.py"},
                                    {"sagemaker_submit_directory", "s3://bucket/code"},
                                    {"sagemaker_region", "us-east-1"}});
  ASSERT_TRUE(settings);
  EXPECT_THAT(settings->sets, IsEmpty());
  EXPECT_THAT(settings->notes,
              ElementsAre(HasSubstr("sagemaker_program, sagemaker_submit_directory")));
}

TEST(Settings, an_unknown_name_is_an_error_with_a_guess) {
  EXPECT_THAT(error_of({{"total_step", "5"}}),
              HasSubstr("unknown hyperparameter total_step (did you mean total_steps?)"));
  EXPECT_THAT(error_of({{"total_step", ""}}), HasSubstr("unknown hyperparameter total_step"));
}

TEST(Settings, an_empty_value_is_as_if_not_given_but_for_weights) {
  const auto settings = understand({{"train.steps", ""}, {"mode", ""}, {"weights", ""}});
  ASSERT_TRUE(settings);
  EXPECT_THAT(settings->sets, IsEmpty());
  EXPECT_EQ(settings->weights, "");
  EXPECT_THAT(settings->notes,
              ElementsAre(AllOf(HasSubstr("train.steps, mode"), Not(HasSubstr("weights")))));
}

TEST(Settings, two_names_of_one_key_must_agree) {
  EXPECT_THAT(error_of({{"total_steps", "500"}, {"train.steps", "600"}}),
              HasSubstr("total_steps and train.steps set train.steps differently"));
  EXPECT_TRUE(understand({{"total_steps", "500"}, {"train.steps", "500"}}));
}

TEST(Settings, numbers_that_are_none_are_named) {
  EXPECT_THAT(error_of({{"total_steps", "many"}}),
              HasSubstr("total_steps = \"many\" is not a whole number from 1 on"));
  for (const char* value : {"0", "-1", "1.5", "nan", "inf", "1e300", "5 "}) {
    EXPECT_THAT(error_of({{"total_steps", value}}), HasSubstr("whole number")) << value;
  }
  EXPECT_TRUE(understand({{"total_steps", "500.0"}}));
  EXPECT_THAT(error_of({{"init_learning_rate", "-0.1"}}), HasSubstr("a number from 0 on"));
  EXPECT_THAT(error_of({{"amp", "perhaps"}}), HasSubstr("true or false"));
}

TEST(Settings, a_value_that_begins_with_a_quote_is_quoted_for_toml) {
  EXPECT_EQ(setting("out", "plain"), "out=plain");
  EXPECT_EQ(setting("out", "\"a\\b"), "out=\"\\\"a\\\\b\"");
}

TEST(Settings, the_documentation_has_every_name_of_the_lab) {
  std::stringstream text;
  text << std::ifstream(ATOLL_SOURCE_DIR "/docs/sagemaker.md").rdbuf();
  for (const std::string& name : lab_names()) {
    EXPECT_THAT(text.str(), HasSubstr("`" + name + "`")) << name;
  }
}

}  // namespace
}  // namespace atl::sagemaker
