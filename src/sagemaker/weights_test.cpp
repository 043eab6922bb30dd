#include "sagemaker/weights.h"

#include <gmock/gmock.h>

#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

class Weights : public ContainerFolder {
 protected:
  std::string weights(const std::vector<std::string>& names = {}) {
    std::vector<ChannelFolder> channels;
    for (const std::string& name : names) channels.push_back({{.name = name}, channel(name)});
    notes_.clear();
    const auto found =
        find_weights(settings_, channels, paths_, path("checkpoints/algo-1/run"), notes_);
    return found ? *found : found.error().to_string();
  }
  Settings settings_;
  std::vector<std::string> notes_;
};

TEST_F(Weights, a_training_begins_with_random_ones_unless_some_are_given) {
  EXPECT_EQ(weights(), "");
  write("input/data/model/coco.safetensors", "1");
  EXPECT_EQ(weights({"model"}), channel("model/coco.safetensors"));
  write("input/data/model/another.safetensors", "1");
  EXPECT_THAT(weights({"model"}), HasSubstr("no weight file in it, or several"));
  settings_.weights = "s3://bucket/w.safetensors";
  EXPECT_EQ(weights({"model"}), "s3://bucket/w.safetensors");
}

TEST_F(Weights, a_checkpoint_of_tensorflow_is_refused_unless_weights_decide) {
  write("input/data/train/resnet/model.ckpt-112603.index", "1");
  settings_.checkpoint = "/opt/ml/input/data/train/resnet/model.ckpt-112603";
  EXPECT_THAT(
      weights(),
      AllOf(HasSubstr("checkpoint = /opt/ml/input/data/train/resnet/model.ckpt-112603 is no"),
            HasSubstr("weights = \"\"")));
  settings_.weights = "";
  EXPECT_EQ(weights(), "");
  EXPECT_THAT(notes_, Contains(HasSubstr("checkpoint = ")));
  settings_.weights.reset();
  settings_.checkpoint = "/opt/ml/input/data/train/w.safetensors";
  EXPECT_EQ(weights(), channel("train/w.safetensors"));
  write("input/data/train/resnet/r50.safetensors", "1");
  settings_.checkpoint = "/opt/ml/input/data/train/resnet/";
  EXPECT_EQ(weights(), channel("train/resnet/r50.safetensors"));
}

TEST_F(Weights, the_archive_of_another_job_is_for_an_evaluation_alone) {
  write("input/data/model/model.tar.gz", "1");
  EXPECT_THAT(weights({"model"}), HasSubstr("of a model.tar.gz the model.safetensors in it"));
  settings_.mode = Mode::kEvaluate;
  EXPECT_EQ(weights({"model"}), channel("model/model.tar.gz"));
  settings_.checkpoint = "s3://bucket/job/output/model.tar.gz";
  EXPECT_EQ(weights(), "s3://bucket/job/output/model.tar.gz");
}

TEST_F(Weights, an_evaluation_takes_the_model_of_the_run) {
  settings_.mode = Mode::kEvaluate;
  EXPECT_THAT(weights(), HasSubstr("there is no model to evaluate"));
  write("checkpoints/algo-1/run/model.safetensors", "1");
  write("checkpoints/algo-1/run/best.safetensors", "1");
  EXPECT_EQ(weights(), path("checkpoints/algo-1/run/model.safetensors"));
  write("input/data/old/model.safetensors", "1");
  settings_.model_dir = "/opt/ml/input/data/old";
  EXPECT_EQ(weights(), channel("old/model.safetensors"));
}

}  // namespace
}  // namespace atl::sagemaker
